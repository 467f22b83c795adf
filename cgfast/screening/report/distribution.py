"""The distribution of a column of any length, in memory that does not grow with it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE = 65_536  # values kept to choose the bins by, at least half as many once a column is longer
MOST_BINS, FEWEST_BINS = 120, 20
_TAIL = 0.001  # share of the values on each side that must not decide on the axis
_MARGIN = 0.15  # of the range of the others: as far as this beyond it the axis still goes


class Summary:
    """A first pass over a column: number, extremes, mean, deviation, and an even sample of the values.

    Of equal columns, however they are cut into pieces, the sample is the same: every k-th finite value, k a power of two.
    """

    def __init__(self) -> None:
        self.n = 0
        self.n_missing = 0
        self.min, self.max = math.inf, -math.inf
        self.mean = 0.0
        self._squares = 0.0  # sum of squared deviations from the mean
        self._kept: list[NDArray[np.float64]] = []
        self._n_kept = 0
        self._every = 1

    def add(self, values: NDArray[np.float64]) -> None:
        """Take the next values, (n,); those that are not finite count as missing."""
        finite = values[np.isfinite(values)]
        self.n_missing += len(values) - len(finite)
        if not len(finite):
            return
        taken = finite[-self.n % self._every :: self._every]
        self._kept.append(taken)
        self._n_kept += len(taken)
        mean, n = float(finite.mean()), self.n + len(finite)
        self._squares += float(((finite - mean) ** 2).sum()) + (mean - self.mean) ** 2 * self.n * len(finite) / n
        self.mean += (mean - self.mean) * len(finite) / n
        self.n = n
        self.min, self.max = min(self.min, float(finite.min())), max(self.max, float(finite.max()))
        while self._n_kept > SAMPLE:
            self._kept = [np.concatenate(self._kept)[::2]]
            self._n_kept = len(self._kept[0])
            self._every *= 2

    @property
    def sample(self) -> NDArray[np.float64]:
        """All finite values of a column of up to 65,536, else every k-th of them."""
        return np.concatenate(self._kept) if self._kept else np.empty(0)

    @property
    def is_whole(self) -> bool:
        """Whether `sample` is all there is."""
        return self._every == 1

    @property
    def std(self) -> float:
        """Standard deviation of the finite values (of the population); 0 without any."""
        return math.sqrt(self._squares / self.n) if self.n else 0.0

    @property
    def median(self) -> float:
        """Median of the sample; NaN without any value."""
        return float(np.median(self.sample)) if self.n else math.nan

    def edges(self, limits: tuple[float, float] | None = None) -> NDArray[np.float64]:
        """(K + 1,) edges of 20 to 120 equal bins. limits: from where to where; default: where all but the odd values are."""
        if not self.n:
            return np.array([0.0, 1.0])
        low, high = limits or self._limits()
        if not high > low:
            width = max(abs(low) * 1e-3, 1e-3)
            return np.array([low - width, low + width])
        inside = self.sample[(self.sample >= low) & (self.sample <= high)]
        # Freedman and Diaconis: bins of twice the interquartile range by the cube root of the number of values.
        first, third = np.quantile(inside, (0.25, 0.75)) if len(inside) else (0.0, 0.0)
        width = 2.0 * float(third - first) / max(self.n, 1) ** (1 / 3)
        wanted = (high - low) / width if width > 0 else MOST_BINS
        return np.linspace(low, high, int(min(max(wanted, FEWEST_BINS), MOST_BINS)) + 1)

    def _limits(self) -> tuple[float, float]:
        low, high = (float(value) for value in np.quantile(self.sample, (_TAIL, 1.0 - _TAIL)))
        margin = _MARGIN * (high - low)
        return max(self.min, low - margin), min(self.max, high + margin)


class Bins:
    """A second pass over the column: how many values are in each bin, below the first and above the last."""

    def __init__(self, edges: NDArray[np.float64]) -> None:
        self.edges = edges
        self.counts: NDArray[np.int64] = np.zeros(len(edges) - 1, np.int64)
        self.below = 0
        self.above = 0

    def add(self, values: NDArray[np.float64]) -> None:
        """Take the next values, (n,); those that are not finite are left out."""
        finite = values[np.isfinite(values)]
        self.counts += np.histogram(finite, self.edges)[0]
        self.below += int((finite < self.edges[0]).sum())
        self.above += int((finite > self.edges[-1]).sum())
