"""The arguments that the message operators share, on their way to the core, and the gradients on their way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from cgfast.basis import GaussianBasis
from cgfast.checks import check_message
from cgfast.ops.operators import address, dense, native, rows

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
        dense(weight, dtype),
        dense(distances, torch.float64),
        start,
        step,
        width,
        dense(edge_weight, dtype),
    )


def native_edges(edges: Edges) -> Any:  # noqa: ANN401 - of the compiled module
    """The core's view of edges that are ready(); they must outlive it."""
    p, q, weight = edges.p, edges.q, edges.weight
    return native("MessageEdges", p.dtype)(
        address(p),
        p.stride(0),
        address(q),
        q.stride(0),
        p.shape[0],
        q.shape[0],
        p.shape[1] // 2,
        edges.source.shape[0],
        address(edges.row_ptr),
        address(edges.source),
        address(edges.order),
        address(edges.edge_weight),
        address(weight),
        0 if weight is None else weight.shape[0],
        address(edges.edge_attr),
        address(edges.distances),
        edges.start,
        edges.step,
        edges.width,
    )


def empty_gradients(edges: Edges, wants: Sequence[bool]) -> list[Tensor]:
    """Room for the wanted gradients of DIFFERENTIABLE, in the shapes and dtypes of the inputs."""
    inputs = [getattr(edges, name) for name, want in zip(DIFFERENTIABLE, wants, strict=False) if want]
    return [torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in inputs]


def native_gradients(edges: Edges, wants: Sequence[bool], dtype: torch.dtype) -> tuple[list[Tensor], Any]:
    """Room for the wanted gradients of edges that are ready(), and the core's view of it."""
    found = empty_gradients(edges, wants)
    tensors = iter(found)
    p, q, edge_attr, weight, distances, edge_weight = (
        address(next(tensors)) if want else 0 for want in wants[: len(DIFFERENTIABLE)]
    )
    return found, native("EdgeGradients", dtype)(p, q, weight, edge_attr, distances, edge_weight)


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


def for_reference(edges: Edges) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
    """Positional and keyword arguments of the twins in cgfast.reference."""
    keywords: dict[str, Any] = {"order": edges.order, "edge_attr": edges.edge_attr, "weight": edges.weight}
    if edges.distances is not None and edges.weight is not None:
        stop = edges.start + (edges.weight.shape[0] - 1) * edges.step
        keywords["basis"] = GaussianBasis(edges.start, stop, edges.step, edges.width)
        keywords["distances"] = edges.distances
    return edges[:4], {**keywords, "edge_weight": edges.edge_weight}
