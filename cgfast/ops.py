"""The native ops as torch operators: schema, implementation, fake, and the one doorway through which addresses leave.

Operators are registered without a formula for gradients: called on tensors that want one they raise, because an operator
that silently gives none is worse. cgfast.functional is the way to call them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.autograd import forward_ad

from cgfast._native import core, thread_count
from cgfast.checks import check_message

if TYPE_CHECKING:
    from torch import Tensor


def wants_gradient(*tensors: Tensor) -> bool:
    """Whether autograd follows any of them, backward or forward."""
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        return True
    # Inside a forward-mode level, torch.func.jvp included, a tensor may carry a tangent that no flag tells of.
    return not torch.compiler.is_compiling() and forward_ad._current_level >= 0  # noqa: SLF001 - there is no public query


_library = torch.library.Library("cgfast", "DEF")
_FLOATS = {torch.float32: "gated_message_float32", torch.float64: "gated_message_float64"}


def _rows(tensor: Tensor) -> Tensor:
    """The tensor itself if its rows are dense and go forward, else a copy that is."""
    dense = tensor.stride(-1) == 1 or tensor.shape[-1] <= 1
    return tensor if dense and tensor.stride(0) >= tensor.shape[-1] else tensor.contiguous()


def _dense(tensor: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return None if tensor is None else tensor.to(dtype).contiguous()


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
    check_message(p, q, source, row_ptr, edge_attr, weight, distances, edge_weight)
    n_rows, channels = p.shape
    n_basis = 0 if weight is None else weight.shape[0]
    weight, edge_attr = _dense(weight, p.dtype), _dense(edge_attr, p.dtype)
    distances, edge_weight = _dense(distances, torch.float64), _dense(edge_weight, p.dtype)
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
        len(source),
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
    if wants_gradient(*(a for a in args if isinstance(a, torch.Tensor))):
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
