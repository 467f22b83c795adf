"""Which device computes: names of torch's devices, and what "auto" means."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cgfast._arrays import refuse
from cgfast._native import core

if TYPE_CHECKING:
    import torch

AUTO = "auto"


def torch_device(device: object, argument: str = "device") -> torch.device:
    """The torch device of that name, with its number where it is a CUDA device. Loads torch.

    Raises ValueError for what is none, and for a CUDA device that torch does not see.
    """
    import torch

    try:
        found = torch.device(device)  # type: ignore[call-overload]
    except (RuntimeError, TypeError):
        refuse(argument, f"the value {device!r}", "a torch device or the name of one")
    if found.type != "cuda":
        return found  # type: ignore[no-any-return]
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = found.index if found.index is not None or not seen else torch.cuda.current_device()
    if seen == 0 or index >= seen:
        devices = f"the {seen} CUDA devices" if seen else "no CUDA device"
        refuse(argument, f"the value {str(device)!r}", f"a device that torch sees here, which is {devices}")
    return torch.device("cuda", index)


def chosen_device(device: object, argument: str = "device") -> torch.device:
    """torch_device(), where "auto" is the current CUDA device if torch sees one and this build has kernels, else the CPU."""
    import torch

    if device != AUTO:
        return torch_device(device, argument)
    return torch_device("cuda" if core().cuda_built() and torch.cuda.is_available() else "cpu")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a computation needed more memory than there was, on a CUDA device or elsewhere."""
    found = sys.modules.get("torch")
    kinds = (MemoryError,) if found is None else (MemoryError, found.OutOfMemoryError)
    return isinstance(error, kinds) or "cudaErrorMemoryAllocation" in str(error)


def device_is_lost(error: BaseException) -> bool:
    """Whether CUDA itself failed: from then on everything on the device may fail, whoever asks."""
    said = str(error)
    return isinstance(error, RuntimeError) and ("CUDA error" in said or "cudaError" in said) and not is_out_of_memory(error)


def release_cached_memory() -> None:
    """Give the memory that torch keeps for later back to the CUDA device, if there is one."""
    found = sys.modules.get("torch")
    if found is not None and found.cuda.is_initialized():
        found.cuda.empty_cache()
