"""The doorway to the compiled core: finds it, says how to build it, and hands it checked addresses and a thread count."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    import numpy as np
    from numpy.typing import NDArray


def core() -> ModuleType:
    """Return the compiled module.

    Raises ImportError that says how to build it if it is missing.
    """
    try:
        from cgfast import _core
    except ImportError as error:
        msg = (
            f"cgfast's compiled core could not be imported ({error}). Build it with `pip install .` in a checkout "
            "(needs a C++ compiler), then run `cgfast doctor`. If it is installed already, Python found the checkout's "
            "source folder first: run from another folder, or with `python -P`."
        )
        raise ImportError(msg) from error
    return _core


def address(array: NDArray[np.generic] | None) -> int:
    """Address of a C-contiguous array's first element; 0 for None."""
    if array is None:
        return 0
    if not array.flags.c_contiguous:
        msg = "array must be C-contiguous before its address leaves Python"
        raise ValueError(msg)
    return int(array.ctypes.data)


_threads: int | None = None


@contextlib.contextmanager
def native_threads(threads: int) -> Iterator[None]:
    """Give native code another number of threads than torch has, in the whole process.

    For loops that alternate between both: torch's OpenMP threads spin for a while after each of its operations and take the
    cores from ours. One thread for torch and all for native code is faster, and far faster on a busy machine.
    """
    global _threads  # noqa: PLW0603 - a setting of the process, like torch's own
    before, _threads = _threads, _positive(threads, "threads")
    try:
        yield
    finally:
        _threads = before


def thread_count(threads: int | None = None) -> int:
    """How many threads native code uses: `threads`, else what native_threads() says, else torch's count if torch is loaded,
    else CGFAST_NUM_THREADS, else the CPUs that this process may use.

    Raises ValueError for a count below 1.
    """
    if threads is not None:
        return _positive(threads, "threads")
    if _threads is not None:
        return _threads
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_num_threads"):
        return int(torch.get_num_threads())
    wanted = os.environ.get("CGFAST_NUM_THREADS")
    if wanted:
        return _positive(wanted, "CGFAST_NUM_THREADS")
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _positive(value: int | str, name: str) -> int:
    try:
        count = int(value)
    except (TypeError, ValueError):
        count = 0
    if count < 1 or (isinstance(value, float) and value != count):
        msg = f"{name} must be a whole number of at least 1, got {value!r}"
        raise ValueError(msg)
    return count
