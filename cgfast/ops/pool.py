"""cgfast::pool; its gradient is a gather, which torch can differentiate again to any order."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from cgfast import reference
from cgfast.checks import FLOATS, check_tensor
from cgfast.ops.operators import address, apply, is_plain, register, register_autograd, rows, run

if TYPE_CHECKING:
    from torch import Tensor


def _pool(x: Tensor, graph_ptr: Tensor, reduce: str) -> Tensor:
    check_tensor(x, "x", FLOATS, (None, None), x.device)
    check_tensor(graph_ptr, "graph_ptr", torch.int64, (None,), x.device)
    if len(graph_ptr) == 0:
        msg = "graph_ptr must begin with 0, got an empty one"
        raise ValueError(msg)
    x, graph_ptr = rows(x), graph_ptr.contiguous()
    (n_rows, n_features), n_graphs = x.shape, len(graph_ptr) - 1
    out = x.new_empty((n_graphs, n_features))
    run("pool", x, address(x), x.stride(0), n_rows, n_features, address(graph_ptr), n_graphs, reduce, address(out))
    return out


def _pool_fake(x: Tensor, graph_ptr: Tensor, reduce: str) -> Tensor:
    del reduce
    return x.new_empty((graph_ptr.shape[0] - 1, x.shape[1]))


_OPERATOR = register("pool", "(Tensor x, Tensor graph_ptr, str reduce) -> Tensor", _pool, _pool_fake)


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, graph_ptr: Tensor, reduce: str) -> Tensor:  # noqa: ANN401 - torch's interface
        if is_plain(x, graph_ptr):
            out = _pool(x, graph_ptr, reduce)
        else:
            with torch._C._AutoDispatchBelowAutograd():  # noqa: SLF001 - the documented way to go below autograd
                out = _OPERATOR(x, graph_ptr, reduce)
        ctx.reduce, ctx.n_rows = reduce, x.shape[0]
        ctx.save_for_backward(graph_ptr, *((x, out) if reduce in {"min", "max"} else ()))
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # noqa: ANN401 - torch's interface
        graph_ptr, *kept = ctx.saved_tensors
        counts = graph_ptr[1:] - graph_ptr[:-1]
        crystal = reference.rows_to_targets(graph_ptr, ctx.n_rows)
        if ctx.reduce == "mean":
            grad = grad / counts.clamp(min=1)[:, None].to(grad.dtype)
        if not kept:
            return grad.index_select(0, crystal), None, None
        x, out = kept
        # Atoms that tie for the extreme share its gradient.
        chosen = (x == out.index_select(0, crystal)).to(grad.dtype)
        sharing = torch.where(counts[:, None] == 0, 1.0, torch.zeros_like(grad).index_add(0, crystal, chosen))
        return chosen * (grad / sharing).index_select(0, crystal), None, None


register_autograd("pool", _Pool)


def pool(x: Tensor, graph_ptr: Tensor, reduce: str) -> Tensor:
    """torch.ops.cgfast.pool, by the shortest way."""
    function = partial(apply, _Pool) if is_plain(x, graph_ptr) and torch.is_grad_enabled() else _OPERATOR
    out: Tensor = function(x, graph_ptr, reduce)
    return out
