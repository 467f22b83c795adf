"""Records of any format, one structure each, as batches of flat arrays.

A format's reader yields `Record`s with whatever lists or arrays it found; `RecordSource` judges them. A record that does not
fit is a failure of its row, never an exception.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cgfast import elements
from cgfast.crystals import Crystals
from cgfast.io import cif
from cgfast.io.batch import Failure, StructureBatch, printable
from cgfast.io.kept import KeptColumns
from cgfast.io.record_arrays import Unfit, flat_arrays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
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


def failed(name: Any, reason: str) -> Record:  # noqa: ANN401 - whatever stands where an id should be
    """A record that holds no structure that can be read."""
    return Record(name, reason=reason)


class RecordSource:
    """Records as a `Reader` wants them: batches with failures, kept columns, from the beginning each time.

    ``open_records`` opens the input anew and yields its records in order; ``kind`` says in words what was found. Types of
    kept columns are decided by `cgfast.io.kept`, from the first records, when they are first asked for.
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
    ) -> None:
        self.format = format
        self.kind = kind
        self.n_rows = n_rows
        self.n_rows_estimate = n_rows if n_rows is not None else n_rows_estimate
        self.id_source = id_source
        self._paths = list(paths)
        self._open_records = open_records
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
        self._kept.restart()
        start = 0
        records = self._open_records()
        while rows := list(islice(records, min(batch_rows, _PIECE_ROWS))):
            yield self._batch(rows, start)
            start += len(rows)

    def _batch(self, rows: list[Record], start: int) -> StructureBatch:
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
        columns = self._kept.table([r.properties for r in good], [r.id for r in good]) if self._kept.names else None
        return StructureBatch(crystals, np.array(index, dtype=np.int64), failures, len(rows), columns)

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
    return record._replace(species=[species[k] for k in kept], positions=[positions[k] for k in kept], partial=None)
