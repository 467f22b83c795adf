"""What CGConv makes of the messages to an atom: their sum, their mean, or the largest of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from cgfast import functional, ops, reference
from cgfast.checks import check_pointers, check_tensor
from cgfast.nn.edge_rows import row_weights
from cgfast.nn.linear_parameters import linear_parameters

if TYPE_CHECKING:
    from torch import Tensor

    from cgfast.nn.cg_conv import CGConv
    from cgfast.nn.edge_rows import EdgeRows


def aggregate_messages(
    layer: CGConv, target: Tensor, source: Tensor, rows: EdgeRows, term: dict[str, Any], edge_weight: Tensor | None
) -> Tensor:
    """(N, F): messages summed, averaged or maximised over the edges of each target, as the layer's `aggr` says.

    term: edge_attr, distances and basis as functional.gated_message takes them. Raises ValueError for weights of a maximum.
    """
    if layer.aggr == "max":
        if edge_weight is not None:
            msg = "edge_weight must be None with aggr='max', got a tensor"
            raise ValueError(msg)
        return _largest(layer, target, source, rows, term)
    out = sum_messages(layer, target, source, rows, term, edge_weight)
    return out / row_weights(rows, edge_weight)[:, None].to(out.dtype) if layer.aggr == "mean" else out


def sum_messages(
    layer: CGConv,
    target: Tensor,
    source: Tensor,
    rows: EdgeRows,
    term: dict[str, Any],
    edge_weight: Tensor | None,
    *,
    residual: bool = False,
) -> Tensor:
    """(N, F): messages summed over the edges of each target, plus the target if it is to be added (residual)."""
    gate, core = linear_parameters(layer.lin_f, "lin_f"), linear_parameters(layer.lin_s, "lin_s")
    basis = term.get("basis")
    start, step, width = (0.0, 1.0, 1.0) if basis is None else (basis.start, basis.step, basis.gaussian_width)
    whole = ops.GatedLayer(
        target,
        None if source is target else source,
        gate.weight,
        core.weight,
        gate.bias,
        core.bias,
        rows.source,
        rows.row_ptr,
        rows.order,
        term.get("edge_attr"),
        term.get("distances"),
        start,
        step,
        width,
        edge_weight,
        residual,
    )
    if ops.takes_layer(whole):
        return ops.gated_layer(whole)
    p, q, weight = _split(layer, target, source)
    if term:
        term["weight"] = weight
    out = functional.gated_message(p, q, rows.source, rows.row_ptr, **term, edge_weight=edge_weight, order=rows.order)
    return out + target if residual else out


def _split(layer: CGConv, target: Tensor, source: Tensor) -> ops.Split:
    """What the layer's weights make of atoms, and what is left for edges."""
    gate, core = linear_parameters(layer.lin_f, "lin_f"), linear_parameters(layer.lin_s, "lin_s")
    shape, dtype, device = gate.weight.shape, gate.weight.dtype, gate.weight.device
    for name, tensor, fits in (
        ("lin_s.weight", core.weight, shape),
        ("lin_f.bias", gate.bias, shape[:1]),
        ("lin_s.bias", core.bias, shape[:1]),
    ):
        if tensor is not None:
            check_tensor(tensor, name, dtype, tuple(fits), device)
    bias = None
    if gate.bias is not None or core.bias is not None:
        biases = [gate.weight.new_zeros(gate.weight.shape[0]) if b is None else b for b in (gate.bias, core.bias)]
        bias = torch.cat(biases)
    return ops.split_linear(target, source, torch.cat((gate.weight, core.weight)), bias)


def _largest(layer: CGConv, target: Tensor, source: Tensor, rows: EdgeRows, term: dict[str, Any]) -> Tensor:
    """(N, F): the largest messages of each row, 0 for an empty one. Messages that tie share the gradient, as in PyG."""
    p, q, weight = _split(layer, target, source)
    if term:
        term["weight"] = weight
    n_edges = rows.source.shape[0]
    check_pointers(rows.row_ptr, "row_ptr", n_edges, "edges")
    row = reference.rows_to_targets(rows.row_ptr, n_edges)
    one_each = torch.arange(n_edges + 1, device=row.device)
    messages = functional.gated_message(p.index_select(0, row), q, rows.source, one_each, **term, order=rows.order)
    out = messages.new_zeros(p.shape[0], messages.shape[1])
    return out.scatter_reduce(0, row[:, None].expand_as(messages), messages, "amax", include_self=False)
