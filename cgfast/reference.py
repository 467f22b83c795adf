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


def rows_to_targets(row_ptr: Tensor) -> Tensor:
    """(N + 1,) row pointers to (E,) targets."""
    rows = torch.arange(len(row_ptr) - 1, device=row_ptr.device)
    return torch.repeat_interleave(rows, row_ptr[1:] - row_ptr[:-1])


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
) -> Tensor:
    """(E, 2F): p_i + q_j + (edge term) @ weight, before the gate."""
    given = (weight is not None, edge_attr is not None or distances is not None, distances is not None, basis is not None)
    if given[0] != given[1] or given[2] != given[3] or (edge_attr is not None and distances is not None):
        msg = "an edge term is weight with edge_attr, or weight with distances and basis, got another combination"
        raise ValueError(msg)
    y = p[rows_to_targets(row_ptr)] + q[source]
    if distances is not None and basis is not None and weight is not None:
        # The window of distances is taken in their own precision, as the 2018 code did with float64 ones.
        y = y + basis(distances).to(y.dtype) @ weight
    elif edge_attr is not None and weight is not None:
        y = y + edge_attr @ weight
    return y


def gate(y: Tensor) -> Tensor:
    """(E, 2F) -> (E, F): sigmoid of the first half times softplus of the second (2018 paper, Eq. 5)."""
    gate, core = y.chunk(2, dim=1)
    return torch.sigmoid(gate) * softplus(core, threshold=SOFTPLUS_THRESHOLD)


def sum_rows(messages: Tensor, row_ptr: Tensor, edge_weight: Tensor | None = None) -> Tensor:
    """(E, F) -> (N, F): weighted sum over the edges of each row."""
    if edge_weight is not None:
        messages = messages * edge_weight[:, None].to(messages.dtype)
    out = messages.new_zeros(len(row_ptr) - 1, messages.shape[1])
    return out.index_add(0, rows_to_targets(row_ptr), messages)


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
) -> Tensor:
    """out_i = sum_e w_e sigmoid(gate_e) softplus(core_e), [gate | core] = p_i + q_j + (edge term) @ weight; (N, F)."""
    y = edge_preactivation(p, q, source, row_ptr, edge_attr=edge_attr, weight=weight, distances=distances, basis=basis)
    return sum_rows(gate(y), row_ptr, edge_weight)


def pool(x: Tensor, graph_ptr: Tensor, reduce: str = "mean") -> Tensor:
    """(N, F) -> (B, F): mean, sum, min or max over the atoms of each crystal; 0 for a crystal without atoms."""
    counts = graph_ptr[1:] - graph_ptr[:-1]
    crystal = rows_to_targets(graph_ptr)
    out = x.new_zeros(len(counts), x.shape[1])
    if reduce in ("mean", "sum"):
        total = out.index_add(0, crystal, x)
        return total if reduce == "sum" else total / counts.clamp(min=1)[:, None].to(x.dtype)
    index = crystal[:, None].expand_as(x)
    return out.scatter_reduce(0, index, x, "amin" if reduce == "min" else "amax", include_self=False)


def edge_batch_norm(y: Tensor, norm: torch.nn.BatchNorm1d, edge_weight: Tensor | None = None) -> Tensor:
    """`norm` over the edges of y (E, C), each edge counted by its weight in the batch statistics.

    Without weights this is `norm(y)`. With weights that sum to M, mean = sum w y / M and var = sum w (y - mean)^2 / M, and
    the running variance is updated with M / (M - 1), so that shells of tied neighbours count as the neighbours they
    replace. Raises ValueError for a single edge in training, as torch does.
    """
    use_batch = norm.training or norm.running_mean is None
    if edge_weight is None or not use_batch or len(y) == 0:
        return norm(y) if len(y) else y
    weight = edge_weight[:, None].to(y.dtype)
    total = weight.sum()
    if total <= 1:
        msg = f"edge_weight must sum to more than 1 in training, got {float(total)}"
        raise ValueError(msg)
    mean = (weight * y).sum(0) / total
    variance = (weight * (y - mean) ** 2).sum(0) / total
    if norm.training and norm.running_mean is not None and norm.running_var is not None:
        _update_running(norm, mean.detach(), (variance * total / (total - 1)).detach())
    out = (y - mean) / torch.sqrt(variance + norm.eps)
    return out * norm.weight + norm.bias if norm.affine else out


def _update_running(norm: torch.nn.BatchNorm1d, mean: Tensor, variance: Tensor) -> None:
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked.add_(1)
    momentum = norm.momentum if norm.momentum is not None else 1.0 / float(norm.num_batches_tracked)
    norm.running_mean.lerp_(mean, momentum)
    norm.running_var.lerp_(variance, momentum)
