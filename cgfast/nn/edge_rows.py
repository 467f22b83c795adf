"""Edges as users hold them, in any order and several formats, brought into rows by target."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from cgfast import functional, reference
from cgfast.graph import CrystalGraph

if TYPE_CHECKING:
    from collections.abc import Sequence

FLOWS = ("source_to_target", "target_to_source")


class EdgeRows(NamedTuple):
    """Edges in compressed rows by target.

    source: (E,) int64. row_ptr: (N + 1,) int64. order: (E,) int64, edge e of the rows is edge order[e] of those given; None
    if they came in rows. values: (E, K), what a sparse tensor held, in the order given.
    """

    source: Tensor
    row_ptr: Tensor
    order: Tensor | None = None
    values: Tensor | None = None


def edge_rows(edge_index: Tensor | CrystalGraph, n_targets: int, n_sources: int, flow: str) -> EdgeRows:
    """Sort edges into rows, unless they are in rows already.

    edge_index: (2, E) integers, or a torch.sparse tensor (N_target, N_source), or a CrystalGraph of tensors. flow: one of
    FLOWS, which row of edge_index holds the targets.

    Raises TypeError for what is none of these, ValueError for shapes, dtypes, indices and sizes that do not fit.
    """
    if isinstance(edge_index, CrystalGraph):
        return _rows_of_graph(edge_index, n_targets, flow)
    if not isinstance(edge_index, Tensor):
        got = f"{type(edge_index).__module__}.{type(edge_index).__qualname__}"
        hint = "; use its to_torch_sparse_csr_tensor()" if hasattr(edge_index, "sparse_sizes") else ""
        msg = f"edge_index must be a tensor (2, E), a sparse COO or CSR tensor or a CrystalGraph, got {got}{hint}"
        raise TypeError(msg)
    if edge_index.layout != torch.strided:
        return _rows_of_sparse(edge_index, n_targets, n_sources, flow)
    return _rows_of_pairs(edge_index, n_targets, n_sources, flow)


def row_weights(rows: EdgeRows, edge_weight: Tensor | None) -> Tensor:
    """(N,): what a mean over rows divides by: the number of edges, or the sum of their weights; 1 where that is 0."""
    if edge_weight is None:
        return (rows.row_ptr[1:] - rows.row_ptr[:-1]).clamp(min=1)
    weights = edge_weight if rows.order is None else edge_weight.index_select(0, rows.order)
    total = weights.new_zeros(rows.row_ptr.shape[0] - 1).index_add(
        0, reference.rows_to_targets(rows.row_ptr, weights.shape[0]), weights
    )
    return torch.where(total == 0, 1.0, total)


def _rows_of_graph(graph: CrystalGraph, n_targets: int, flow: str) -> EdgeRows:
    if graph.row_ptr.shape[0] - 1 != n_targets:
        msg = f"x must have a row for each of the graph's {graph.row_ptr.shape[0] - 1} atoms, got {n_targets}"
        raise ValueError(msg)
    if flow == FLOWS[0]:
        return EdgeRows(graph.source, graph.row_ptr)
    return EdgeRows(*functional.sort_edges(graph.edge_index.flip(0), n_targets))


def _rows_of_pairs(edge_index: Tensor, n_targets: int, n_sources: int, flow: str) -> EdgeRows:
    if hasattr(edge_index, "sparse_size"):  # torch_geometric's EdgeIndex: it may know how many nodes there are
        _check_sizes(edge_index.sparse_size(), (n_sources, n_targets) if flow == FLOWS[0] else (n_targets, n_sources))
        edge_index = edge_index.as_tensor()  # type: ignore[attr-defined]
    if edge_index.dtype != torch.int64:
        if edge_index.dtype == torch.bool or edge_index.is_floating_point() or edge_index.is_complex():
            msg = f"edge_index must hold integers, got {edge_index.dtype}"
            raise ValueError(msg)
        edge_index = edge_index.long()
    if edge_index.dim() != 2 or edge_index.shape[0] != 2:
        msg = f"edge_index must have shape (2, E), got {tuple(edge_index.shape)}"
        raise ValueError(msg)
    return EdgeRows(*functional.sort_edges(edge_index if flow == FLOWS[0] else edge_index.flip(0), n_targets))


def _rows_of_sparse(adj_t: Tensor, n_targets: int, n_sources: int, flow: str) -> EdgeRows:
    if adj_t.layout not in (torch.sparse_coo, torch.sparse_csr):
        msg = f"edge_index must be a COO or CSR tensor if it is sparse, got {adj_t.layout}; use its to_sparse_csr()"
        raise TypeError(msg)
    if flow != FLOWS[0]:
        msg = f"edge_index must not be sparse with flow={flow!r}, got {adj_t.layout}; pass its transpose with {FLOWS[0]!r}"
        raise ValueError(msg)
    _check_sizes((adj_t.shape[0], adj_t.shape[1]), (n_targets, n_sources))
    if adj_t.layout == torch.sparse_csr:
        values = adj_t.values()
        rows = EdgeRows(adj_t.col_indices().long(), adj_t.crow_indices().long())
    else:
        if not adj_t.is_coalesced():
            msg = "edge_index must be coalesced if it is a sparse COO tensor, got one that is not; call its coalesce()"
            raise ValueError(msg)
        values = adj_t.values()
        rows = EdgeRows(*functional.sort_edges(adj_t.indices().flip(0), n_targets))
    # As in PyG: one number per edge is a weight, which this layer has not; rows of numbers are its features.
    return rows._replace(values=values if values.dim() > 1 else None)


def _check_sizes(got: Sequence[int | None], expected: tuple[int, int]) -> None:
    if any(have not in (None, want) for have, want in zip(got, expected, strict=True)):
        msg = f"edge_index must be of size {expected} like x, got {tuple(got)}"
        raise ValueError(msg)
