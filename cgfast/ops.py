"""The native ops as torch operators: schema, implementation, fake, and the one doorway through which addresses leave.

Operators are registered without a formula for gradients: called on tensors that want one they raise, because an operator
that silently gives none is worse. cgfast.functional is the way to call them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from cgfast._native import core, thread_count

if TYPE_CHECKING:
    from torch import Tensor

_library = torch.library.Library("cgfast", "DEF")
_FLOATS = {torch.float32: "gated_message_float32", torch.float64: "gated_message_float64"}


def _check(tensor: Tensor, name: str, dtype: torch.dtype, shape: tuple[int | None, ...]) -> None:
    """Raise ValueError unless `tensor` is a CPU tensor of this dtype and shape (None: any) with unit stride in rows."""
    fits = tensor.dim() == len(shape) and all(want in (None, have) for want, have in zip(shape, tensor.shape, strict=True))
    if tensor.device.type != "cpu" or tensor.dtype != dtype or not fits:
        wanted = tuple("any" if n is None else n for n in shape)
        msg = (
            f"{name} must be a {dtype} tensor of shape {wanted} on the CPU, got {tensor.dtype} of shape "
            f"{tuple(tensor.shape)} on {tensor.device}"
        )
        raise ValueError(msg)


def _rows(tensor: Tensor) -> Tensor:
    """The tensor itself if its rows are dense and go forward, else a copy that is."""
    dense = tensor.stride(-1) == 1 or tensor.shape[-1] <= 1
    return tensor if dense and tensor.stride(0) >= tensor.shape[-1] else tensor.contiguous()


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


_library.define(
    "gated_message(Tensor p, Tensor q, Tensor source, Tensor row_ptr, Tensor? edge_attr, Tensor? weight, "
    "Tensor? distances, float start, float step, float width, Tensor? edge_weight) -> Tensor"
)


def _gated_message(
    p: Tensor,
    q: Tensor,
    source: Tensor,
    row_ptr: Tensor,
    edge_attr: Tensor | None,
    weight: Tensor | None,
    distances: Tensor | None,
    start: float,
    step: float,
    width: float,
    edge_weight: Tensor | None,
) -> Tensor:
    if p.dtype not in _FLOATS:
        msg = f"p must be float32 or float64, got {p.dtype}"
        raise ValueError(msg)
    if p.dim() != 2 or p.shape[1] % 2:
        msg = f"p must have shape (N, 2F), got {tuple(p.shape)}"
        raise ValueError(msg)
    n_rows, channels = p.shape
    n_edges = source.shape[0]
    _check(p, "p", p.dtype, (None, None))
    _check(q, "q", p.dtype, (None, channels))
    _check(source, "source", torch.int64, (None,))
    _check(row_ptr, "row_ptr", torch.int64, (n_rows + 1,))
    if int(row_ptr[-1]) != n_edges:
        msg = f"row_ptr must end with the number of edges ({n_edges}), got {int(row_ptr[-1])}"
        raise ValueError(msg)
    n_basis = 0
    if weight is not None:
        _check(weight, "weight", p.dtype, (None, channels))
        n_basis = weight.shape[0]
        weight = weight.contiguous()
        if (edge_attr is None) == (distances is None):
            msg = "weight needs exactly one of edge_attr and distances, got " + ("both" if edge_attr is not None else "none")
            raise ValueError(msg)
    if edge_attr is not None:
        _check(edge_attr, "edge_attr", p.dtype, (n_edges, n_basis))
        edge_attr = edge_attr.contiguous()
    if distances is not None:
        _check(distances, "distances", torch.float64, (n_edges,))
        distances = distances.contiguous()
    if edge_weight is not None:
        _check(edge_weight, "edge_weight", p.dtype, (n_edges,))
        edge_weight = edge_weight.contiguous()
    p, q, source, row_ptr = _rows(p), _rows(q), source.contiguous(), row_ptr.contiguous()
    out = torch.empty((n_rows, channels // 2), dtype=p.dtype)
    getattr(core(), _FLOATS[p.dtype])(
        _address(p),
        p.stride(0),
        _address(q),
        q.stride(0),
        n_rows,
        q.shape[0],
        channels // 2,
        _address(row_ptr),
        _address(source),
        _address(edge_weight),
        _address(weight),
        n_basis,
        _address(edge_attr),
        _address(distances),
        start,
        step,
        width,
        _address(out),
        thread_count(),
    )
    return out


def _gated_message_fake(p: Tensor, *_: object) -> Tensor:
    return p.new_empty((p.shape[0], p.shape[1] // 2))


def _refuse_gradient(name: str, implementation: torch._ops.OpOverload, *args: object) -> object:
    wants = any(isinstance(a, torch.Tensor) and a.requires_grad for a in args)
    if wants and torch.is_grad_enabled():
        msg = f"torch.ops.cgfast.{name} has no gradient of its own: call cgfast.functional.{name}, which has"
        raise RuntimeError(msg)
    with torch._C._AutoDispatchBelowAutograd():  # noqa: SLF001 - the documented way to go below autograd
        return implementation(*args)


_library.impl("gated_message", _gated_message, "CPU")
torch.library.register_fake("cgfast::gated_message", _gated_message_fake, lib=_library)
_library.impl(
    "gated_message",
    lambda *args: _refuse_gradient("gated_message", torch.ops.cgfast.gated_message.default, *args),
    "Autograd",
)
gated_message = torch.ops.cgfast.gated_message.default
