"""Plain PyTorch twins of every op: the definition, the oracle of the tests, and what runs where there is no kernel.

Same names and arguments as cgfast.functional. Differentiable by autograd to any order; memory and time are those of
materialised edge tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import softplus

if TYPE_CHECKING:
    from torch import Tensor

    from cgfast.basis import GaussianBasis

# torch's softplus(x) returns x from a threshold on, 20 by default: right in float32, wrong by 2e-9 in float64. From 40 on
# it is right in both.
SOFTPLUS_THRESHOLD = 40.0


def rows_to_targets(row_ptr: Tensor, n_edges: int | None = None) -> Tensor:
    """(N + 1,) row pointers to (E,) targets. n_edges: E where it is known, which saves looking it up."""
    rows = torch.arange(row_ptr.shape[0] - 1, device=row_ptr.device)
    return torch.repeat_interleave(rows, row_ptr[1:] - row_ptr[:-1], output_size=n_edges)


def edge_preactivation(
    p: Tensor,
    q: Tensor,
    source: Tensor,
    row_ptr: Tensor,
    *,
    edge_attr: Tensor | None = None,
    weight: Tensor | None = None,
    distances: Tensor | None = None,
    basis: GaussianBasis | None = None,
    order: Tensor | None = None,
) -> Tensor:
    """(E, 2F): p_i + q_j + (edge term) @ weight, before the gate. order: (E,), which row of edge_attr or distances is whose."""
    given = (weight is not None, edge_attr is not None or distances is not None, distances is not None, basis is not None)
    if given[0] != given[1] or given[2] != given[3] or (edge_attr is not None and distances is not None):
        msg = "an edge term is weight with edge_attr, or weight with distances and basis, got another combination"
        raise ValueError(msg)
    y = p.index_select(0, rows_to_targets(row_ptr, source.shape[0])) + q.index_select(0, source)
    if distances is not None and basis is not None and weight is not None:
        # The window of distances is taken in their own precision, as the 2018 code did with float64 ones.
        y = y + basis(_in_order(distances, order)).to(y.dtype) @ weight
    elif edge_attr is not None and weight is not None:
        y = y + _in_order(edge_attr, order) @ weight
    return y


def _in_order(values: Tensor, order: Tensor | None) -> Tensor:
    return values if order is None else values.index_select(0, order)


def gate(y: Tensor) -> Tensor:
    """(E, 2F) -> (E, F): sigmoid of the first half times softplus of the second (2018 paper, Eq. 5)."""
    gate, core = y.chunk(2, dim=1)
    return torch.sigmoid(gate) * softplus(core, threshold=SOFTPLUS_THRESHOLD)


def sum_rows(messages: Tensor, row_ptr: Tensor, edge_weight: Tensor | None = None) -> Tensor:
    """(E, F) -> (N, F): weighted sum over the edges of each row."""
    if edge_weight is not None:
        messages = messages * edge_weight[:, None].to(messages.dtype)
    out = messages.new_zeros(len(row_ptr) - 1, messages.shape[1])
    return out.index_add(0, rows_to_targets(row_ptr, messages.shape[0]), messages)


def gated_message(
    p: Tensor,
    q: Tensor,
    source: Tensor,
    row_ptr: Tensor,
    *,
    edge_attr: Tensor | None = None,
    weight: Tensor | None = None,
    distances: Tensor | None = None,
    basis: GaussianBasis | None = None,
    edge_weight: Tensor | None = None,
    order: Tensor | None = None,
    center: Tensor | None = None,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
) -> Tensor:
    """out_i = sum_e w_e sigmoid(gate_e) softplus(core_e), [gate | core] = (y_e - center) * scale + shift; (N, F)."""
    term = {"edge_attr": edge_attr, "weight": weight, "distances": distances, "basis": basis}
    y = edge_preactivation(p, q, source, row_ptr, **term, order=order)  # type: ignore[arg-type]
    if center is not None and scale is not None and shift is not None:
        y = (y - center) * scale + shift
    return sum_rows(gate(y), row_ptr, None if edge_weight is None else _in_order(edge_weight, order))


def edge_moments(
    p: Tensor,
    q: Tensor,
    source: Tensor,
    row_ptr: Tensor,
    *,
    edge_attr: Tensor | None = None,
    weight: Tensor | None = None,
    distances: Tensor | None = None,
    basis: GaussianBasis | None = None,
    edge_weight: Tensor | None = None,
    order: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of y = p_i + q_j + (edge term) @ weight over all edges, each counted by its weight; (2F,)."""
    term = {"edge_attr": edge_attr, "weight": weight, "distances": distances, "basis": basis}
    y = edge_preactivation(p, q, source, row_ptr, **term, order=order)  # type: ignore[arg-type]
    given = torch.ones_like(y[:, 0]) if edge_weight is None else _in_order(edge_weight, order)
    weights = given[:, None].to(y.dtype)
    total = weights.sum()
    mean = (weights * y).sum(0) / total
    return mean, (weights * (y - mean) ** 2).sum(0) / total


def sort_edges(edge_index: Tensor, n_targets: int) -> tuple[Tensor, Tensor, Tensor]:
    """(2, E) edges in any order to sources by target, row_ptr (n_targets + 1,), and the stable order that sorts them."""
    target, order = torch.sort(edge_index[1], stable=True)
    row_ptr = torch.searchsorted(target, torch.arange(n_targets + 1, device=target.device))
    return edge_index[0].index_select(0, order), row_ptr, order


def pool(x: Tensor, graph_ptr: Tensor, reduce: str = "mean") -> Tensor:
    """(N, F) -> (B, F): mean, sum, min or max over the atoms of each crystal; 0 for a crystal without atoms."""
    counts = graph_ptr[1:] - graph_ptr[:-1]
    crystal = rows_to_targets(graph_ptr, x.shape[0])
    out = x.new_zeros(counts.shape[0], x.shape[1])
    if reduce in ("mean", "sum"):
        total = out.index_add(0, crystal, x)
        return total if reduce == "sum" else total / counts.clamp(min=1)[:, None].to(x.dtype)
    index = crystal[:, None].expand_as(x)
    # Filled with what no atom can tie with: a 0 would take a share of the gradient of an extreme that is 0.
    worst = torch.full_like(out, torch.inf if reduce == "min" else -torch.inf)
    found = worst.scatter_reduce(0, index, x, "amin" if reduce == "min" else "amax")
    return torch.where(counts[:, None] == 0, out, found)
