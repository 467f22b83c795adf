"""Which crystals share their reduced formula: polymorphs, which must not be torn apart between training and test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cgfast.elements import MAX_ATOMIC_NUMBER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cgfast.crystals import Crystals

_CHUNK = 65_536  # crystals counted at a time: bounds memory, 31 MB


def formula_groups(crystals: Crystals) -> NDArray[np.int64]:
    """(B,) a number per crystal, the same for the same reduced formula, by order of first appearance."""
    numbers: dict[bytes, int] = {}
    groups = np.empty(len(crystals), np.int64)
    for start in range(0, len(crystals), _CHUNK):
        counts = _counts(crystals[start : start + _CHUNK])
        counts //= np.maximum(np.gcd.reduce(counts, axis=1, keepdims=True), 1)
        for index, row in enumerate(counts):
            groups[start + index] = numbers.setdefault(row.tobytes(), len(numbers))
    return groups


def _counts(crystals: Crystals) -> NDArray[np.int32]:
    """(B, 119) atoms of each element."""
    width = MAX_ATOMIC_NUMBER + 1
    crystal = np.repeat(np.arange(len(crystals)), np.diff(crystals.graph_ptr))
    flat = np.bincount(crystal * width + crystals.atomic_numbers, minlength=len(crystals) * width)
    return flat.reshape(len(crystals), width).astype(np.int32)
