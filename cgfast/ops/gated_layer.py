"""Products of atoms and weights and the gated message as one node of autograd: on small graphs the nodes of its parts cost
more than their work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import linear

from cgfast._native import thread_count
from cgfast.checks import check_edges
from cgfast.ops.edges import Edges, Matrix, differentiable_gradients, native_edges, native_gradients, ready
from cgfast.ops.gated_message import twin
from cgfast.ops.operators import address, apply, is_plain, native, rows
from cgfast.ops.split_linear import native_split_linear, node_products, takes_products

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

takes_layer = takes_products


class _Layer:
    """The inputs of gated_layer(), as the core reads them."""

    def __init__(self, inputs: Sequence[Any]) -> None:
        target, source, gate, core, self.gate_bias, self.core_bias, *self.edges, self.residual = inputs
        self.target = rows(target)
        self.source = self.target if source is None else rows(source)
        self.gate, self.core = gate.contiguous(), core.contiguous()
        self.end = target.shape[1] + self.source.shape[1]
        with_term = self.edges[3] is not None or self.edges[4] is not None
        self.n_basis = gate.shape[1] - self.end if with_term else 0

    def dense_target(self) -> Tensor:
        return self.target.contiguous()

    def linear(self) -> Any:  # noqa: ANN401 - of the compiled module
        return native_split_linear(self.target, self.source, self.gate, self.gate_bias, self.core, self.core_bias)

    def message(self, p: Tensor, q: Tensor) -> Edges:
        source, row_ptr, order, edge_attr, *rest = self.edges
        return ready(Edges(p, q, source, row_ptr, order, edge_attr, None, *rest))

    def term(self, gate: Tensor, core: Tensor) -> Matrix:
        """The columns of lin_f and lin_s, or of their gradients, that meet edge features."""
        if self.n_basis == 0:
            return Matrix()
        skip = self.end * gate.element_size()
        return Matrix(gate.data_ptr() + skip, 1, gate.stride(0), core.data_ptr() + skip)

    def forward(self) -> tuple[Tensor, Tensor, Tensor]:
        """The sums (N, F), and p and q on the way."""
        source, row_ptr, order, edge_attr, distances, *_, edge_weight = self.edges
        shape, dtype = (self.target.shape[0], self.n_basis), self.target.dtype
        check_edges(source, row_ptr, edge_attr, distances, edge_weight, order, shape, dtype, self.target.device)
        n_features = self.gate.shape[0]
        p, q = node_products(self.linear(), self.target, self.source, 2 * n_features)
        out = p.new_empty((p.shape[0], n_features))
        edges = self.message(p, q)  # a name: it must outlive the core's view of it
        view = native_edges(edges, self.term(self.gate, self.core), self.n_basis)
        start = self.dense_target() if self.residual else None
        native("gated_message", dtype)(view, 0, 0, 0, address(start), out.data_ptr(), thread_count())
        return out, p, q


class _GatedLayer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:  # noqa: ANN401 - torch's interface
        out, p, q = _Layer(inputs).forward()
        ctx.numbers, ctx.residual = inputs[11:14], inputs[15]
        ctx.save_for_backward(*inputs[:11], inputs[14], p, q)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # noqa: ANN401 - torch's interface
        *saved, p, q = ctx.saved_tensors
        inputs = [*saved[:11], *ctx.numbers, saved[11], ctx.residual]
        if torch.is_grad_enabled() or not is_plain(grad):  # it will be differentiated itself, or is no ordinary one
            return differentiable_gradients(ctx, inputs, _layer_twin, (grad,))
        layer, needs, dtype = _Layer(inputs), ctx.needs_input_grad, grad.dtype
        of_linears = any(needs[2:6])
        edges, grad = layer.message(p, q), grad.contiguous()
        of_p, of_q, of_gate, of_core = (torch.empty_like(t) for t in (p, q, layer.gate, layer.core))
        optional = ((edges.edge_attr, needs[9]), (edges.distances, needs[10]), (edges.edge_weight, needs[14]))
        of_attr, of_distances, of_weight = (_room(tensor) if need else None for tensor, need in optional)
        room = (of_p, of_q, of_attr, None, of_distances, of_weight)
        native("gated_message_backward", dtype)(
            native_edges(edges, layer.term(layer.gate, layer.core), layer.n_basis),
            *(0, 0, 0),
            grad.data_ptr(),
            native_gradients(room, layer.term(of_gate, of_core) if of_linears else Matrix(), dtype),
            *(0, 0),
            thread_count(),
        )
        of_target, of_source = (_room(tensor) if need else None for tensor, need in zip(saved[:2], needs, strict=False))
        with_bias = needs[4] or needs[5]
        of_biases = tuple(_room(saved[i]) if with_bias else None for i in (4, 5))
        same = of_target if saved[1] is None else of_source
        weights = (of_gate, of_core) if of_linears else (None, None)
        native("split_linear_backward", dtype)(
            layer.linear(),
            *map(address, (of_p, of_q, of_target, same, *weights, *of_biases, grad if ctx.residual else None)),
            thread_count(),
        )
        return (
            *(of_target, of_source, *weights, *of_biases),
            *(None, None, None, of_attr, _like(of_distances, saved[10]), None, None, None, _like(of_weight, saved[11]), None),
        )


def _room(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.new_empty(tensor.shape)


def _like(gradient: Tensor | None, tensor: Tensor) -> Tensor | None:
    return None if gradient is None else gradient.to(tensor.dtype)


def _layer_twin(inputs: Sequence[Any]) -> Tensor:
    target, source, gate, core, gate_bias, core_bias, source_index, row_ptr, order, edge_attr, distances, *rest, residual = (
        inputs
    )
    source = target if source is None else source
    cut, end = target.shape[1], target.shape[1] + source.shape[1]
    weight = torch.cat((gate, core))
    p = linear(target, weight[:, :cut], None if gate_bias is None else torch.cat((gate_bias, core_bias)))
    q = linear(source, weight[:, cut:end])
    term = None if edge_attr is None and distances is None else weight[:, end:].t()
    out = twin((p, q, source_index, row_ptr, order, edge_attr, term, distances, *rest, None, None, None))
    return out + target if residual else out


def gated_layer(*inputs: Any) -> Tensor:  # noqa: ANN401 - below
    """(N, F): the gated messages of [x_target, x_source, edge features] through lin_f and lin_s, summed.

    inputs: target (N, F_t), source (M, F_s) or None (the same), the weights of lin_f and lin_s (F, F_t + F_s + K), their
    biases (F,) or None, what Edges holds after q, without weight, and whether the target is added to its sum. Only if
    takes_layer() of the tensors among them.
    """
    if torch.is_grad_enabled():
        out: Tensor = apply(_GatedLayer, *inputs)
        return out
    return _Layer(inputs).forward()[0]
