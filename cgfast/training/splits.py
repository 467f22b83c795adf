"""Which crystals train, which choose the best epoch, and which are kept for the test."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from cgfast.io.batch import id_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PARTS = ("train", "val", "test")
TRAIN, VAL, TEST = range(3)
UNUSED = -1
_NAMES = {"train": TRAIN, "training": TRAIN, "val": VAL, "valid": VAL, "validation": VAL, "test": TEST, "testing": TEST}


def split_by_groups(groups: NDArray[np.int64], fractions: Sequence[float], seed: int) -> NDArray[np.int8]:
    """(B,) part of each crystal, groups kept together and drawn in random order until a part has its share.

    groups: (B,), crystals with the same number stay together (np.arange(B): a random split). fractions: of train, val and
    test; must be positive where a part is wanted and sum to 1. Same split for the same groups, fractions and seed.
    Raises ValueError for other fractions, and when a part that is wanted stays empty.
    """
    shares = [float(f) for f in fractions]
    if len(shares) != 3 or not all(math.isfinite(f) and f >= 0 for f in shares) or abs(sum(shares) - 1) > 1e-9:
        msg = f"fractions must be three numbers for train, val and test that sum to 1, got {list(fractions)}"
        raise ValueError(msg)
    names, position, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    before = np.cumsum(sizes[order]) - sizes[order]
    # A group goes where its middle falls: no part gains or loses more than half a group.
    middle = (before + sizes[order] / 2) / max(len(groups), 1)
    part = np.empty(len(names), np.int8)
    part[order] = np.searchsorted(np.cumsum(shares[:2]), middle, side="right")
    parts: NDArray[np.int8] = part[position]
    _check_filled(parts, shares, len(names))
    return parts


def split_by_fold(groups: NDArray[np.int64], n_folds: int, fold: int, seed: int) -> NDArray[np.int8]:
    """(B,) part of each crystal: fold `fold` of `n_folds` is the test, the next one chooses the epoch, the rest trains.

    Every crystal is in the test of exactly one fold. Raises ValueError for fewer than 3 folds and a fold out of range.
    """
    if n_folds < 3 or not 0 <= fold < n_folds:
        msg = f"fold must be K/N with N of at least 3 and K from 1 to N, got {fold + 1}/{n_folds}"
        raise ValueError(msg)
    names, position, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    middle = (np.cumsum(sizes[order]) - sizes[order] / 2) / max(len(groups), 1)
    number = np.empty(len(names), np.int64)
    number[order] = np.minimum((middle * n_folds).astype(np.int64), n_folds - 1)
    of_crystal = number[position]
    parts = np.where(of_crystal == fold, TEST, np.where(of_crystal == (fold + 1) % n_folds, VAL, TRAIN)).astype(np.int8)
    _check_filled(parts, (1.0, 1.0, 1.0), len(names))
    return parts


def split_by_column(name: str, values: Sequence[Any]) -> NDArray[np.int8]:
    """(B,) part of each crystal from a column of the words train, val (valid, validation) and test; empty: not used.

    Raises ValueError for other words, and when nothing trains or nothing chooses the epoch.
    """
    parts = np.full(len(values), UNUSED, np.int8)
    for index, value in enumerate(values):
        if value is None or value == "":
            continue
        part = _NAMES.get(str(value).strip().lower())
        if part is None:
            msg = f"split column {name}: got {value!r}, expected train, val or test"
            raise ValueError(msg)
        parts[index] = part
    _check_filled(parts, (1.0, 1.0, 0.0), len(parts))
    return parts


def shared_with_training(groups: NDArray[np.int64], parts: NDArray[np.int8]) -> int:
    """How many test crystals have their formula in the training part too."""
    return int(np.isin(groups[parts == TEST], groups[parts == TRAIN]).sum())


def _check_filled(parts: NDArray[np.int8], shares: Sequence[float], n_groups: int) -> None:
    together = (
        f": they have {n_groups} reduced formula{'' if n_groups == 1 else 's'}, and crystals of one formula stay together; "
        "split='random' takes them one by one"
        if n_groups < len(parts)
        else ""
    )
    for part, (name, share) in enumerate(zip(PARTS, shares, strict=True)):
        if share > 0 and not np.any(parts == part):
            msg = f"split: no row is left for {name} ({len(parts)} labelled rows), expected at least one{together}"
            raise ValueError(msg)


def split_text(ids: Sequence[str], rows: Sequence[int], parts: NDArray[np.int8]) -> str:
    """The split as CSV: id, row of the input, part."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", "row", "part"))
    for name, row, part in zip(ids, rows, parts.tolist(), strict=True):
        writer.writerow((id_text(name), row, PARTS[part] if part >= 0 else ""))
    return text.getvalue()


def split_hash(text: str) -> str:
    """What tells two splits apart, as a card of a model says it."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
