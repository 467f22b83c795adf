"""The batches of an epoch: which crystals, in which order, a function of seed and epoch alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_TINY = 0.5  # a last batch below this share of a full one joins the batch before it


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """Cuts `indices` into batches of at most `limit`, counted by `sizes` (per index; ones: crystals).

    A crystal larger than the limit is a batch of its own. A last batch of less than half the limit joins the one before it:
    batch norm and gradients of a handful of crystals are noise.
    """

    indices: NDArray[np.int64]
    sizes: NDArray[np.int64]
    limit: int

    def epoch(self, seed: int, epoch: int) -> list[NDArray[np.int64]]:
        """The batches of an epoch in random order. Same batches for the same seed and epoch, whatever came before."""
        order = np.random.default_rng((seed, epoch)).permutation(len(self.indices))
        return self._cut(order)

    def in_order(self) -> list[NDArray[np.int64]]:
        """The batches without shuffling."""
        return self._cut(np.arange(len(self.indices)))

    def n_batches(self, seed: int, epochs: int) -> int:
        """Batches of all epochs together."""
        if len(self.sizes) and np.all(self.sizes == self.sizes[0]):
            return epochs * len(self.in_order())
        return sum(len(self.epoch(seed, epoch)) for epoch in range(epochs))

    def _cut(self, order: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        ends = np.cumsum(self.sizes[order])
        cuts = list(self._cuts(ends))
        if len(cuts) > 1:
            last = ends[-1] - ends[cuts[-2] - 1]
            if last < _TINY * self.limit:
                del cuts[-2]
        return [self.indices[part] for part in np.split(order, cuts[:-1])] if len(order) else []

    def _cuts(self, ends: NDArray[np.int64]) -> Iterator[int]:
        start, done = 0, 0
        while start < len(ends):
            stop = max(int(np.searchsorted(ends, done + self.limit, side="right")), start + 1)
            yield stop
            start, done = stop, int(ends[stop - 1])


def share_of_process(batch: NDArray[np.int64], process: int, n_processes: int) -> NDArray[np.int64]:
    """The part of a joint batch that one of several data-parallel processes computes."""
    return batch[process::n_processes]
