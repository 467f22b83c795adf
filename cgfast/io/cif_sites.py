"""What a CIF comes to: one ordered crystal, its atoms in the order in which pymatgen's parser lists them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cgfast import elements

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Structure", "in_order"]


class Structure(NamedTuple):
    """One ordered crystal."""

    cell: NDArray[np.float64]
    positions: NDArray[np.float64]
    numbers: NDArray[np.int32]
    settled: bool = False  # disordered in the file: each mixed site holds its most common species


def in_order(numbers: NDArray[np.int32], fractional: NDArray[np.float64], cell: NDArray[np.float64]) -> Structure:
    """Atoms by rising electronegativity, in file order where it is the same; Cartesian positions."""
    order = np.argsort(_ranks()[numbers], kind="stable")
    return Structure(cell, fractional[order] @ cell, numbers[order])


@functools.lru_cache(maxsize=1)
def _ranks() -> NDArray[np.int64]:
    """Place of every atomic number among the elements."""
    kinds = sorted(range(1, elements.MAX_ATOMIC_NUMBER + 1), key=lambda z: (elements.ELECTRONEGATIVITY[z], elements.SYMBOLS[z]))
    ranks = np.zeros(elements.MAX_ATOMIC_NUMBER + 1, dtype=np.int64)
    ranks[kinds] = np.arange(len(kinds))
    return ranks
