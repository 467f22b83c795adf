"""Reduced formulas, for tables and for people to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cgfast.elements import ELECTRONEGATIVITY, SYMBOLS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cgfast.crystals import Crystals

__all__ = ["readable_formula", "reduced_formulas"]


def reduced_formulas(crystals: Crystals) -> list[str]:
    """(B,) formulas as OPTIMADE writes them: elements in alphabetical order, counts without their common divisor."""
    pointers = crystals.graph_ptr
    return [_formula(crystals.atomic_numbers[pointers[b] : pointers[b + 1]]) for b in range(len(crystals))]


def readable_formula(atomic_numbers: NDArray[np.int32]) -> str:
    """The reduced formula of one crystal, as chemists order it: by rising electronegativity (BaTiO3, not BaO3Ti).

    atomic_numbers: (n,) of its atoms.
    """
    counts = _reduced_counts(atomic_numbers)
    return _joined(sorted(counts, key=lambda item: (ELECTRONEGATIVITY[SYMBOLS.index(item[0])], item[0])))


def _formula(atomic_numbers: NDArray[np.int32]) -> str:
    return _joined(sorted(_reduced_counts(atomic_numbers)))


def _reduced_counts(atomic_numbers: NDArray[np.int32]) -> list[tuple[str, int]]:
    elements, counts = np.unique(atomic_numbers, return_counts=True)
    if not len(elements):
        return []
    counts //= np.gcd.reduce(counts)
    return list(zip((SYMBOLS[z] for z in elements.tolist()), counts.tolist(), strict=True))


def _joined(counts: list[tuple[str, int]]) -> str:
    return "".join(symbol if count == 1 else f"{symbol}{count}" for symbol, count in counts)
