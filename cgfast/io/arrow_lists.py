"""Nested Arrow lists as flat NumPy arrays without a Python step per row; what does not fit is told per row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cgfast import elements

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["Decoded", "column", "flag_lists", "is_list", "owners", "species", "unnest", "vectors"]


class Decoded(NamedTuple):
    """One column of B rows. ``values`` is valid only where no row is in ``bad``."""

    counts: NDArray[np.int64]  # (B,) items a row
    values: NDArray[Any]  # the items of all rows, one after the other
    bad: dict[int, str]  # row -> reason


def is_list(kind: pa.DataType) -> bool:
    """Whether an Arrow type is a list, large_list or fixed_size_list."""
    import pyarrow.types as t

    return bool(t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind))


def column(table: Any, name: str) -> Any:  # noqa: ANN401
    """A column as one Arrow array with a plain layout."""
    array = table.column(name)
    return array.chunk(0) if array.num_chunks == 1 else array.combine_chunks()


def unnest(array: Any) -> tuple[NDArray[np.int64], Any]:  # noqa: ANN401 - any Arrow list array
    """Length of each list (-1 where it is null) and the items of all of them."""
    import pyarrow.compute as pc

    lengths = pc.list_value_length(array)
    if lengths.null_count:
        lengths = pc.fill_null(lengths, -1)
    # flatten() leaves out null lists whatever lies beneath them, so lengths and items agree
    return lengths.to_numpy(zero_copy_only=False).astype(np.int64, copy=False), array.flatten()


def owners(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The list that each item came from."""
    return np.repeat(np.arange(len(lengths)), np.maximum(lengths, 0))


def _numbers(array: Any) -> NDArray[np.float64]:  # noqa: ANN401
    """Items as float64, NaN where null."""
    out: NDArray[np.float64] = array.to_numpy(zero_copy_only=False).astype(np.float64, copy=False)
    return out


def vectors(array: Any, name: str, rows_expected: int | None = None) -> Decoded:  # noqa: ANN401
    """A column of lists of 3-vectors: values (sum of counts, 3) float64.

    Reported: null rows, a number of vectors other than ``rows_expected``, vectors that do not have 3 numbers,
    null or non-finite numbers.
    """
    counts, inner = unnest(array)
    lengths, items = unnest(inner)
    values = _numbers(items)
    bad: dict[int, str] = {}
    whole = bool((lengths == 3).all())
    if not whole or not np.isfinite(values).all():
        owner = owners(counts)
        for k in np.flatnonzero(lengths != 3).tolist():
            came = "null" if lengths[k] < 0 else f"{lengths[k]} numbers"
            bad.setdefault(int(owner[k]), f"{name} holds a vector of {came}: expected 3 numbers in each")
        vector_of = owners(lengths)
        for k in np.flatnonzero(~np.isfinite(values)).tolist():
            came = "a null" if items.null_count and not items[k].is_valid else str(values[k])
            bad.setdefault(int(owner[vector_of[k]]), f"{name} holds {came}: expected finite numbers")
    for b in np.flatnonzero(counts < 0).tolist():
        bad[b] = f"{name} is null: expected a list of vectors of 3 numbers"
    if rows_expected is not None:
        for b in np.flatnonzero((counts != rows_expected) & (counts >= 0)).tolist():
            bad[b] = f"{name} holds {counts[b]} vectors: expected {rows_expected}"
    return Decoded(counts, values.reshape(-1, 3) if whole else values, bad)


def species(array: Any, name: str) -> Decoded:  # noqa: ANN401
    """A column of lists of element symbols: values (sum of counts,) int32 atomic numbers.

    Reported: null rows, null symbols, symbols that are no element.
    """
    import pyarrow as pa

    counts, items = unnest(array)
    if pa.types.is_null(items.type):
        items = items.cast(pa.string())
    if not pa.types.is_dictionary(items.type):
        items = items.dictionary_encode()
    symbols = items.dictionary.to_pylist()
    table = elements.atomic_numbers(["" if s is None else s for s in symbols])
    indices = items.indices
    null_count = indices.null_count
    index = (indices.fill_null(0) if null_count else indices).to_numpy(zero_copy_only=False)
    values = table[index] if len(table) else np.zeros(len(index), np.int32)
    if null_count:
        values[indices.is_null().to_numpy(zero_copy_only=False)] = 0
    bad: dict[int, str] = {}
    wrong = np.flatnonzero(values == 0)
    if wrong.size:
        owner = owners(counts)
        for k in wrong.tolist():
            came = items[k].as_py()
            text = "a null" if came is None else f"{came[:40]!r}, which is no element"
            bad.setdefault(int(owner[k]), f"{name} holds {text}: expected element symbols")
    for b in np.flatnonzero(counts < 0).tolist():
        bad[b] = f"{name} is null: expected a list of element symbols"
    return Decoded(counts, values, bad)


def flag_lists(array: Any, name: str) -> Decoded:  # noqa: ANN401
    """A column of three flags 0 or 1 (OPTIMADE dimension_types): values (B, 3) bool; null means periodic."""
    import pyarrow as pa

    counts, items = unnest(array)
    flags = _numbers(items.cast(pa.int8()) if pa.types.is_boolean(items.type) else items)
    bad: dict[int, str] = {}
    owner = owners(counts)
    for b in np.flatnonzero((counts != 3) & (counts >= 0)).tolist():
        bad[b] = f"{name} holds {counts[b]} numbers: expected 3"
    for k in np.flatnonzero((flags != 0) & (flags != 1)).tolist():
        bad.setdefault(int(owner[k]), f"{name} holds {flags[k]:g}: expected 0 or 1")
    values = np.ones((len(counts), 3), dtype=bool)
    if not bad:
        values[counts == 3] = flags.reshape(-1, 3) != 0
    return Decoded(counts, values, bad)
