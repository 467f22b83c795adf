"""cgfast::edge_moments and its gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from cgfast import reference
from cgfast.checks import check_tensor
from cgfast.ops.edges import (
    N_ARGUMENTS,
    SCHEMA,
    Edges,
    by_twin,
    check,
    differentiable_gradients,
    empty_gradients,
    for_reference,
    in_place,
    matrix,
    native_gradients,
    native_view,
    ready,
    spread,
    wanted,
)
from cgfast.ops.operators import address, apply, is_plain, refuse_gradient, register, register_autograd, run, tensors_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

_MOMENTS = "Tensor mean, Tensor variance, Tensor mean_grad, Tensor variance_grad"


def _forward(*arguments: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401 - as SCHEMA has them
    given = Edges(*arguments)
    check(given)
    edges = ready(given)
    channels = edges.p.shape[1]
    mean, variance = edges.p.new_empty(channels), edges.p.new_empty(channels)
    run("edge_moments", edges.p, native_view(edges), address(mean), address(variance))
    return mean, variance


def _forward_fake(p: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    return p.new_empty(p.shape[1]), p.new_empty(p.shape[1])


def _checked_backward(*arguments: Any) -> list[Tensor]:  # noqa: ANN401 - as the schema has them
    given = Edges(*arguments[4:-1])
    check(given)
    for name, tensor in zip(("mean", "variance", "mean_grad", "variance_grad"), arguments[:4], strict=True):
        check_tensor(tensor, name, given.p.dtype, (given.p.shape[1],), given.p.device)
    return _backward(*arguments)


def _backward(*arguments: Any) -> list[Tensor]:  # noqa: ANN401 - as the schema has them
    moments, edges, wants = arguments[:4], ready(Edges(*arguments[4:-1])), arguments[-1]
    gradients = empty_gradients(edges, wants)
    room = spread(gradients, wants)
    into = native_gradients(room, matrix(room[3]), edges.p.dtype)
    dense = [tensor.contiguous() for tensor in moments]
    run("edge_moments_backward", edges.p, native_view(edges), *map(address, dense), into)
    return gradients


def _backward_fake(*arguments: Any) -> list[Tensor]:  # noqa: ANN401 - as the schema has them
    return empty_gradients(Edges(*arguments[4:-1]), arguments[-1])


_OPERATOR = register("edge_moments", f"({SCHEMA}) -> (Tensor, Tensor)", _forward, _forward_fake)
_BACKWARD_OPERATOR = register(
    "edge_moments_backward", f"({_MOMENTS}, {SCHEMA}, bool[] wants) -> Tensor[]", _checked_backward, _backward_fake
)


class _EdgeMoments(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401 - torch's interface
        if is_plain(*tensors_of(inputs)):
            moments = _forward(*inputs)
        else:
            with torch._C._AutoDispatchBelowAutograd():  # noqa: SLF001 - the documented way to go below autograd
                moments = _OPERATOR(*inputs)
        ctx.numbers = inputs[8:11]
        ctx.save_for_backward(*inputs[:8], *inputs[11:], *moments)
        return moments

    @staticmethod
    def backward(ctx: Any, mean_grad: Tensor, variance_grad: Tensor) -> tuple[Any, ...]:  # noqa: ANN401 - torch's interface
        saved = ctx.saved_tensors
        edges = Edges(*(*saved[:8], *ctx.numbers, saved[8]))
        if by_twin(mean_grad):
            return differentiable_gradients(ctx, edges, _twin, (mean_grad, variance_grad))
        wants = wanted(ctx)
        compute = _backward if is_plain(mean_grad, variance_grad, *tensors_of(saved)) else _BACKWARD_OPERATOR
        return tuple(in_place(compute(*saved[9:], mean_grad, variance_grad, *edges, wants), wants, edges))


def _twin(inputs: Sequence[Any]) -> tuple[Tensor, Tensor]:
    positional, keywords = for_reference(Edges(*inputs[:N_ARGUMENTS]))
    return reference.edge_moments(*positional, **keywords)


register_autograd("edge_moments", _EdgeMoments)
refuse_gradient("edge_moments_backward", "torch.ops.cgfast.edge_moments")


def edge_moments(*arguments: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401 - as SCHEMA has them
    """torch.ops.cgfast.edge_moments, by the shortest way."""
    if not is_plain(*tensors_of(arguments)):
        traced: tuple[Tensor, Tensor] = _OPERATOR(*arguments)
        return traced
    if torch.is_grad_enabled():
        moments: tuple[Tensor, Tensor] = apply(_EdgeMoments, *arguments)
        return moments
    return _forward(*arguments)
