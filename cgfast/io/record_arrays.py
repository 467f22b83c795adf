"""Lists and arrays of records joined into flat arrays, with a sentence for what does not fit.

A whole batch is converted in a few calls; nothing here is Python per atom.
"""

from __future__ import annotations

from array import array
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from cgfast import elements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cgfast.io.records import Record

__all__ = ["Unfit", "flat_arrays"]

_MAX_KNOWN = 10_000  # spellings of species that are remembered: "Fe2.01+" and the like have no end


class Unfit(ValueError):  # noqa: N818 - becomes a failure row
    """A record that is no structure, and why."""


class _Numbers(dict[str, int]):
    """Atomic numbers of symbols, worked out once for each spelling."""

    def __missing__(self, symbol: Any) -> int:  # noqa: ANN401
        number = elements.atomic_number(symbol) if isinstance(symbol, str) else 0
        if not number:
            reason = f"species holds {_short(symbol)}, which is no element: expected element symbols"
            raise Unfit(reason)
        if len(self) < _MAX_KNOWN:
            self[symbol] = number
        return number


_numbers = _Numbers()


def _short(value: Any) -> str:  # noqa: ANN401
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python prints, or deep nesting
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def flat_arrays(
    records: Sequence[Record],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.int32], NDArray[np.int64]]:
    """Positions (N, 3) in Å, cells (B, 3, 3), pbc (B, 3), atomic numbers (N,) and pointers (B + 1,) of B records.

    Atomic numbers out of range, NaN and the like are left for `Crystals.problems` to tell.

    Raises:
        Unfit: Some record has a wrong shape or type, or a species that is no element. With one record the message says what.
    """
    pbc = np.array([_flags(r) for r in records], dtype=bool).reshape(-1, 3)
    cell = _cells(records, pbc)
    counts = np.array([_count(r) for r in records], dtype=np.int64)
    pointers = np.zeros(len(records) + 1, dtype=np.int64)
    np.cumsum(counts, out=pointers[1:])
    numbers = _species(records)
    positions = _vectors("positions", [r.positions for r in records])
    fractional = np.array([r.fractional for r in records], dtype=bool)
    if fractional.any():
        owner = np.repeat(np.arange(len(records)), counts)
        if fractional.all():
            positions = _cartesian(positions, cell[owner])
        else:
            atoms = fractional[owner]
            positions[atoms] = _cartesian(positions[atoms], cell[owner[atoms]])
    return positions, cell, pbc, numbers, pointers


def _cartesian(fractional: NDArray[np.float64], cell: NDArray[np.float64]) -> NDArray[np.float64]:
    # written out: a matrix product of a BLAS may round differently in another batch
    with np.errstate(all="ignore"):  # what is not finite is told later
        out: NDArray[np.float64] = (
            fractional[:, :1] * cell[:, 0] + fractional[:, 1:2] * cell[:, 1] + fractional[:, 2:] * cell[:, 2]
        )
    return out


def _flags(record: Record) -> tuple[bool, bool, bool]:
    pbc = record.pbc
    if pbc is True:
        return (True, True, True)
    if pbc is False:
        return (False, False, False)
    try:
        values = list(pbc)
        good = len(values) == 3 and all(x in {0, 1} for x in values)
    except TypeError:
        good = False
    if not good:
        reason = f"the periodic axes are {_short(pbc)}: expected three flags, 0 or 1"
        raise Unfit(reason)
    return (bool(values[0]), bool(values[1]), bool(values[2]))


def _cells(records: Sequence[Record], pbc: NDArray[np.bool_]) -> NDArray[np.float64]:
    absent = [r.cell is None for r in records]
    if not any(absent):
        given = _vectors("the cell", [r.cell for r in records], each=3)
        return given.reshape(-1, 3, 3)
    cell = np.zeros((len(records), 3, 3))
    there = ~np.array(absent)
    if pbc[~there].any() or any(r.fractional for r in records if r.cell is None):
        reason = "there is no cell: expected three lattice vectors"
        raise Unfit(reason)
    cell[there] = _vectors("the cell", [r.cell for r in records if r.cell is not None], each=3).reshape(-1, 3, 3)
    return cell


def _count(record: Record) -> int:
    try:
        n, m = len(record.species), len(record.positions)
    except TypeError:
        reason = f"species is {_short(record.species)} and positions {_short(record.positions)}: expected a list of each"
        raise Unfit(reason) from None
    if n != m:
        reason = f"there are {n} species and {m} positions: expected as many of one as of the other"
        raise Unfit(reason)
    return n


def _species(records: Sequence[Record]) -> NDArray[np.int32]:
    parts: list[NDArray[np.int32]] = []
    symbols: list[Any] = []  # of records in a row, so that they are looked up in one go
    for record in records:
        species = record.species
        if isinstance(species, list | tuple) and (not species or isinstance(species[0], str)):
            symbols.extend(species)
            continue
        if isinstance(species, np.ndarray) and species.dtype.kind in "UO":
            symbols.extend(species.tolist())
            continue
        parts += [_looked_up(symbols), _atomic_numbers(species)]
        symbols = []
    parts.append(_looked_up(symbols))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _looked_up(symbols: list[Any]) -> NDArray[np.int32]:
    try:
        return np.fromiter(map(_numbers.__getitem__, symbols), np.int32, len(symbols))
    except TypeError:  # a list or the like where a symbol should be
        wrong = next(s for s in symbols if not isinstance(s, str))
        reason = f"species holds {_short(wrong)}: expected element symbols"
        raise Unfit(reason) from None


def _atomic_numbers(species: Any) -> NDArray[np.int32]:  # noqa: ANN401
    try:
        values = np.asarray(species)
    except (TypeError, ValueError, OverflowError):
        values = np.empty(0, dtype=object)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        reason = f"species is {_short(species)}: expected element symbols or atomic numbers"
        raise Unfit(reason)
    wrong = (values < 1) | (values > elements.MAX_ATOMIC_NUMBER)
    if wrong.any():
        reason = f"species holds the atomic number {values[wrong][0]}: expected 1 to {elements.MAX_ATOMIC_NUMBER}"
        raise Unfit(reason)
    return values.astype(np.int32)


def _vectors(name: str, values: list[Any], each: int | None = None) -> NDArray[np.float64]:
    """Vectors of all records, (sum, 3); ``each``: so many in every record."""
    if any(isinstance(value, np.ndarray) for value in values):
        parts = [
            _array(name, value, each) if isinstance(value, np.ndarray) else _vectors(name, [value], each) for value in values
        ]
        return np.concatenate(parts)
    try:
        if each is not None and not all(len(value) == each for value in values):
            reason = f"{name} holds {len(values[0])} vectors: expected {each}"
            raise Unfit(reason)
        rows = list(chain.from_iterable(values))
        if not set(map(len, rows)) <= {3}:
            wrong = next(row for row in rows if len(row) != 3)
            reason = f"{name} holds a vector of {len(wrong)} numbers: expected 3 numbers in each"
            raise Unfit(reason)
        # array() takes numbers only, where NumPy would read text as numbers
        flat = array("d", chain.from_iterable(rows))
    except (TypeError, OverflowError):
        reason = f"{name} holds something other than numbers: expected lists of 3 numbers in each"
        raise Unfit(reason) from None
    return np.frombuffer(flat, dtype=np.float64).reshape(-1, 3) if len(flat) else np.empty((0, 3))


def _array(name: str, value: NDArray[Any], each: int | None) -> NDArray[np.float64]:
    if value.ndim != 2 or value.shape[1] != 3 or value.dtype.kind not in "iuf" or (each is not None and len(value) != each):
        expected = f"({each or 'n'}, 3) numbers"
        reason = f"{name} is an array of shape {value.shape} and type {value.dtype}: expected {expected}"
        raise Unfit(reason)
    return value.astype(np.float64, copy=False)
