"""How long a call takes, on the device that works on it."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.gpu.settings import Sizes

    Keep = Callable[[dict[str, Any]], None]  # what a section calls with its figures so far, lest they be lost

MOST = 200  # timed calls


def wait(device: str) -> None:
    """Until the device has done all it was given."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def median_seconds(call: Callable[[], Any], sizes: Sizes) -> float:
    """The median over several calls, each waited for: launches count, as they do for a user."""
    for _ in range(2):  # compiles, fills caches
        call()
    found: list[float] = []
    end = time.perf_counter() + sizes.seconds
    while len(found) < sizes.least or (time.perf_counter() < end and len(found) < MOST):
        wait(sizes.device)
        start = time.perf_counter()
        call()
        wait(sizes.device)
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def busy_seconds(call: Callable[[], Any], sizes: Sizes) -> float:
    """The mean over a row of calls that nobody waits for in between: what the device needs if it never starves."""
    if sizes.device != "cuda":
        return median_seconds(call, sizes)
    import torch

    once = median_seconds(call, sizes)
    n = max(min(round(sizes.seconds / max(once, 1e-6)), MOST), sizes.least)
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    begin.record()
    for _ in range(n):
        call()
    end.record()
    torch.cuda.synchronize()
    return float(begin.elapsed_time(end)) / 1e3 / n


def error_of(error: BaseException) -> str:
    """One line of what went wrong."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


def attempt(row: dict[str, Any], name: str, call: Callable[[], Any]) -> Any:
    """The value of `call`, kept in `row` under `name`; what it raises is kept in its place under `name_error`."""
    try:
        row[name] = call()
    except Exception as error:  # noqa: BLE001 - a peer may fail as it likes: the others go on
        row[f"{name}_error"] = error_of(error)
        return None
    return row[name]
