"""Batches in parallel: each computed by one thread, several at a time.

Not several threads in one batch: torch's threads would spin while ours wait for a core and the other way round (measured on
two cores: a fifth of the speed). And a batch that one thread computes has the same bits whatever the number of threads.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Self, TypeVar

from cgfast._native import thread_count

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

T = TypeVar("T")


class _SingleThreadedTorch:
    """Counts who needs torch on one thread; the first sets it, the last restores what was."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before = 1

    def enter(self) -> None:
        import torch

        with self._lock:
            if self._users == 0:
                self._before = torch.get_num_threads()
            torch.set_num_threads(1)  # also a thread's own setting, so every user says it
            self._users += 1

    def leave(self) -> None:
        import torch

        with self._lock:
            self._users -= 1
            if self._users == 0:
                torch.set_num_threads(self._before)


_SINGLE_THREADED_TORCH = _SingleThreadedTorch()


class BatchPool:
    """A context in which submit() runs functions on `threads` threads (default: see cgfast._native.thread_count).

    Inside it torch, and with it our own kernels, use one thread each. This setting belongs to the process: torch in other
    threads of the program is held to one thread meanwhile, and what was set before is restored when the last of several
    overlapping pools ends. Raises ValueError for a count below 1.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = thread_count(threads)

    def __enter__(self) -> Self:
        _SINGLE_THREADED_TORCH.enter()
        self._executor = ThreadPoolExecutor(self.threads, thread_name_prefix="cgfast-batch")
        return self

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Have `function` run by one of the threads; `.result()` waits for it and raises what it raised."""
        return self._executor.submit(function)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)
        _SINGLE_THREADED_TORCH.leave()
