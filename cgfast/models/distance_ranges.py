"""How near the nearest neighbours of atoms are in a training set, by pair of elements."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from cgfast.elements import MAX_ATOMIC_NUMBER
from cgfast.nearest_edges import NONE, any_of_crystal, nearest_edges

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from cgfast.graph import CrystalGraph

QUANTILE = 0.995  # of the training crystals lies inside
LEAST_TOLERANCE = 0.01  # rounding, and data sets of copies of one crystal, must not make everything unusual
_LARGEST_EXCESS = 1.0  # coincident atoms in the training set are infinitely far from the others
_WIDTH = MAX_ATOMIC_NUMBER + 1


class Contacts(NamedTuple):
    """The pairs of elements that are nearest neighbours somewhere in a crystal: one entry per crystal and pair.

    pair: lighter * _WIDTH + heavier. crystal: number. lowest, highest: Å, of the distances from an atom to its nearest
    neighbour with these two elements.
    """

    pair: NDArray[np.int64]
    crystal: NDArray[np.int64]
    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class DistanceRanges:
    """For each pair of elements, how long the edge from an atom to its nearest neighbour was in training.

    pairs: (P, 2) uint8 atomic numbers, lighter first, rising. ranges: (P, 2) float32, shortest and longest, Å. tolerance: a
    distance is unusual if it is more than this part below or above its range. A pair without a range is not judged.

    Raises ValueError for arrays that do not fit.
    """

    pairs: NDArray[np.uint8]
    ranges: NDArray[np.float32]
    tolerance: float
    _bounds: NDArray[np.float64] = field(init=False, repr=False)  # (2, _WIDTH, _WIDTH): shortest and longest allowed

    def __post_init__(self) -> None:
        pairs, ranges = self.pairs, self.ranges
        good = pairs.dtype == np.uint8 and ranges.dtype == np.float32 and pairs.shape == ranges.shape == (len(pairs), 2)
        good = good and bool(np.all((pairs >= 1) & (pairs < _WIDTH))) and bool(np.all(pairs[:, 0] <= pairs[:, 1]))
        good = good and bool(np.all(np.isfinite(ranges) & (ranges >= 0))) and bool(np.all(ranges[:, 0] <= ranges[:, 1]))
        if not good:
            msg = "ranges must be the shortest and longest distance of each pair of atomic numbers, got something else"
            raise ValueError(msg)
        if not (np.isfinite(self.tolerance) and self.tolerance >= 0):
            msg = f"tolerance must be zero or a positive number, got {self.tolerance!r}"
            raise ValueError(msg)
        bounds = np.empty((2, _WIDTH, _WIDTH))
        bounds[0], bounds[1] = 0.0, np.inf
        low, high = ranges.T.astype(np.float64)
        for one, other in (pairs.T, pairs.T[::-1]):
            bounds[0, one, other] = low / (1 + self.tolerance)
            bounds[1, one, other] = high * (1 + self.tolerance)
        object.__setattr__(self, "_bounds", bounds)

    @classmethod
    def fit(cls, contacts: Iterable[Contacts]) -> Self | None:
        """The ranges of a training set; None if no crystal of it has an edge.

        tolerance: such that QUANTILE of the training crystals are usual by the ranges of all the others, at least
        LEAST_TOLERANCE.
        """
        parts = list(contacts)
        found = Contacts(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True))) if parts else None
        if found is None or not len(found.pair):
            return None
        pairs, which = np.unique(found.pair, return_inverse=True)
        low, below = _left_out(found.lowest, which, len(pairs))
        high, above = _left_out(-found.highest, which, len(pairs))
        excess = np.minimum(np.maximum(below, above), _LARGEST_EXCESS)
        of_crystal = np.zeros(int(found.crystal.max()) + 1)
        np.maximum.at(of_crystal, found.crystal, excess)
        tolerance = max(float(np.quantile(of_crystal[np.unique(found.crystal)], QUANTILE)), LEAST_TOLERANCE)
        numbers = np.stack(np.divmod(pairs, _WIDTH), axis=1).astype(np.uint8)
        return cls(numbers, np.stack([low, -high], axis=1).astype(np.float32), round(tolerance, 6))

    def unusual(self, graph: CrystalGraph, nearest: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(B,) whether some atom of each crystal has its nearest neighbour outside of the pair's range.

        graph: NumPy arrays. nearest: what nearest_edges() gives for it.
        """
        atoms = np.flatnonzero(nearest != NONE)
        edges = nearest[atoms]
        numbers = graph.atomic_numbers
        low, high = self._bounds[:, numbers[atoms], numbers[graph.source[edges]]]
        distances = graph.distances[edges]
        outside = np.zeros(len(nearest), dtype=bool)
        outside[atoms] = (distances < low) | (distances > high)
        return any_of_crystal(outside, graph.graph_ptr)

    def to_dict(self) -> dict[str, Any]:
        """What is not an array, as plain JSON types."""
        return {"tolerance": self.tolerance}


def contacts(graph: CrystalGraph, first_crystal: int) -> Contacts:
    """The contacts of the crystals of a graph of NumPy arrays, which are numbered from `first_crystal` on."""
    nearest = nearest_edges(graph)
    atoms = np.flatnonzero(nearest != NONE)
    edges = nearest[atoms]
    numbers = graph.atomic_numbers.astype(np.int64)
    here, there = numbers[atoms], numbers[graph.source[edges]]
    pair = np.minimum(here, there) * _WIDTH + np.maximum(here, there)
    crystal = np.searchsorted(graph.graph_ptr, atoms, side="right") - 1
    keys, which = np.unique(crystal * _WIDTH**2 + pair, return_inverse=True)
    distances = graph.distances[edges].astype(np.float64)
    lowest, highest = np.full(len(keys), np.inf), np.zeros(len(keys))
    np.minimum.at(lowest, which, distances)
    np.maximum.at(highest, which, distances)
    return Contacts(keys % _WIDTH**2, keys // _WIDTH**2 + first_crystal, lowest, highest)


def _left_out(
    lowest: NDArray[np.float64], which: NDArray[np.int64], size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The smallest value of each group, and by which part each value lies below the smallest of the others of its group.

    0 for a value that does not, and for the only one of a group: without it there is nothing to compare with. Values may all
    be negative; then it is the part by which they lie above in size.
    """
    order = np.lexsort((lowest, which))
    starts = np.searchsorted(which[order], np.arange(size))
    counts = np.bincount(which, minlength=size)
    least = order[starts]
    several = counts > 1
    excess = np.zeros(len(lowest))
    least_several, second = least[several], order[starts[several] + 1]
    mine, others = np.abs(lowest[least_several]), np.abs(lowest[second])
    small, large = np.minimum(mine, others), np.maximum(mine, others)
    with np.errstate(divide="ignore", invalid="ignore"):  # coincident atoms
        excess[least_several] = np.where(large > small, large / small - 1, 0.0)
    return lowest[least], excess
