"""Batch norms whose statistics are those of the joint batch of all data-parallel processes, on any device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
from torch import distributed, nn

from cgfast.ops.operators import apply

if TYPE_CHECKING:
    from torch import Tensor

_Module = TypeVar("_Module", bound=nn.Module)


class SyncBatchNorm1d(nn.BatchNorm1d):
    """torch.nn.BatchNorm1d over the rows of all processes of torch.distributed (Ioffe & Szegedy 2015, Alg. 1).

    Options, parameters, buffers and state dict are BatchNorm1d's. In training, with more than one process, each merges its
    (count, mean, variance) with the others' (Chan, Golub & LeVeque 1979, in float64) and the gradients of the joint mean and
    variance are summed over the processes. Sums over the processes of a parameter's gradients are then those of one process
    with the joint batch, if the losses add up to the joint loss: means must be weighted by the local batch size (torch's
    DistributedDataParallel divides gradients by the number of processes, so multiply by that). Running statistics are those
    of the joint batch, the same bits in every process. Otherwise - evaluation, one process, torch.distributed not
    initialised - it is BatchNorm1d. Unlike torch.nn.SyncBatchNorm it takes CPU tensors.

    Every process must call forward and backward as often as the others, with no rows if it has none. Same bits on every run
    for a thread count and number of processes. Differentiable to any order. torch.compile breaks its graph here when there
    are several processes.

    Raises ValueError, in every process, for a single row in all of them in training, as BatchNorm1d does.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """(N, C) or (N, C, L) -> the same shape; N may differ between processes and be 0."""
        group = joined_group(self)
        if group is None:
            return super().forward(input)
        self._check_input_dim(input)
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        joint = join_moments(*_local_moments(x), group)
        total = float(joint.total.detach())
        if total == 0:
            return super().forward(input)
        if total == 1:
            msg = "Expected more than 1 value per channel when training, got 1 in all processes"
            raise ValueError(msg)
        if self.track_running_stats:
            update_running(self, joint.mean.detach(), joint.variance.detach() * (total / (total - 1)))
        rate = torch.rsqrt(joint.variance + self.eps)
        mean, scale = joint.mean.to(x.dtype), rate.to(x.dtype)
        shape = (1, -1) if x.dim() == 2 else (1, -1, 1)
        out = (x - mean.view(shape)) * (scale if self.weight is None else scale * self.weight).view(shape)
        return (out if self.bias is None else out + self.bias.view(shape)).to(input.dtype)


def convert_sync_batchnorm(module: _Module) -> _Module:
    """Make every torch.nn.BatchNorm1d in `module`, itself included, a SyncBatchNorm1d, in place; returns `module`.

    Nothing else changes: modules, parameters, buffers, hooks and modes are the same objects, so that optimizers stay valid.
    CrystalGraphConv's bn1, whose rows are edges, and bn2 and CGConv's bn are BatchNorm1d. Left as they are: what is converted
    already, subclasses of BatchNorm1d, and other norms.
    """
    for norm in module.modules():
        if type(norm) is nn.BatchNorm1d:
            norm.__class__ = SyncBatchNorm1d  # it adds no attributes
    return module


def joined_group(norm: nn.Module) -> Any:  # noqa: ANN401 - a ProcessGroup, where torch has them
    """The processes over which `norm` is to take its statistics now; None for this one alone."""
    if not norm.training or not isinstance(norm, SyncBatchNorm1d | nn.SyncBatchNorm):
        return None
    if not distributed.is_available() or not distributed.is_initialized():
        return None
    group = getattr(norm, "process_group", None) or distributed.group.WORLD
    return group if distributed.get_world_size(group) > 1 else None


class JointMoments(NamedTuple):
    """Of all processes together, in float64: mean and biased variance, each (C,), and the number of rows (or edges)."""

    mean: Tensor
    variance: Tensor
    total: Tensor


def join_moments(mean: Tensor, variance: Tensor, count: Tensor, group: Any) -> JointMoments:  # noqa: ANN401 - see above
    """Merge this process's mean and biased variance, each (C,), of `count` rows with those of the others in `group`.

    count: 0-d, sums of weights included; 0 where there is none, with finite moments. All processes must call this, and
    backward through it, in the same order. If all counts are 0 the moments are NaN. Differentiable to any order; same bits
    in all processes.
    """
    return JointMoments(*apply(_JoinMoments, mean.double(), variance.double(), count.double(), group))


def update_running(norm: nn.BatchNorm1d, mean: Tensor, variance: Tensor) -> None:
    """Let a batch take part in `norm`'s running statistics. mean, variance (unbiased): (C,)."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked.add_(1)
    share = norm.momentum if norm.momentum is not None else 1.0 / norm.num_batches_tracked.to(norm.running_mean.dtype)
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), share)
    norm.running_var.lerp_(variance.to(norm.running_var.dtype), share)


def _local_moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    dims = [0] if x.dim() == 2 else [0, 2]
    n_rows = x.numel() // max(x.shape[1], 1)
    count = torch.tensor(n_rows, dtype=torch.float64, device=x.device)
    if n_rows == 0:
        zero = x.sum(dims)  # depends on x, so that backward comes by here as in the other processes
        return zero, zero, count
    variance, mean = torch.var_mean(x, dims, correction=0)
    return mean, variance, count


class _JoinMoments(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mean: Tensor, variance: Tensor, count: Tensor, group: Any) -> tuple[Tensor, ...]:  # noqa: ANN401
        own = torch.cat((count[None], mean, variance))
        rows = [torch.empty_like(own) for _ in range(distributed.get_world_size(group))]
        distributed.all_gather(rows, own, group)  # an all-reduce would leave the order of sums to the backend
        counts, means, variances = torch.stack(rows).split((1, len(mean), len(mean)), dim=1)
        total = counts.sum()
        share = counts / total
        joint_mean = (share * means).sum(0)
        joint_variance = (share * (variances + (means - joint_mean) ** 2)).sum(0)
        ctx.group = group
        ctx.save_for_backward(mean, variance, count, joint_mean, joint_variance, total)
        return joint_mean, joint_variance, total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - torch's interface
        mean, variance, count, joint_mean, joint_variance, total = ctx.saved_tensors
        own = torch.cat((grads[0], grads[1], grads[2][None]))
        of_mean, of_variance, of_total = apply(_Sum, own, ctx.group).split((len(mean), len(mean), 1))
        off, share = mean - joint_mean, count / total
        of_count = (of_mean * off + of_variance * (variance + off * off - joint_variance)).sum() / total + of_total[0]
        return share * (of_mean + 2 * off * of_variance), share * of_variance, of_count, None


class _Sum(torch.autograd.Function):
    """The sum over processes, on each; its derivative is another."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, group: Any) -> Tensor:  # noqa: ANN401 - torch's interface
        ctx.group = group
        total = own.clone()
        distributed.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401 - torch's interface
        return apply(_Sum, grad, ctx.group), None
