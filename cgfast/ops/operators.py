"""What all operators share: their library, how they are registered, and how tensors become addresses."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd import forward_ad

from cgfast._native import core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

library = torch.library.Library("cgfast", "DEF")
FLOATS = {torch.float32: "float32", torch.float64: "float64"}


def transforms_active() -> bool:
    """Whether a transform that the operators have no formula for is at work: forward-mode derivatives, vmap, torch.func."""
    if torch.compiler.is_compiling():
        return False
    # There are no public queries.
    return forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active()  # noqa: SLF001


def wants_gradient(*tensors: Tensor) -> bool:
    """Whether autograd follows any of them, backward or forward."""
    return transforms_active() or (torch.is_grad_enabled() and any(t.requires_grad for t in tensors))


def register(name: str, schema: str, implementation: Callable[..., Any], fake: Callable[..., Any]) -> Any:  # noqa: ANN401 - an OpOverload
    """Define cgfast::name, for the CPU, and return it."""
    library.define(f"{name}{schema}")
    library.impl(name, implementation, "CPU")
    torch.library.register_fake(f"cgfast::{name}", fake, lib=library)
    return getattr(torch.ops.cgfast, name).default


@functools.cache
def _plain_keys() -> frozenset[int]:
    """The dispatch keys of an ordinary tensor on the CPU, and of one made in inference mode."""
    made = []
    for inference in (False, True):  # said both times: the first call may come from inside inference mode
        with torch.inference_mode(inference):
            made.append(torch.empty(0, device="cpu"))
    return frozenset(torch._C._dispatch_keys(tensor).raw_repr() for tensor in made)  # noqa: SLF001


def is_plain(*tensors: Tensor | None) -> bool:
    """Whether a call may go straight to the implementation, past torch's dispatcher, which costs more than a small graph.

    Nothing traces, no mode looks on, and every tensor is an ordinary one on the CPU: no negated view, no batched or fake one,
    no subclass with a dispatch of its own.
    """
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:  # noqa: SLF001
        return False
    if torch._C._len_torch_dispatch_stack() != 0:  # noqa: SLF001
        return False
    plain, keys_of = _plain_keys(), torch._C._dispatch_keys  # noqa: SLF001
    return all(tensor is None or keys_of(tensor).raw_repr() in plain for tensor in tensors)


def tensors_of(arguments: Iterable[object]) -> list[Tensor]:
    """The tensors among the arguments of an operator."""
    return [argument for argument in arguments if isinstance(argument, torch.Tensor)]


def register_autograd(name: str, function: type[torch.autograd.Function]) -> None:
    """Have cgfast::name differentiate by `function`, which takes the operator's arguments."""
    operator = getattr(torch.ops.cgfast, name).default

    def autograd(*args: object) -> object:
        if transforms_active():
            msg = f"torch.ops.cgfast.{name} has no formula for transforms: call cgfast.functional.{name}, which has"
            raise RuntimeError(msg)
        if wants_gradient(*tensors_of(args)):
            return apply(function, *args)
        with torch._C._AutoDispatchBelowAutograd():  # noqa: SLF001 - the documented way to go below autograd
            return operator(*args)

    library.impl(name, autograd, "Autograd")


def apply(function: type[torch.autograd.Function], *args: object) -> Any:  # noqa: ANN401 - what the function gives
    """function.apply(*args), which torch leaves untyped."""
    return function.apply(*args)


def refuse_gradient(name: str, instead: str) -> None:
    """Have the operator raise where a gradient is wanted: one that silently gives none is worse."""
    operator = getattr(torch.ops.cgfast, name).default

    def refuse(*args: object) -> object:
        if wants_gradient(*tensors_of(args)):
            msg = f"torch.ops.cgfast.{name} has no gradient of its own: call {instead}, which has"
            raise RuntimeError(msg)
        with torch._C._AutoDispatchBelowAutograd():  # noqa: SLF001 - the documented way to go below autograd
            return operator(*args)

    library.impl(name, refuse, "Autograd")


@functools.cache
def native(name: str, dtype: torch.dtype) -> Any:  # noqa: ANN401 - of the compiled module
    """A function of the core for `dtype`."""
    return getattr(core(), f"{name}_{FLOATS[dtype]}")


@functools.cache
def native_class(name: str, dtype: torch.dtype) -> Any:  # noqa: ANN401 - of the compiled module
    """A class of the core for `dtype`."""
    return getattr(core(), name + FLOATS[dtype].capitalize())


def rows(tensor: Tensor) -> Tensor:
    """The tensor itself if its rows are dense and go forward, else a copy that is."""
    dense = tensor.stride(-1) == 1 or tensor.shape[-1] <= 1
    return tensor if dense and tensor.stride(0) >= tensor.shape[-1] else tensor.contiguous()


def dense(tensor: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """The tensor without gaps, in `dtype`."""
    if tensor is None or (tensor.dtype is dtype and tensor.is_contiguous()):
        return tensor
    return tensor.to(dtype).contiguous()


def address(tensor: Tensor | None) -> int:
    """Of the first element; 0 for None."""
    return 0 if tensor is None else tensor.data_ptr()
