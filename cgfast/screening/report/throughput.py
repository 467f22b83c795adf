"""How fast a job was at which time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cgfast.screening.result import Progress

_MOST_POINTS = 4096
_INTERVALS = 100


class Throughput:
    """Remembers the progress of a job, at most some thousand points of it, however long it takes."""

    def __init__(self) -> None:
        self._points: list[tuple[float, int]] = []  # (seconds, rows), both rising
        self._every = 1  # of so many reports one is kept
        self._seen = 0
        self._last: tuple[float, int] | None = None
        self._resumed = 0  # rows that an earlier run has done

    def __call__(self, progress: Progress) -> None:
        """Take note of one report."""
        if not self._points:
            self._points.append((0.0, progress.resumed))
            self._resumed = progress.resumed
        self._last = (progress.seconds, progress.rows)
        if self._seen % self._every == 0:
            self._points.append(self._last)
            if len(self._points) >= _MOST_POINTS:
                del self._points[1::2]
                self._every *= 2
        self._seen += 1

    @property
    def seconds(self) -> float:
        """Time of the last report; 0 without one."""
        return self._last[0] if self._last else 0.0

    @property
    def rate(self) -> float:
        """Rows per second over all reports, without those of an earlier run; 0 without any."""
        return (self._last[1] - self._resumed) / self._last[0] if self._last and self._last[0] > 0 else 0.0

    def rates(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(edges, rates): (K + 1,) seconds, and (K,) rows per second between them, K <= 100.

        Both empty without reports. Rows that an earlier run has done do not count.
        """
        points = list(self._points)
        if self._last is not None and points[-1] != self._last:
            points.append(self._last)
        times, rows = np.array(points, np.float64).reshape(-1, 2).T
        if len(points) < 2 or times[-1] <= times[0]:
            return np.empty(0), np.empty(0)
        # Batches end a few at a time: an interval holds several reports, lest the curve be all teeth.
        edges = np.linspace(times[0], times[-1], min(_INTERVALS, -(-(len(points) - 1) // 4)) + 1)
        # Between two reports rows come evenly, for all that is known.
        return edges, np.diff(np.interp(edges, times, rows)) / np.diff(edges)
