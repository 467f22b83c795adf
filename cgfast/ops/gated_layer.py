"""Products of atoms and weights and the gated message as one node of autograd: on small graphs the nodes of its parts cost
more than their work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn.functional import linear

from cgfast._native import thread_count
from cgfast.checks import check_edges, check_tensor
from cgfast.ops.edges import Edges, Matrix, differentiable_gradients, native_edges, native_gradients, ready
from cgfast.ops.gated_message import twin
from cgfast.ops.operators import address, apply, is_plain, native, rows, tensors_of
from cgfast.ops.split_linear import native_split_linear, node_products, takes_products

if TYPE_CHECKING:
    from torch import Tensor


class GatedLayer(NamedTuple):
    """The inputs: messages of [x_target, x_source, edge features] through lin_f and lin_s, summed over the edges of targets."""

    target: Tensor  # (N, F_t)
    source: Tensor | None  # (M, F_s); None: the same as target
    gate: Tensor  # lin_f.weight (F, F_t + F_s + K)
    core: Tensor  # lin_s.weight
    gate_bias: Tensor | None  # (F,), both or none
    core_bias: Tensor | None
    source_index: Tensor  # from here on as in Edges
    row_ptr: Tensor
    order: Tensor | None
    edge_attr: Tensor | None
    distances: Tensor | None
    start: float
    step: float
    width: float
    edge_weight: Tensor | None
    residual: bool  # whether the target is added to its sum


def takes_layer(layer: GatedLayer) -> bool:
    """Whether gated_layer() may be called: the core can multiply, and the biases are both there or both absent."""
    return (layer.gate_bias is None) == (layer.core_bias is None) and takes_products(*tensors_of(layer))


class _Native:
    """A GatedLayer, checked, as the core reads it."""

    def __init__(self, layer: GatedLayer) -> None:
        self.layer = layer
        self.target = rows(layer.target)
        self.source = self.target if layer.source is None else rows(layer.source)
        self.gate, self.core = layer.gate.contiguous(), layer.core.contiguous()
        self.end = layer.target.shape[1] + self.source.shape[1]
        with_term = layer.edge_attr is not None or layer.distances is not None
        self.n_basis = layer.gate.shape[1] - self.end if with_term else 0

    def check(self) -> None:
        layer, dtype, device = self.layer, self.target.dtype, self.target.device
        n_features, width = layer.gate.shape[0], max(layer.gate.shape[1], self.end)
        expected: tuple[tuple[str, Tensor | None, tuple[int | None, ...]], ...] = (
            ("x", self.source, (None, None)),
            ("lin_f.weight", layer.gate, (n_features, width)),
            ("lin_s.weight", layer.core, (n_features, width)),
            ("lin_f.bias", layer.gate_bias, (n_features,)),
            ("lin_s.bias", layer.core_bias, (n_features,)),
        )
        for name, tensor, shape in expected:
            if tensor is not None and (tensor.dtype is not dtype or tensor.shape != shape):
                check_tensor(tensor, name, dtype, shape, device)
        edges = (layer.source_index, layer.row_ptr, layer.edge_attr, layer.distances, layer.edge_weight, layer.order)
        check_edges(*edges, (self.target.shape[0], self.n_basis), dtype, device)

    def linear(self) -> Any:  # noqa: ANN401 - of the compiled module
        layer = self.layer
        return native_split_linear(self.target, self.source, self.gate, layer.gate_bias, self.core, layer.core_bias)

    def message(self, p: Tensor, q: Tensor) -> Edges:
        a = self.layer
        features = (a.edge_attr, None, a.distances)  # the weight is told apart: it lies in two pieces
        return ready(Edges(p, q, a.source_index, a.row_ptr, a.order, *features, a.start, a.step, a.width, a.edge_weight))

    def term(self, gate: Tensor, core: Tensor) -> Matrix:
        """The columns of lin_f and lin_s, or of their gradients, that meet edge features."""
        if self.n_basis == 0:
            return Matrix()
        skip = self.end * gate.element_size()
        return Matrix(gate.data_ptr() + skip, 1, gate.stride(0), core.data_ptr() + skip)

    def forward(self) -> tuple[Tensor, Tensor, Tensor]:
        """The sums (N, F), and p and q on the way."""
        n_features, dtype = self.gate.shape[0], self.target.dtype
        p, q = node_products(self.linear(), self.target, self.source, 2 * n_features)
        out = p.new_empty((p.shape[0], n_features))
        edges = self.message(p, q)  # names: they must outlive what the core is told of them
        start = self.target.contiguous() if self.layer.residual else None
        view = native_edges(edges, self.term(self.gate, self.core), self.n_basis)
        native("gated_message", dtype)(view, 0, 0, 0, address(start), out.data_ptr(), thread_count())
        return out, p, q

    def backward(self, grad: Tensor, p: Tensor, q: Tensor, needs: GatedLayer) -> GatedLayer:
        """The gradients of the inputs that need one; None for the others."""
        layer, dtype, edges = self.layer, grad.dtype, self.message(p, q)
        of_p, of_q, of_gate, of_core = (torch.empty_like(t) for t in (p, q, self.gate, self.core))
        of_linears = bool(needs.gate or needs.core or needs.gate_bias or needs.core_bias)
        found = {
            "edge_attr": _room(edges.edge_attr, needs.edge_attr),
            "distances": _room(edges.distances, needs.distances),
            "edge_weight": _room(edges.edge_weight, needs.edge_weight),
        }
        native("gated_message_backward", dtype)(
            native_edges(edges, self.term(self.gate, self.core), self.n_basis),
            *(0, 0, 0),
            grad.data_ptr(),
            native_gradients(
                (of_p, of_q, found["edge_attr"], None, found["distances"], found["edge_weight"]),
                self.term(of_gate, of_core) if of_linears else Matrix(),
                dtype,
            ),
            *(0, 0),
            thread_count(),
        )
        of_target, of_source = _room(layer.target, needs.target), _room(layer.source, needs.source)
        of_biases = tuple(_room(bias, of_linears) for bias in (layer.gate_bias, layer.core_bias))
        weights = (of_gate, of_core) if of_linears else (None, None)
        same = of_target if layer.source is None else of_source
        start = grad if layer.residual else None
        addresses = map(address, (of_p, of_q, of_target, same, *weights, *of_biases, start))
        native("split_linear_backward", dtype)(self.linear(), *addresses, thread_count())
        gradients: dict[str, Any] = dict.fromkeys(GatedLayer._fields)
        gradients |= {name: _like(gradient, getattr(layer, name)) for name, gradient in found.items()}
        gradients |= {"target": of_target, "source": of_source, "gate": weights[0], "core": weights[1]}
        gradients |= {"gate_bias": of_biases[0], "core_bias": of_biases[1]}
        return GatedLayer(**gradients)


def _room(tensor: Tensor | None, wanted: object) -> Tensor | None:
    return None if tensor is None or not wanted else tensor.new_empty(tensor.shape)


def _like(gradient: Tensor | None, tensor: Tensor) -> Tensor | None:
    return None if gradient is None else gradient.to(tensor.dtype)


class _GatedLayer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:  # noqa: ANN401 - torch's interface
        layer = GatedLayer(*inputs)
        out, p, q = _Native(layer).forward()
        ctx.numbers, ctx.residual = (layer.start, layer.step, layer.width), layer.residual
        ctx.save_for_backward(*inputs[:11], layer.edge_weight, p, q)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # noqa: ANN401 - torch's interface
        *tensors, edge_weight, p, q = ctx.saved_tensors
        layer = GatedLayer(*(*tensors, *ctx.numbers, edge_weight, ctx.residual))
        if torch.is_grad_enabled() or not is_plain(grad):  # it will be differentiated itself, or is no ordinary one
            return differentiable_gradients(ctx, layer, _twin, (grad,))
        return _Native(layer).backward(grad.contiguous(), p, q, GatedLayer(*ctx.needs_input_grad))


def _twin(inputs: Any) -> Tensor:  # noqa: ANN401 - as GatedLayer has them
    layer = GatedLayer(*inputs)
    source = layer.target if layer.source is None else layer.source
    cut, end = layer.target.shape[1], layer.target.shape[1] + source.shape[1]
    weight = torch.cat((layer.gate, layer.core))
    bias = None if layer.gate_bias is None or layer.core_bias is None else torch.cat((layer.gate_bias, layer.core_bias))
    p, q = linear(layer.target, weight[:, :cut], bias), linear(source, weight[:, cut:end])
    term = None if layer.edge_attr is None and layer.distances is None else weight[:, end:].t()
    out = twin((p, q, *layer[6:10], term, *layer[10:15], None, None, None))
    return out + layer.target if layer.residual else out


def gated_layer(layer: GatedLayer) -> Tensor:
    """(N, F): the sums of a layer that takes_layer() accepts.

    Raises ValueError, naming the argument, for shapes, dtypes and indices that do not fit. Differentiable to any order.
    """
    native_layer = _Native(layer)
    native_layer.check()
    if torch.is_grad_enabled():
        out: Tensor = apply(_GatedLayer, *layer)
        return out
    return native_layer.forward()[0]
