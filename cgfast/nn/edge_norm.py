"""Batch norm over edges that are never there as a tensor: a torch.nn.BatchNorm1d as a change of every channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from cgfast.nn.sync_norm import join_moments, joined_group, update_running

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn


class Affine(NamedTuple):
    """z = (y - center) * scale + shift, each (C,)."""

    center: Tensor
    scale: Tensor
    shift: Tensor


def uses_batch_statistics(norm: nn.BatchNorm1d) -> bool:
    """Whether `norm` normalises by the moments of what it is given, rather than by running ones."""
    return norm.training or norm.running_mean is None or norm.running_var is None


def running_affine(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """A batch norm that uses its running statistics, as y * scale + shift."""
    if norm.running_mean is None or norm.running_var is None:
        msg = "a batch norm without running statistics cannot be folded"
        raise ValueError(msg)
    rate = torch.rsqrt(norm.running_var + norm.eps)
    mean = norm.running_mean.clone()  # autograd keeps it, and a training step before backward would change it
    if not norm.affine:
        return rate, -mean * rate
    scale = norm.weight * rate
    return scale, norm.bias - mean * scale


def batch_affine(
    norm: nn.BatchNorm1d, moments: Callable[[], tuple[Tensor, Tensor]], n_edges: int, edge_weight: Tensor | None
) -> Affine | None:
    """What `norm` does to edges whose moments() are mean and biased variance; updates its running statistics.

    Without edges there is nothing to change and, as in torch, the running statistics stay. edge_weight: (E,), how
    much each counts; the weights of tied neighbours sum to the number of neighbours they stand for, and that number takes
    the place of E. A SyncBatchNorm1d counts the edges of all processes; moments() is then called without edges, too.
    Raises ValueError for a single edge in training, as torch does, and for weights that sum to no more (on a CUDA device the
    running variance becomes NaN instead).
    """
    total: Tensor | int
    group = joined_group(norm)
    if group is not None:
        joint = _joint_moments(moments, n_edges, edge_weight, group)
        if joint is None:
            return _unchanged(norm)
        mean, variance, total = joint
    elif n_edges == 0:
        return _unchanged(norm)
    else:
        total = _count(n_edges, edge_weight)
        mean, variance = moments()
    if norm.training and norm.track_running_stats:
        update_running(norm, mean.detach(), variance.detach() * _unbiased(total))
    rate = torch.rsqrt(variance + norm.eps)
    if norm.affine:
        return Affine(mean, norm.weight * rate, norm.bias)
    return Affine(mean, rate, torch.zeros_like(rate))


def _unchanged(norm: nn.BatchNorm1d) -> Affine | None:
    """What `norm` does where there are no edges."""
    if norm.training and norm.track_running_stats and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    return Affine(torch.zeros_like(norm.bias), norm.weight, norm.bias) if norm.affine else None


def _joint_moments(
    moments: Callable[[], tuple[Tensor, Tensor]],
    n_edges: int,
    edge_weight: Tensor | None,
    group: Any,  # noqa: ANN401 - a ProcessGroup, where torch has them
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Mean, biased variance and number of the edges of all processes in `group`; None if there are none."""
    mean, variance = moments()
    if n_edges == 0 or edge_weight is None:
        count = torch.tensor(float(n_edges), dtype=torch.float64, device=mean.device)
    else:
        count = edge_weight.sum(dtype=torch.float64)
        if not float(count.detach()) > 0:
            msg = f"edge_weight must have a positive sum in each process that has edges, got {float(count.detach())}"
            raise ValueError(msg)
    if n_edges == 0:
        # NaN to 0 with gradients 0: part of the graph, so that backward sums over processes when the others do.
        mean, variance = torch.nan_to_num(mean), torch.nan_to_num(variance)
    joint = join_moments(mean, variance, count, group)
    total = joint.total.detach()
    if float(total) == 0:
        return None
    if not float(total) > 1:
        msg = (
            "Expected more than 1 edge per channel when training (or weights of edges that sum to more than 1), got "
            f"{float(total):g} in all processes"
        )
        raise ValueError(msg)
    return joint.mean.to(mean.dtype), joint.variance.to(variance.dtype), total


def _count(n_edges: int, edge_weight: Tensor | None) -> Tensor | int:
    if edge_weight is None:
        if n_edges == 1:
            msg = "Expected more than 1 edge per channel when training, got 1 (a batch norm has no variance of one value)"
            raise ValueError(msg)
        return n_edges
    total = edge_weight.detach().sum()
    if edge_weight.is_cuda:
        return total  # looking at it would wait for the device, in every layer of every step
    if not torch.compiler.is_compiling() and not float(total) > 1:
        msg = f"edge_weight must sum to more than 1 in training, got {float(total)}"
        raise ValueError(msg)
    return total


def _unbiased(total: Tensor | int) -> Tensor | float:
    """N / (n - 1); NaN where compiled code or a CUDA device, which do not refuse it, meet weights that sum to at most 1."""
    if isinstance(total, torch.Tensor):
        return torch.where(total > 1, total / (total - 1), torch.nan)
    return total / (total - 1)
