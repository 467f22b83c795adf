"""Errors by element, by size of the cell and by training domain, and the worst of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cgfast.elements import MAX_ATOMIC_NUMBER, SYMBOLS

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from cgfast.crystals import Crystals
    from cgfast.models.domain import DomainCheck

SIZES = (1, 2, 5, 9, 17, 33, 65, 129, 257)  # atoms: the smallest cell of each group
WORST = 10


def by_element(crystals: Crystals, truth: NDArray[np.float64], predicted: NDArray[np.float64], *, classes: bool) -> pa.Table:
    """One row per element that occurs: `element`, `n` crystals that contain it, and their errors (see _errors)."""
    width = MAX_ATOMIC_NUMBER + 1
    crystal = np.repeat(np.arange(len(crystals)), np.diff(crystals.graph_ptr))
    pairs = np.unique(crystal * width + crystals.atomic_numbers)
    owner, number = np.divmod(pairs, width)
    found, group = np.unique(number, return_inverse=True)
    names = [SYMBOLS[z] for z in found.tolist()]
    return _errors("element", names, group, truth[owner], predicted[owner], classes=classes)


def by_size(crystals: Crystals, truth: NDArray[np.float64], predicted: NDArray[np.float64], *, classes: bool) -> pa.Table:
    """One row per range of atoms in the cell that occurs: `atoms`, `n` crystals, and their errors (see _errors)."""
    counts = np.diff(crystals.graph_ptr)
    found, group = np.unique(np.searchsorted(SIZES, counts, side="right") - 1, return_inverse=True)
    return _errors("atoms", [_range(k) for k in found.tolist()], group, truth, predicted, classes=classes)


def by_domain(check: DomainCheck, truth: NDArray[np.float64], predicted: NDArray[np.float64], *, classes: bool) -> pa.Table:
    """One row each for crystals inside and outside of the training domain, and for each way of being outside.

    Rows that have no crystal are left out; a crystal may be outside in several ways. `domain`, `n` crystals, their errors.
    """
    members = {"inside": ~check.outside, "outside": check.outside} | check._asdict()
    group, crystal = np.nonzero(np.stack(list(members.values())))
    found, index = np.unique(group, return_inverse=True)
    names = [list(members)[k] for k in found.tolist()]
    return _errors("domain", names, index, truth[crystal], predicted[crystal], classes=classes)


def _range(k: int) -> str:
    if k + 1 == len(SIZES):
        return f"{SIZES[k]} or more"
    first, last = SIZES[k], SIZES[k + 1] - 1
    return str(first) if first == last else f"{first}-{last}"


def _errors(
    name: str,
    names: list[str],
    group: NDArray[np.int64],
    truth: NDArray[np.float64],
    predicted: NDArray[np.float64],
    *,
    classes: bool,
) -> pa.Table:
    """Columns for numbers: mae, rmse, mean_error (prediction - truth). For classes: n_positive (of the last one), accuracy."""
    import pyarrow as pa

    size = len(names)
    n = np.bincount(group, minlength=size)
    columns: dict[str, object] = {name: pa.array(names, pa.string()), "n": n}
    if classes:
        right = (predicted > 0.5) == (truth == 1)
        columns["n_positive"] = np.bincount(group, truth, size).astype(np.int64)
        columns["accuracy"] = np.bincount(group, right, size) / n
    else:
        error = predicted - truth
        columns["mae"] = np.bincount(group, np.abs(error), size) / n
        columns["rmse"] = np.sqrt(np.bincount(group, error**2, size) / n)
        columns["mean_error"] = np.bincount(group, error, size) / n
    return pa.table(columns)


def worst_rows(truth: NDArray[np.float64], predicted: NDArray[np.float64]) -> NDArray[np.int64]:
    """The positions of the (at most ten) largest errors, the largest first; of equal ones the earlier."""
    order = np.argsort(-np.abs(predicted - truth), kind="stable")
    return order[:WORST].astype(np.int64)
