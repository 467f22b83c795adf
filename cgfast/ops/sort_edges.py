"""cgfast::sort_edges: integers only, so without a gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from cgfast._native import core
from cgfast.checks import check_range, check_tensor
from cgfast.ops.operators import address, is_plain, register, run_on_cuda

if TYPE_CHECKING:
    from torch import Tensor


def _sort_edges(edge_index: Tensor, n_targets: int) -> tuple[Tensor, Tensor, Tensor]:
    check_tensor(edge_index, "edge_index", torch.int64, (2, None), edge_index.device)
    if n_targets < 0:
        msg = f"n_targets must be at least 0, got {n_targets}"
        raise ValueError(msg)
    edges = edge_index.contiguous()
    n_edges = edges.shape[1]
    source, order, row_ptr = (edges.new_empty(n) for n in (n_edges, n_edges, n_targets + 1))
    start, row_bytes = address(edges), n_edges * edges.element_size()
    arguments = (start, start + row_bytes, n_edges, n_targets, address(source), address(row_ptr), address(order))
    if edges.is_cuda:
        check_range(edges[1], "edge_index's targets", n_targets)
        run_on_cuda(core().sort_edges_cuda, core().sort_edges_cuda_workspace, edges, *arguments)
    else:
        core().sort_edges(*arguments)
    return source, row_ptr, order


def _sort_edges_fake(edge_index: Tensor, n_targets: int) -> tuple[Tensor, Tensor, Tensor]:
    one = edge_index.new_empty(edge_index.shape[1])
    return one, edge_index.new_empty(n_targets + 1), torch.empty_like(one)


_OPERATOR = register(
    "sort_edges", "(Tensor edge_index, SymInt n_targets) -> (Tensor, Tensor, Tensor)", _sort_edges, _sort_edges_fake
)


def sort_edges(edge_index: Tensor, n_targets: int) -> tuple[Tensor, Tensor, Tensor]:
    """torch.ops.cgfast.sort_edges, by the shortest way."""
    out: tuple[Tensor, Tensor, Tensor] = (_sort_edges if is_plain(edge_index) else _OPERATOR)(edge_index, n_targets)
    return out
