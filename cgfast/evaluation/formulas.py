"""Reduced formulas, for people to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cgfast.elements import SYMBOLS

if TYPE_CHECKING:
    from cgfast.crystals import Crystals


def reduced_formulas(crystals: Crystals) -> list[str]:
    """(B,) formulas as OPTIMADE writes them: elements in alphabetical order, counts without their common divisor."""
    pointers = crystals.graph_ptr
    return [_formula(crystals.atomic_numbers[pointers[b] : pointers[b + 1]]) for b in range(len(crystals))]


def _formula(numbers: np.typing.NDArray[np.int32]) -> str:
    elements, counts = np.unique(numbers, return_counts=True)
    if not len(elements):
        return ""
    counts //= np.gcd.reduce(counts)
    parts = sorted(zip((SYMBOLS[z] for z in elements.tolist()), counts.tolist(), strict=True))
    return "".join(symbol if count == 1 else f"{symbol}{count}" for symbol, count in parts)
