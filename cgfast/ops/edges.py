"""The arguments that the message operators share, on their way to the core, and the gradients on their way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from cgfast.basis import GaussianBasis
from cgfast.checks import check_message
from cgfast.ops.operators import address, dense, native_class, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

SCHEMA = (
    "Tensor p, Tensor q, Tensor source, Tensor row_ptr, Tensor? order, Tensor? edge_attr, Tensor? weight, Tensor? distances, "
    "float start, float step, float width, Tensor? edge_weight"
)


class Edges(NamedTuple):
    """The tensors and numbers of SCHEMA, in its order."""

    p: Tensor
    q: Tensor
    source: Tensor
    row_ptr: Tensor
    order: Tensor | None
    edge_attr: Tensor | None
    weight: Tensor | None
    distances: Tensor | None
    start: float
    step: float
    width: float
    edge_weight: Tensor | None


N_ARGUMENTS = len(Edges._fields)
DIFFERENTIABLE = ("p", "q", "edge_attr", "weight", "distances", "edge_weight")
_POSITIONS = tuple(Edges._fields.index(name) for name in DIFFERENTIABLE)


def check(edges: Edges) -> None:
    """Raise ValueError for shapes, dtypes and devices that do not fit."""
    p, q, source, row_ptr, order, edge_attr, weight, distances, *_, edge_weight = edges
    check_message(p, q, source, row_ptr, edge_attr, weight, distances, edge_weight, order)


def ready(edges: Edges) -> Edges:
    """The same with every tensor as the core reads it."""
    p, q, source, row_ptr, order, edge_attr, weight, distances, start, step, width, edge_weight = edges
    dtype = p.dtype
    return Edges(
        rows(p),
        rows(q),
        source.contiguous(),
        row_ptr.contiguous(),
        None if order is None else order.contiguous(),
        dense(edge_attr, dtype),
        _spaced(weight, dtype),
        dense(distances, torch.float64),
        start,
        step,
        width,
        dense(edge_weight, dtype),
    )


def _spaced(weight: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """The weight in `dtype`, with any strides but 0: what is written where must not coincide."""
    if weight is None or (weight.dtype is dtype and 0 not in weight.stride()):
        return weight
    return weight.to(dtype).contiguous()


class Matrix(NamedTuple):
    """Where the core finds a weight (K, 2F) or its gradient: addresses of its gate and its core, and its strides."""

    gate: int = 0
    row: int = 0
    column: int = 1
    core: int = 0  # 0: F columns after the gate


def matrix(weight: Tensor | None) -> Matrix:
    """A weight in one piece."""
    return Matrix() if weight is None else Matrix(weight.data_ptr(), *weight.stride())


def native_edges(edges: Edges, weight: Matrix, n_basis: int) -> Any:  # noqa: ANN401 - of the compiled module
    """The core's view of edges that are ready() (their weight apart, with n_basis rows); they must outlive it."""
    p, q, source, row_ptr, order, edge_attr, _, distances, start, step, width, edge_weight = edges
    return native_class("MessageEdges", p.dtype)(
        p.data_ptr(),
        p.stride(0),
        q.data_ptr(),
        q.stride(0),
        p.shape[0],
        q.shape[0],
        p.shape[1] // 2,
        source.shape[0],
        row_ptr.data_ptr(),
        source.data_ptr(),
        address(order),
        address(edge_weight),
        weight.gate,
        n_basis,
        address(edge_attr),
        address(distances),
        start,
        step,
        width,
        *weight[1:],
    )


def native_view(edges: Edges) -> Any:  # noqa: ANN401 - of the compiled module
    """The same with the weight that edges hold."""
    return native_edges(edges, matrix(edges.weight), 0 if edges.weight is None else edges.weight.shape[0])


def empty_gradients(edges: Edges, wants: Sequence[bool]) -> list[Tensor]:
    """Room for the wanted gradients of DIFFERENTIABLE, as the core writes them: in p's dtype, that of distances in float64."""
    found = []
    for name, want in zip(DIFFERENTIABLE, wants, strict=False):
        if want:
            dtype = torch.float64 if name == "distances" else edges.p.dtype
            found.append(edges.p.new_empty(getattr(edges, name).shape, dtype=dtype))
    return found


def native_gradients(gradients: Sequence[Tensor | None], weight: Matrix, dtype: torch.dtype) -> Any:  # noqa: ANN401
    """The core's view of room for the gradients of DIFFERENTIABLE (that of the weight apart), None where not wanted."""
    p, q, edge_attr, _, distances, edge_weight = map(address, gradients)
    return native_class("EdgeGradients", dtype)(p, q, weight.gate, edge_attr, distances, edge_weight, *weight[1:])


def spread(gradients: Sequence[Tensor], wants: Sequence[bool]) -> list[Tensor | None]:
    """The gradients at the places of DIFFERENTIABLE; None where not wanted."""
    found = iter(gradients)
    return [next(found) if want else None for want in wants[: len(DIFFERENTIABLE)]]


def wanted(ctx: Any) -> list[bool]:  # noqa: ANN401 - autograd's context
    """Which of DIFFERENTIABLE autograd asks for."""
    return [bool(ctx.needs_input_grad[i]) for i in _POSITIONS]


def in_place(gradients: Sequence[Tensor | None], wants: Sequence[bool], edges: Edges) -> list[Any]:
    """The wanted gradients at the places of their inputs in SCHEMA, in their dtypes; None at the others."""
    out: list[Any] = [None] * N_ARGUMENTS
    found = iter(gradients)
    for position, name, want in zip(_POSITIONS, DIFFERENTIABLE, wants, strict=False):
        gradient = next(found) if want else None
        out[position] = None if gradient is None else gradient.to(getattr(edges, name).dtype)
    return out


def differentiable_gradients(
    ctx: Any,  # noqa: ANN401 - autograd's context
    inputs: Sequence[Any],
    twin: Callable[[Sequence[Any]], Tensor | tuple[Tensor, ...]],
    grads: Sequence[Tensor],
) -> tuple[Any, ...]:
    """The gradients that ctx asks for, by the twin's formulas and in a graph of their own, which autograd can follow to any
    order; None for the other inputs. Makes tensors of all edges.
    """
    if not torch.is_grad_enabled():
        with torch.enable_grad():
            return differentiable_gradients(ctx, inputs, twin, grads)
    places = [i for i, needed in enumerate(ctx.needs_input_grad) if needed]
    # Aliases: an input may be made from another one, whose gradient must not come through it here.
    aliases = list(inputs)
    for place in places:
        aliases[place] = inputs[place].view_as(inputs[place])
    wanted_inputs = [aliases[place] for place in places]
    found = torch.autograd.grad(twin(aliases), wanted_inputs, grads, create_graph=True, allow_unused=True)
    gradients: list[Any] = [None] * len(aliases)
    for place, gradient in zip(places, found, strict=True):
        gradients[place] = gradient
    return tuple(gradients)


def by_twin(grad: Tensor) -> bool:
    """Whether a gradient must come from the twin: it will be differentiated itself, or comes in a batch."""
    return torch.is_grad_enabled() or torch._C._functorch.is_legacy_batchedtensor(grad)  # noqa: SLF001


def for_reference(edges: Edges) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
    """Positional and keyword arguments of the twins in cgfast.reference."""
    keywords: dict[str, Any] = {"order": edges.order, "edge_attr": edges.edge_attr, "weight": edges.weight}
    if edges.distances is not None and edges.weight is not None:
        stop = edges.start + (edges.weight.shape[0] - 1) * edges.step
        keywords["basis"] = GaussianBasis(edges.start, stop, edges.step, edges.width)
        keywords["distances"] = edges.distances
    return edges[:4], {**keywords, "edge_weight": edges.edge_weight}
