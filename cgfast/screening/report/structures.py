"""The structures of chosen rows, read again from the input."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cgfast.io import Reader
from cgfast.io.batch import printable
from cgfast.screening.crystals_reader import CrystalsReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from cgfast.crystals import Crystals
    from cgfast.io import StructureBatch


class Wanted(NamedTuple):
    """A row of the output: its id, and the row of input that it should be from, None where that cannot be told."""

    id: str
    row: int | None


def input_rows(output_rows: NDArray[np.int64], failed_rows: NDArray[np.int64], first_row: int = 0) -> NDArray[np.int64]:
    """Rows of input of rows of output, where every row of input from first_row on is either in the output or failed.

    output_rows: (n,) from 0. failed_rows: (F,) rising.
    """
    before = failed_rows - first_row - np.arange(len(failed_rows))  # rows of output before each failure
    return output_rows + first_row + np.searchsorted(before, output_rows, side="right")


def find_structures(reader: Reader | CrystalsReader, wanted: Sequence[Wanted]) -> list[Crystals | None]:
    """The crystal of each of `wanted`, one by one; None for what is not found.

    A row is only taken if it has the id. What is not found by row is looked for by id; of several rows with the id the first
    is taken. Reading by row skips what the format can skip; by id it reads from the beginning.
    """
    found: dict[int, Crystals] = {}
    by_row = sorted((row, k) for k, (_, row) in enumerate(wanted) if row is not None)
    for batch in _batches_with(reader, [row for row, _ in by_row]):
        for row, k in by_row:
            place = int(np.searchsorted(batch.rows, row))
            if place < len(batch.rows) and batch.rows[place] == row and _id(batch, place) == wanted[k].id:
                found[k] = batch.crystals[place]
    missing: dict[str, list[int]] = {}
    for k, (name, _) in enumerate(wanted):
        if k not in found:
            missing.setdefault(name, []).append(k)
    if missing:
        _find_by_id(reader, missing, found)
    return [found.get(k) for k in range(len(wanted))]


def _find_by_id(reader: Reader | CrystalsReader, missing: dict[str, list[int]], found: dict[int, Crystals]) -> None:
    for batch in reader.batches():
        for place in range(len(batch.rows)):
            for k in missing.pop(_id(batch, place), ()):
                found[k] = batch.crystals[place]
        if not missing:
            return


def _id(batch: StructureBatch, place: int) -> str:
    return printable(str(batch.crystals.ids[place]))


def _batches_with(reader: Reader | CrystalsReader, rows: Sequence[int]) -> Iterator[StructureBatch]:
    """Batches that hold these rows, which rise, and perhaps others."""
    if not rows:
        return
    if not isinstance(reader, Reader | CrystalsReader):  # one of the user's own, which only begins at the beginning
        for batch in reader.batches():
            yield batch
            if len(batch.rows) and batch.rows[-1] >= rows[-1]:
                return
        return
    size = reader.batch_rows
    if reader.n_rows is None:  # rows before are read to be counted: so read through once
        yield from reader.batches(rows[0] // size * size, rows[-1] + 1)
        return
    for start in sorted({row // size * size for row in rows}):
        yield from reader.batches(start, min(start + size, rows[-1] + 1))
