"""A linear layer of [x_target, x_source, edge features], cut along its input; its products of atoms and weights by the core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn.functional import linear

from cgfast._native import thread_count
from cgfast.ops.operators import FLOATS, address, apply, is_plain, native, native_class, rows, transforms_active

if TYPE_CHECKING:
    from torch import Tensor


class Split(NamedTuple):
    """y_e = p_i + q_j + (features of e) @ weight."""

    p: Tensor
    q: Tensor
    weight: Tensor


def takes_products(x: Tensor, *others: Tensor | None) -> bool:
    """Whether the core can multiply such tensors: float, plain, on the CPU, and no transform or autocast at work."""
    if x.dtype not in FLOATS or x.is_cuda:  # a GPU has a BLAS that is fast on tall matrices
        return False
    return not transforms_active() and not torch.is_autocast_enabled("cpu") and is_plain(x, *others)


def native_split_linear(
    target: Tensor,
    source: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    second_weight: Tensor | None = None,
    second_bias: Tensor | None = None,
) -> Any:  # noqa: ANN401 - of the compiled module
    """The core's view of the layer, whose weight and bias may come in two pieces of the same stride; rows must be dense."""
    n_first = weight.shape[0]
    return native_class("SplitLinear", target.dtype)(
        target.data_ptr(),
        target.stride(0),
        *target.shape,
        source.data_ptr(),
        source.stride(0),
        *source.shape,
        weight.data_ptr(),
        address(second_weight),
        n_first,
        n_first if second_weight is None else n_first + second_weight.shape[0],
        weight.stride(0),
        address(bias),
        address(second_bias),
    )


def node_products(layer: Any, target: Tensor, source: Tensor, n_out: int) -> tuple[Tensor, Tensor]:  # noqa: ANN401
    """P (N, n_out) and q (M, n_out) of a native_split_linear()."""
    p, q = target.new_empty((target.shape[0], n_out)), source.new_empty((source.shape[0], n_out))
    native("split_linear", target.dtype)(layer, p.data_ptr(), q.data_ptr(), thread_count())
    return p, q


class _NodeProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, target: Tensor, given: Tensor | None, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:  # noqa: ANN401
        source = target if given is None else given
        ctx.save_for_backward(target, given, weight)
        target, source, weight = rows(target), rows(source), rows(weight)
        return node_products(native_split_linear(target, source, weight, bias), target, source, weight.shape[0])

    @staticmethod
    def backward(ctx: Any, of_p: Tensor, of_q: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - torch's interface
        if torch.is_grad_enabled() or not is_plain(of_p, of_q):
            return _differentiable_backward(ctx, of_p, of_q)
        needs, (target, given, weight) = ctx.needs_input_grad, ctx.saved_tensors
        target, source, weight = rows(target), rows(target if given is None else given), rows(weight)
        of_p, of_q = of_p.contiguous(), of_q.contiguous()
        of_target = target.new_empty(target.shape) if needs[0] else None
        of_source = source.new_empty(source.shape) if needs[1] else None
        of_weight = of_bias = None
        if needs[2] or needs[3]:
            of_weight = weight.new_zeros(weight.shape)  # zero for the edge features, which are not multiplied
            of_bias = weight.new_empty(weight.shape[0])
        same = of_target if given is None else of_source
        native("split_linear_backward", target.dtype)(
            native_split_linear(target, source, weight, None),
            *map(address, (of_p, of_q, of_target, same, of_weight, None, of_bias, None, None)),
            thread_count(),
        )
        return of_target, of_source, of_weight, of_bias if needs[3] else None


def _differentiable_backward(ctx: Any, of_p: Tensor, of_q: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
    """By torch's products, which can be differentiated again."""
    needs, (target, given, weight) = ctx.needs_input_grad, ctx.saved_tensors
    source = target if given is None else given
    cut, end = target.shape[1], target.shape[1] + source.shape[1]
    of_target, of_source = of_p @ weight[:, :cut], of_q @ weight[:, cut:end]
    of_weight = torch.cat((of_p.t() @ target, of_q.t() @ source, torch.zeros_like(weight[:, end:])), 1)
    return (
        (of_target + of_source if given is None else of_target) if needs[0] else None,
        of_source if needs[1] else None,
        of_weight if needs[2] else None,
        of_p.sum(0) if needs[3] else None,
    )


def split_linear(target: Tensor, source: Tensor, weight: Tensor, bias: Tensor | None) -> Split:
    """P (N, C), q (M, C) and weight (K, C) from target (N, F_t), source (M, F_s), weight (C, F_t + F_s + K) and bias (C,).

    Raises ValueError for shapes that do not fit. Differentiable to any order. By the
    core where it can, with bits that depend on neither threads nor batch; else by torch.
    """
    n_target = target.shape[1]
    end = n_target + source.shape[1]
    if weight.dim() != 2 or weight.shape[1] < end or (bias is not None and bias.shape != weight.shape[:1]):
        got = f"{tuple(weight.shape)} and {None if bias is None else tuple(bias.shape)}"
        msg = f"weight and bias must have shapes (C, {end} or more) and (C,) for x of {n_target} features, got {got}"
        raise ValueError(msg)
    rest = weight[:, end:].t()
    same_dtype = target.dtype == source.dtype == weight.dtype and (bias is None or bias.dtype == weight.dtype)
    if same_dtype and takes_products(target, source, weight, bias):
        if torch.is_grad_enabled():
            p, q = apply(_NodeProducts, target, None if source is target else source, weight, bias)
            return Split(p, q, rest)
        target, source, weight = rows(target), rows(source), rows(weight)
        return Split(*node_products(native_split_linear(target, source, weight, bias), target, source, weight.shape[0]), rest)
    return Split(linear(target, weight[:, :n_target], bias), linear(source, weight[:, n_target:end]), rest)
