"""What all operators share: their library, how they are registered, and how tensors become addresses."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd import forward_ad

from cgfast._native import core, thread_count

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


@functools.cache
def cuda_kernels() -> bool:
    """Whether the core holds kernels for CUDA tensors."""
    try:
        return bool(core().cuda_built())
    except ImportError:  # what needs the core will say how to build it
        return False


def register(name: str, schema: str, implementation: Callable[..., Any], fake: Callable[..., Any]) -> Any:  # noqa: ANN401 - an OpOverload
    """Define cgfast::name, for the devices that there are kernels for, and return it."""
    library.define(f"{name}{schema}")
    library.impl(name, implementation, "CPU")
    if cuda_kernels():
        library.impl(name, implementation, "CUDA")
    torch.library.register_fake(f"cgfast::{name}", fake, lib=library)
    return getattr(torch.ops.cgfast, name).default


@functools.cache
def _plain_keys(device: str) -> frozenset[int]:
    """The dispatch keys of an ordinary tensor on `device`, and of one made in inference mode."""
    made = []
    for inference in (False, True):  # said both times: the first call may come from inside inference mode
        with torch.inference_mode(inference):
            made.append(torch.empty(0, device=device))
    return frozenset(torch._C._dispatch_keys(tensor).raw_repr() for tensor in made)  # noqa: SLF001


def is_plain(*tensors: Tensor | None) -> bool:
    """Whether a call may go straight to the implementation, past torch's dispatcher, which costs more than a small graph.

    Nothing traces, no mode looks on, and every tensor is an ordinary one on the CPU, or every one on a CUDA device for which
    there are kernels: no negated view, no batched or fake one, no subclass with a dispatch of its own.
    """
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:  # noqa: SLF001
        return False
    if torch._C._len_torch_dispatch_stack() != 0:  # noqa: SLF001
        return False
    plain, keys_of = _plain_keys("cpu"), torch._C._dispatch_keys  # noqa: SLF001
    if any(tensor is not None and tensor.is_cuda for tensor in tensors):
        if not cuda_kernels():
            return False
        plain = _plain_keys("cuda")
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


def run(name: str, tensor: Tensor, *arguments: object) -> None:
    """Run a function of the core for `tensor`'s dtype on its device: with thread_count() threads, or on the current stream."""
    if tensor.is_cuda:
        run_on_cuda(native(f"{name}_cuda", tensor.dtype), native(f"{name}_cuda_workspace", tensor.dtype), tensor, *arguments)
    else:
        native(name, tensor.dtype)(*arguments, thread_count())


def run_on_cuda(function: Any, workspace_of: Any, tensor: Tensor, *arguments: object) -> None:  # noqa: ANN401 - of the core
    """Run `function` on `tensor`'s device and torch's current stream, in as much memory of torch's as workspace_of() says.

    The memory may serve others as soon as this returns: what they do with it comes later in the same stream.
    """
    with torch.cuda.device(tensor.device):
        workspace = tensor.new_empty(workspace_of(*arguments), dtype=torch.uint8)
        function(*arguments, workspace.data_ptr(), torch.cuda.current_stream().cuda_stream)


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
