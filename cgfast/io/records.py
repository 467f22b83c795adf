"""Records of any format, one structure each, as batches of flat arrays.

A format's reader yields `Record`s with whatever lists or arrays it found; `RecordSource` judges them. A record that does not
fit is a failure of its row, never an exception.
"""

from __future__ import annotations

import copy
import math
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cgfast import elements
from cgfast.crystals import Crystals
from cgfast.io import cif
from cgfast.io.batch import Failure, Mark, StructureBatch, printable
from cgfast.io.kept import KeptColumns
from cgfast.io.record_arrays import Unfit, flat_arrays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["MAX_ID_LENGTH", "Record", "RecordSource", "failed"]

MAX_ID_LENGTH = 1000  # ids become fixed-width strings: one absurd id must not cost a gigabyte
_PIECE_ROWS = 64  # few parsed objects at a time: less for the garbage collector to look at, and they stay in the cache
_NOTHING: Mapping[str, Any] = {}


class Record(NamedTuple):
    """One structure of n sites as a file has it, or the reason why there is none. Nothing is checked yet."""

    id: Any  # text; None for the row number
    species: Any = ()  # (n,) symbols, with or without charges, or atomic numbers
    positions: Any = ()  # (n, 3) numbers: lists or an array; Å, or fractional
    cell: Any = None  # (3, 3) numbers, Å, rows are lattice vectors; None: no cell, and so no periodic axis
    fractional: bool = False
    pbc: Any = True  # one flag, or three
    properties: Mapping[str, Any] = _NOTHING  # may be nested; kept names reach inside: "data.energy"
    partial: Mapping[int, Mapping[int, float]] | None = None  # disordered site -> {atomic number: occupancy}
    reason: str = ""  # not empty: there is no structure
    settled: bool = False  # it was disordered: each mixed site holds its most common species


def failed(name: Any, reason: str) -> Record:  # noqa: ANN401 - whatever stands where an id should be
    """A record that holds no structure that can be read."""
    return Record(name, reason=reason)


class RecordSource:
    """Records as a `Reader` wants them: batches with failures, kept columns, from the beginning each time.

    ``open_records`` opens the input anew and yields its records in order; ``kind`` says in words what was found. Types of
    kept columns are decided by `cgfast.io.kept`, from the first records, when they are first asked for. An input of many files
    gives ``open_files(first, stop)`` too, which yields the records of each of these files (``stop`` None: to the last), and
    ``separate_files``, how many there are: then a reading may begin at any of them.
    """

    def __init__(
        self,
        format: str,  # noqa: A002 - the word users expect
        paths: Sequence[Path],
        open_records: Callable[[], Iterator[Record]],
        *,
        keep: Sequence[str] = (),
        on_disorder: str = "skip",
        n_rows: int | None = None,
        n_rows_estimate: int | None = None,
        id_source: str = "id",
        kind: str = "",
        open_files: Callable[[int, int | None], Iterator[Iterable[Record]]] | None = None,
        separate_files: int = 1,
    ) -> None:
        self.format = format
        self.kind = kind
        self.n_rows = n_rows
        self.n_rows_estimate = n_rows if n_rows is not None else n_rows_estimate
        self.id_source = id_source
        self._paths = list(paths)
        self._open_records = open_records
        self._open_files = open_files
        self._first_file = 0
        self._stop_file: int | None = None
        self.separate_files = separate_files if open_files is not None else 1
        self._on_disorder = on_disorder
        self._kept = KeptColumns(keep, self._properties, str(self._paths[0]) if self._paths else format)
        if keep:
            self._kept.decide()  # a name that is not there is told at once

    @property
    def n_files(self) -> int:
        """Files read."""
        return len(self._paths)

    def files(self) -> list[Path]:
        """The files read."""
        return self._paths

    def columns(self) -> dict[str, str]:
        """Properties that can be kept -> their type, as the first records have them."""
        return self._kept.found()

    def property_names(self) -> list[str]:
        """Properties that can be kept, without the one that the ids come from."""
        return [name for name in self.columns() if name != self.id_source.rpartition(".")[2]]

    def kept_schema(self) -> pa.Schema:
        """Types of the kept columns."""
        return self._kept.schema()

    @property
    def notes(self) -> list[str]:
        """Values that did not fit the type of their kept column in what was read so far, a sentence for each column."""
        return self._kept.notes()

    def _properties(self) -> Iterator[Mapping[str, Any]]:
        return (record.properties for record in self._open_records() if not record.reason)

    def pieces(self, batch_rows: int) -> Iterator[StructureBatch]:
        """All rows in order, at most ``batch_rows`` at a time.

        Raises:
            ValueError: A site is disordered and ``on_disorder`` is "error"; or the file is damaged where no record can be told
                from the next.
        """
        return self.pieces_from(batch_rows, 0)

    def between_files(self, first: int, stop: int) -> RecordSource:
        """Only these of the files: ids and types of columns as in the whole, rows counted from the first of them."""
        part = copy.copy(self)
        part._first_file, part._stop_file = self._first_file + first, self._first_file + stop  # noqa: SLF001 - a copy
        part.separate_files = stop - first
        one_each = self.n_rows_estimate == self.separate_files
        part.n_rows, part.n_rows_estimate = None, stop - first if one_each else None
        return part

    def pieces_from(self, batch_rows: int, first_row: int, mark: Mark = Mark()) -> Iterator[StructureBatch]:  # noqa: B008
        """The same without the records before ``first_row``; the files before that of ``mark`` are not opened.

        Where all records are before ``first_row``, an empty batch whose ``mark.file_row`` says how many there are.
        """
        self._kept.restart()
        limit = min(batch_rows, _PIECE_ROWS)
        at = mark.file_row
        rows: list[Record] = []
        for number, records in enumerate(self._files_from(mark.file), mark.file):
            begun = at
            rest = iter(records)
            at += sum(1 for _ in islice(rest, max(first_row - at, 0)))
            while chunk := list(islice(rest, limit - len(rows))):
                if not rows:
                    mark = Mark(file=number, file_row=begun)
                rows += chunk
                at += len(chunk)
                if len(rows) == limit:
                    yield self._batch(rows, at - len(rows), mark)
                    rows = []
        if rows or (first_row and at <= first_row):
            yield self._batch(rows, at - len(rows), mark if rows else Mark(file_row=at))

    def _files_from(self, first: int) -> Iterator[Iterable[Record]]:
        if self._open_files is None:
            return iter([self._open_records()])
        return self._open_files(self._first_file + first, self._stop_file)

    def _batch(self, rows: list[Record], start: int, mark: Mark) -> StructureBatch:
        failures: list[Failure] = []
        good: list[Record] = []
        index: list[int] = []
        for row, raw in enumerate(rows, start):
            record = self._settled(raw, row)
            if record.reason:
                failures.append(_failure(record, row))
            else:
                good.append(record)
                index.append(row)
        try:
            crystals = _crystals(good)
        except Unfit:  # some record does not fit: find out which
            good, index, unfit = _sift(good, index)
            failures = sorted([*failures, *unfit], key=lambda failure: failure.row)
            crystals = _crystals(good)
        settled = np.array([record.settled for record in good], dtype=bool)
        columns = self._kept.table([r.properties for r in good], [r.id for r in good]) if self._kept.names else None
        return StructureBatch(crystals, np.array(index, dtype=np.int64), failures, len(rows), columns, mark, settled)

    def _settled(self, record: Record, row: int) -> Record:
        """The record with an id that is text and ordered sites, or one with a reason."""
        name = record.id
        if name.__class__ is not str:
            name = str(row) if name is None else str(name)
            record = record._replace(id=name)
        if len(name) > MAX_ID_LENGTH:
            reason = f"the id has {len(name)} characters: expected at most {MAX_ID_LENGTH}"
            return failed(name[:40] + "...", record.reason or reason)
        if not name.isascii():
            record = record._replace(id=printable(name))
        if not record.partial or record.reason:
            return record
        try:
            return _ordered(record, self._on_disorder)
        except cif.Unusable as error:
            if error.disorder and self._on_disorder == "error":
                message = f"{printable(name)}: {error} (on_disorder='error')"
                raise ValueError(message) from None
            return failed(name, str(error))
        except (TypeError, IndexError, KeyError) as error:
            return failed(name, f"its species and positions cannot be read: {error}")


def _failure(record: Record, row: int) -> Failure:
    return Failure(printable(record.id), row, "read", printable(record.reason))


def _sift(records: list[Record], index: list[int]) -> tuple[list[Record], list[int], list[Failure]]:
    """The records that fit, their rows, and failures for the others."""
    good: list[Record] = []
    rows: list[int] = []
    failures: list[Failure] = []
    for record, row in zip(records, index, strict=True):
        try:
            flat_arrays([record])
        except Unfit as error:
            failures.append(_failure(record._replace(reason=str(error)), row))
        else:
            good.append(record)
            rows.append(row)
    return good, rows, failures


def _crystals(records: list[Record]) -> Crystals:
    positions, cell, pbc, numbers, pointers = flat_arrays(records)
    ids: NDArray[np.str_] = np.array([r.id for r in records], dtype=np.str_) if records else np.empty(0, np.str_)
    return Crystals(positions, cell, pbc, numbers, pointers, ids)


def _ordered(record: Record, on_disorder: str) -> Record:
    """The record with one atom or none at each disordered site.

    Raises:
        cif.Unusable: Disorder that is not to be settled, or cannot be.
    """
    partial = record.partial or {}
    species, positions = list(record.species), list(record.positions)
    kept = []
    for k in range(len(species)):
        if k in partial:
            if not all(0 <= occupancy < math.inf for occupancy in partial[k].values()):
                reason = (
                    f"site {k} has the occupancies {', '.join(map(str, partial[k].values()))}: expected numbers from 0 to 1"
                )
                raise cif.Unusable(reason)
            z = cif.settle(str(k), dict(partial[k]), on_disorder)
            if not z:
                continue
            species[k] = elements.SYMBOLS[z]
        kept.append(k)
    if not kept:
        reason = "no atoms are left: no site is occupied"
        raise cif.Unusable(reason)
    return record._replace(
        species=[species[k] for k in kept],
        positions=[positions[k] for k in kept],
        partial=None,
        settled=any(cif.is_mixed(dict(what)) for what in partial.values()),
    )
