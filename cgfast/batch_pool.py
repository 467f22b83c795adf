"""Batches in parallel: each computed by one thread, several at a time.

Not several threads in one batch: torch's threads would spin while ours wait for a core and the other way round (measured on
two cores: a fifth of the speed). And a batch that one thread computes has the same bits whatever the number of threads.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Self, TypeVar

from cgfast._native import thread_count

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

T = TypeVar("T")


class BatchPool:
    """A context in which submit() runs functions on `threads` threads (default: see cgfast._native.thread_count).

    Inside it torch, and with it our own kernels, use one thread each; what was set before is restored at the end. This
    setting belongs to the process, so torch in other threads of the program is held to one thread meanwhile. Raises
    ValueError for a count below 1.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = thread_count(threads)

    def __enter__(self) -> Self:
        import torch

        self._torch_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        self._executor = ThreadPoolExecutor(self.threads, thread_name_prefix="cgfast-batch")
        return self

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Have `function` run by one of the threads; `.result()` waits for it and raises what it raised."""
        return self._executor.submit(function)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        import torch

        self._executor.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(self._torch_threads)
