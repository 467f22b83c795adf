"""Node products and gated message as one node of autograd: on small graphs the nodes of its parts cost more than their work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn.functional import linear

from cgfast.ops.edges import Edges, check, differentiable_gradients, ready
from cgfast.ops.gated_message import native_backward, native_forward, twin
from cgfast.ops.operators import FLOATS, is_plain, transforms_active

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

NO_AFFINE = (None, None, None)


class Split(NamedTuple):
    """A linear layer of [x_target, x_source, edge features], cut along its input: y = p_i + q_j + (features) @ weight."""

    p: Tensor
    q: Tensor
    weight: Tensor


def split_linear(target: Tensor, source: Tensor, weight: Tensor, bias: Tensor | None) -> Split:
    """P (N, C), q (M, C) and weight (K, C) from target (N, F_t), source (M, F_s), weight (C, F_t + F_s + K) and bias (C,)."""
    n_target, n_source = target.shape[1], source.shape[1]
    q = linear(source, weight[:, n_target : n_target + n_source])
    return Split(linear(target, weight[:, :n_target], bias), q, weight[:, n_target + n_source :].t())


def _stack(gate: Tensor | None, core: Tensor | None) -> Tensor | None:
    return None if gate is None or core is None else torch.cat((gate, core))


def compose(inputs: Sequence[Any]) -> Edges:
    """The edges of gated_message from target, source, lin_f.weight, lin_s.weight, lin_f.bias, lin_s.bias and what follows q
    in Edges, without weight.
    """
    target, source, *linears = inputs[:6]
    source_index, row_ptr, order, edge_attr, distances, *rest = inputs[6:]
    weight, bias = torch.cat(tuple(linears[:2])), _stack(*linears[2:])
    p, q, on_edges = split_linear(target, target if source is None else source, weight, bias)
    with_term = edge_attr is not None or distances is not None
    return Edges(p, q, source_index, row_ptr, order, edge_attr, on_edges if with_term else None, distances, *rest)


class _GatedLayer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:  # noqa: ANN401 - torch's interface
        edges = compose(inputs)
        check(edges)
        edges = ready(edges)
        ctx.numbers = inputs[11:14]
        ctx.save_for_backward(*inputs[:11], *inputs[14:], edges.p, edges.q, edges.weight)
        return native_forward(*edges, *NO_AFFINE)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # noqa: ANN401 - torch's interface
        *saved, p, q, weight = ctx.saved_tensors
        inputs = [*saved[:11], *ctx.numbers, *saved[11:]]
        if torch.is_grad_enabled():  # this gradient will be differentiated itself
            return differentiable_gradients(ctx, inputs, _layer_twin, (grad,))
        needs = ctx.needs_input_grad
        source_index, row_ptr, order, edge_attr, distances, *rest = inputs[6:]
        edges = Edges(p, q, source_index, row_ptr, order, edge_attr, weight, distances, *rest)
        wants = [True, True, needs[9], weight is not None, needs[10], needs[14]]
        found = iter(native_backward(grad, *edges, *NO_AFFINE, [*wants, False]))
        of_p, of_q, of_attr, of_weight, of_distances, of_edge_weight = (next(found) if want else None for want in wants)
        return (
            *_through_products(inputs, needs, of_p, of_q, of_weight),
            None,
            None,
            None,
            of_attr,
            of_distances if of_distances is None else of_distances.to(distances.dtype),
            None,
            None,
            None,
            of_edge_weight if of_edge_weight is None else of_edge_weight.to(rest[-1].dtype),
        )


def _through_products(
    inputs: Sequence[Any],
    needs: Sequence[bool],
    of_p: Any,
    of_q: Any,
    of_weight: Any,  # noqa: ANN401
) -> tuple[Any, ...]:
    """Gradients of target, source, and the weights and biases of gate and core."""
    target, given, *linears = inputs[:6]
    source = target if given is None else given
    n_features, cut, end = of_p.shape[1] // 2, target.shape[1], target.shape[1] + source.shape[1]
    weight = torch.cat(tuple(linears[:2])) if needs[0] or needs[1] else None
    of_target = of_source = None
    if needs[0] and weight is not None:
        of_target = of_p @ weight[:, :cut]
        if given is None:
            of_target = torch.addmm(of_target, of_q, weight[:, cut:end])
    if needs[1] and weight is not None:
        of_source = of_q @ weight[:, cut:end]
    of_gate = of_core = of_gate_bias = of_core_bias = None
    if needs[2] or needs[3]:
        parts = (of_p.t() @ target, of_q.t() @ source)
        of_gate, of_core = torch.cat(parts if of_weight is None else (*parts, of_weight.t()), 1).split(n_features)
    if needs[4] or needs[5]:
        of_gate_bias, of_core_bias = of_p.sum(0).split(n_features)
    return of_target, of_source, of_gate, of_core, of_gate_bias, of_core_bias


def _layer_twin(inputs: Sequence[Any]) -> Tensor:
    return twin((*compose(inputs), *NO_AFFINE))


def takes_layer(x: Tensor) -> bool:
    """Whether gated_layer() may be called with such an x."""
    plain = is_plain(x) and x.device.type == "cpu" and x.dtype in FLOATS
    return plain and not transforms_active() and not torch.is_autocast_enabled("cpu")


def gated_layer(*inputs: Any) -> Tensor:  # noqa: ANN401 - as compose() has them; source None: the same as target
    """gated_message of compose(inputs), by the shortest way. Only if takes_layer(target) and takes_layer(source)."""
    if torch.is_grad_enabled():
        out: Tensor = _GatedLayer.apply(*inputs)
        return out
    edges = compose(inputs)
    check(edges)
    return native_forward(*ready(edges), *NO_AFFINE)
