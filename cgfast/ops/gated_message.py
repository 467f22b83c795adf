"""cgfast::gated_message and its gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from cgfast import reference
from cgfast.checks import check_affine, check_tensor
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
from cgfast.ops.operators import (
    address,
    apply,
    dense,
    is_plain,
    refuse_gradient,
    register,
    register_autograd,
    run,
    tensors_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

_AFFINE = "Tensor? center, Tensor? scale, Tensor? shift"


def _affine(arguments: Sequence[Any], dtype: torch.dtype) -> list[Tensor | None]:
    return [dense(tensor, dtype) for tensor in arguments[N_ARGUMENTS : N_ARGUMENTS + 3]]


def _forward(*arguments: Any) -> Tensor:  # noqa: ANN401 - as SCHEMA and _AFFINE have them
    given = Edges(*arguments[:N_ARGUMENTS])
    check(given)
    check_affine(given.p, *arguments[N_ARGUMENTS:])
    edges = ready(given)
    affine = _affine(arguments, edges.p.dtype)
    out = edges.p.new_empty((edges.p.shape[0], edges.p.shape[1] // 2))
    run("gated_message", edges.p, native_view(edges), *map(address, affine), 0, out.data_ptr())
    return out


def _forward_fake(p: Tensor, *_: object) -> Tensor:
    return p.new_empty((p.shape[0], p.shape[1] // 2))


def _checked_backward(grad: Tensor, *arguments: Any) -> list[Tensor]:  # noqa: ANN401 - as the schema has them
    given = Edges(*arguments[:N_ARGUMENTS])
    check(given)
    check_affine(given.p, *arguments[N_ARGUMENTS:-1])
    check_tensor(grad, "grad", given.p.dtype, (given.p.shape[0], given.p.shape[1] // 2), given.p.device)
    return _backward(grad, *arguments)


def _backward(grad: Tensor, *arguments: Any) -> list[Tensor]:  # noqa: ANN401 - as the schema has them
    edges, wants = ready(Edges(*arguments[:N_ARGUMENTS])), arguments[-1]
    affine = _affine(arguments, edges.p.dtype)
    gradients, grad = empty_gradients(edges, wants), grad.contiguous()
    room = spread(gradients, wants)
    sums = [torch.empty_like(tensor) for tensor in affine[1:] if tensor is not None]
    run(
        "gated_message_backward",
        edges.p,
        native_view(edges),
        *map(address, affine),
        grad.data_ptr(),
        native_gradients(room, matrix(room[3]), edges.p.dtype),
        *(map(address, sums) if sums else (0, 0)),
    )
    return gradients + (sums if wants[-1] else [])


def _backward_fake(_grad: Tensor, *arguments: Any) -> list[Tensor]:  # noqa: ANN401 - as the schema has them
    edges, wants = Edges(*arguments[:N_ARGUMENTS]), arguments[-1]
    scale = arguments[N_ARGUMENTS + 1]
    return empty_gradients(edges, wants) + ([torch.empty_like(scale), torch.empty_like(scale)] if wants[-1] else [])


_OPERATOR = register("gated_message", f"({SCHEMA}, {_AFFINE}) -> Tensor", _forward, _forward_fake)
_BACKWARD_OPERATOR = register(
    "gated_message_backward",
    f"(Tensor grad, {SCHEMA}, {_AFFINE}, bool[] wants) -> Tensor[]",  # wants: DIFFERENTIABLE, then scale and shift
    _checked_backward,
    _backward_fake,
)


class _GatedMessage(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:  # noqa: ANN401 - torch's interface
        ctx.numbers = inputs[8:11]
        ctx.save_for_backward(*inputs[:8], *inputs[11:])
        if is_plain(*tensors_of(inputs)):
            return _forward(*inputs)
        with torch._C._AutoDispatchBelowAutograd():  # noqa: SLF001 - the documented way to go below autograd
            out: Tensor = _OPERATOR(*inputs)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # noqa: ANN401 - torch's interface
        saved = ctx.saved_tensors
        edges, affine = Edges(*(*saved[:8], *ctx.numbers, saved[8])), saved[9:]
        if by_twin(grad):
            return differentiable_gradients(ctx, (*edges, *affine), twin, (grad,))
        wants = wanted(ctx)
        of_affine = any(ctx.needs_input_grad[N_ARGUMENTS:])
        compute = _backward if is_plain(grad, *tensors_of(saved)) else _BACKWARD_OPERATOR
        found = compute(grad, *edges, *affine, [*wants, of_affine])
        center_scale_shift: tuple[Any, ...] = (None, None, None)
        if of_affine:
            *found, of_scale, of_shift = found
            # The gradient of y, summed over the edges, with the other sign.
            center_scale_shift = (-affine[1] * of_shift, of_scale, of_shift)
        return (*in_place(found, wants, edges), *center_scale_shift)


def twin(inputs: Sequence[Any]) -> Tensor:
    """The op by the reference formulas, of its arguments."""
    positional, keywords = for_reference(Edges(*inputs[:N_ARGUMENTS]))
    center, scale, shift = inputs[N_ARGUMENTS:]
    return reference.gated_message(*positional, **keywords, center=center, scale=scale, shift=shift)


register_autograd("gated_message", _GatedMessage)
refuse_gradient("gated_message_backward", "torch.ops.cgfast.gated_message")


def gated_message(*arguments: Any) -> Tensor:  # noqa: ANN401 - as SCHEMA and _AFFINE have them
    """torch.ops.cgfast.gated_message, by the shortest way."""
    if not is_plain(*tensors_of(arguments)):
        traced: Tensor = _OPERATOR(*arguments)
        return traced
    if torch.is_grad_enabled():
        out: Tensor = apply(_GatedMessage, *arguments)
        return out
    return _forward(*arguments)
