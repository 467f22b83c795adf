"""Charge neutrality of many candidates at once, from common oxidation states."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from cgfast._optional import require
from cgfast.elements import SYMBOLS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Charges"]


class Charges:
    """Tells which candidates can be neutral with pymatgen's common oxidation states, one state an element of a letter.

    `options` holds, for each letter, what its sites may hold: (n, m) atomic numbers. Raises ImportError without pymatgen.
    """

    def __init__(self, options: Sequence[NDArray[np.intp]]) -> None:
        sums = [[_sums(tuple(row)) for row in letter.tolist()] for letter in options]
        self._sizes = [len(letter) for letter in options]
        self._split = _middle(self._sizes)
        lowest = sum(min((min(one, default=0) for one in letter), default=0) for letter in sums)
        highest = sum(max((max(one, default=0) for one in letter), default=0) for letter in sums)
        self._reach = max(-lowest, highest, 0)
        # A candidate is neutral where some total of its first letters is the negative of one of the others.
        self._left = np.packbits(self._reachable(sums[: self._split]), axis=1)
        self._right = np.packbits(self._reachable(sums[self._split :])[:, ::-1], axis=1)

    def neutral(self, chosen: Sequence[NDArray[np.intp]]) -> NDArray[np.bool_]:
        """(B,) for B candidates: `chosen` holds an array of option indices (B,) for each letter."""
        left = _flat(chosen[: self._split], self._sizes[: self._split], len(chosen[0]))
        right = _flat(chosen[self._split :], self._sizes[self._split :], len(chosen[0]))
        return np.asarray((self._left[left] & self._right[right]).any(axis=1))

    def _reachable(self, sums: Sequence[list[frozenset[int]]]) -> NDArray[np.bool_]:
        """(combinations, 2 * reach + 1): which charges the combinations of some letters can have."""
        width = 2 * self._reach + 1
        reachable = np.zeros((1, width), dtype=bool)
        reachable[0, self._reach] = True
        for letter in sums:
            table = np.zeros((len(reachable), len(letter), width), dtype=bool)
            for charge in set().union(*letter):
                has = np.array([charge in one for one in letter])
                shifted = np.zeros_like(reachable)
                if abs(charge) < width:
                    shifted[:, max(charge, 0) : width + min(charge, 0)] = reachable[:, max(-charge, 0) : width - max(charge, 0)]
                table[:, has] |= shifted[:, None, :]
            reachable = table.reshape(-1, width)
        return reachable


def _middle(sizes: Sequence[int]) -> int:
    """Where to cut the letters in two, so that the larger table is small."""
    cuts = range(1, len(sizes) + 1)
    return min(cuts, key=lambda cut: max(int(np.prod(sizes[:cut])), int(np.prod(sizes[cut:]))))


def _flat(chosen: Sequence[NDArray[np.intp]], sizes: Sequence[int], n: int) -> NDArray[np.intp]:
    flat = np.zeros(n, dtype=np.intp)
    for index, size in zip(chosen, sizes, strict=True):
        flat = flat * size + index
    return flat


def _sums(numbers: tuple[int, ...]) -> frozenset[int]:
    """The charges that these atoms can have together."""
    counts = Counter(numbers)
    return frozenset(
        sum(state * count for state, count in zip(states, counts.values(), strict=True))
        for states in itertools.product(*(_states(z) for z in counts))
    )


@functools.cache
def _states(z: int) -> tuple[int, ...]:
    element = require("pymatgen.core", "pymatgen").Element(SYMBOLS[z])
    return tuple(int(state) for state in element.common_oxidation_states)
