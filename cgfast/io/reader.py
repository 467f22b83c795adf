"""Reader: one stream of batches from whatever holds structures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cgfast import elements
from cgfast.io.batch import Failure, StructureBatch, drop_problems, rebatch
from cgfast.io.formats import Options, Source, open_source
from cgfast.io.places import find

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cgfast.crystals import Crystals

__all__ = ["ON_DISORDER", "Reader"]

ON_DISORDER = ("error", "skip", "majority")
_LOOK_AT_ROWS = 100_000  # rows that describe() reads: well under a second of Parquet
_LOOK_AT_RECORDS = 10_000
_LOOK_AT_FILES = 1000


def _refuse_repeated(files: list[Path]) -> None:
    """A file that is named twice would give every row twice, which nobody means."""
    folders: dict[Path, str] = {}
    seen: set[tuple[str, str]] = set()
    for path in files:
        folder = path.parent
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        key = (folders[folder], path.name)
        if key in seen:
            message = f"source names the file {path} twice: expected each file once"
            raise ValueError(message)
        seen.add(key)


class Reader:
    """Crystals of an input, in batches whose rows depend on the row index alone. Made by `cgfast.io.read`.

    Iterating gives `Crystals`; `batches` gives `StructureBatch`es, which also know input rows and failures.
    Both start from the beginning each time.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        format: str | None = None,  # noqa: A002
        columns: Mapping[str, str] | None = None,
        keep: Sequence[str] = (),
        batch_rows: int = 1024,
        on_disorder: str = "skip",
        time_limit: float = 10.0,
    ) -> None:
        if on_disorder not in ON_DISORDER:
            message = f"on_disorder is {on_disorder!r}: expected one of {', '.join(ON_DISORDER)}"
            raise ValueError(message)
        if not isinstance(batch_rows, int | np.integer) or batch_rows < 1:
            message = f"batch_rows is {batch_rows!r}: expected a positive integer"
            raise ValueError(message)
        if isinstance(time_limit, bool) or not isinstance(time_limit, int | float) or not time_limit > 0:
            message = f"time_limit is {time_limit!r}: expected a positive number of seconds"
            raise ValueError(message)
        if isinstance(keep, str) or not isinstance(keep, Iterable):
            came = f"the string {keep!r}" if isinstance(keep, str) else repr(keep)
            message = f"keep is {came}: expected a sequence of column names"
            raise ValueError(message)  # noqa: TRY004 - bad input is a ValueError throughout
        if columns is not None and not isinstance(columns, Mapping):
            message = f"columns is {columns!r}: expected a mapping like {{'id': 'material_id'}}"
            raise ValueError(message)
        self.batch_rows = int(batch_rows)
        self.keep = tuple(dict.fromkeys(keep))
        options = Options(columns, self.keep, on_disorder, float(time_limit))
        self._sources: list[Source] = [open_source(found, options) for found in find(source, format)]
        _refuse_repeated(self.files)
        self._schema = self._kept_schema() if self.keep else None
        counts = [s.n_rows for s in self._sources]
        self.n_rows: int | None = None if None in counts else sum(n for n in counts if n is not None)
        """Rows of input; None where only reading tells (CIF files may hold several structures)."""
        guesses = [s.n_rows_estimate for s in self._sources]
        self.n_rows_estimate: int | None = None if None in guesses else sum(n for n in guesses if n is not None)
        """``n_rows`` where it is known, else with one row counted for each CIF file; None where nothing is known."""

    @property
    def files(self) -> list[Path]:
        """Every file that is read, in order; of a zip, the zip."""
        return [path for source in self._sources for path in source.files()]

    @property
    def kept_schema(self) -> Any:  # noqa: ANN401 - pyarrow has no types
        """Arrow schema of ``StructureBatch.columns``; None where nothing is kept."""
        return self._schema

    @property
    def notes(self) -> list[str]:
        """What a reader of the kept columns should know of the rows read so far, a sentence each."""
        return [note for source in self._sources for note in getattr(source, "notes", ())]

    def properties(self) -> list[str]:
        """Names that ``keep`` may have: those of every input, without the columns that make the structures."""
        names = [list(getattr(source, "property_names", source.columns)()) for source in self._sources]
        return [name for name in names[0] if all(name in others for others in names[1:])]

    def _kept_schema(self) -> Any:  # noqa: ANN401 - pyarrow has no types
        import pyarrow as pa

        schemas = [s.kept_schema() for s in self._sources]
        try:
            return pa.unify_schemas(schemas, promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            message = f"the inputs disagree on the type of a column of keep={list(self.keep)}: {error}"
            raise ValueError(message) from None

    def __iter__(self) -> Iterator[Crystals]:
        for batch in self.batches():
            if len(batch.crystals):
                yield batch.crystals

    def batches(self) -> Iterator[StructureBatch]:
        """Batches of exactly ``batch_rows`` rows (the last may be shorter), from the beginning."""
        return rebatch(map(drop_problems, self._pieces()), self.batch_rows)

    def _pieces(self) -> Iterator[StructureBatch]:
        """Pieces of all sources, their rows counted through and their kept columns of one type."""
        start = 0
        for source in self._sources:
            first = start
            for piece in source.pieces(self.batch_rows):
                start += piece.n_rows
                if first:
                    piece.rows = piece.rows + first
                    piece.failures = [f._replace(row=f.row + first) for f in piece.failures]
                if piece.columns is not None and piece.columns.schema != self._schema:
                    piece.columns = piece.columns.cast(self._schema)
                yield piece

    def describe(self) -> dict[str, Any]:
        """What the input holds, for people: reads at most 100,000 rows of Parquet, 10,000 records or about 1,000 CIFs.

        Keys: ``format`` (with what kind of it was found), ``files``, ``rows`` (None if only reading tells),
        ``columns`` (name -> type and unit), ``ids`` (where ids come from), ``rows_read``, ``crystals``, ``failures`` (count),
        ``first_failures`` (up to 5), ``atoms`` (min, median, max, total of the crystals read), ``elements``
        (symbols by atomic number), ``periodic`` (share of crystals periodic on three axes).
        """
        formats = sorted({_name(s) for s in self._sources})
        limit = min(_look_at(s) for s in self._sources)
        counts: list[np.ndarray[Any, Any]] = [np.empty(0, np.int64)]
        present = np.zeros(elements.MAX_ATOMIC_NUMBER + 1, dtype=bool)
        rows = n_failures = periodic = 0
        first: list[Failure] = []
        for batch in self.batches():
            counts.append(np.diff(batch.crystals.graph_ptr))
            present[batch.crystals.atomic_numbers] = True
            periodic += int(batch.crystals.pbc.all(axis=1).sum())
            n_failures += len(batch.failures)
            first.extend(batch.failures[: 5 - len(first)])
            rows += batch.n_rows
            if rows >= limit:
                break
        atoms = np.concatenate(counts)
        columns: dict[str, str] = {}
        for source in self._sources:
            columns |= source.columns()
        return {
            "format": "+".join(formats),
            "files": sum(s.n_files for s in self._sources),
            "rows": self.n_rows,
            "columns": columns,
            "ids": ", ".join(sorted({s.id_source for s in self._sources})),
            "rows_read": rows,
            "crystals": len(atoms),
            "failures": n_failures,
            "first_failures": first,
            "atoms": {
                "min": int(atoms.min()),
                "median": float(np.median(atoms)),
                "max": int(atoms.max()),
                "total": int(atoms.sum()),
            }
            if len(atoms)
            else None,
            "elements": [elements.SYMBOLS[z] for z in np.flatnonzero(present)],
            "periodic": periodic / len(atoms) if len(atoms) else None,
        }


def _name(source: Source) -> str:
    kind = getattr(source, "kind", "")
    return f"{source.format} ({kind})" if kind else source.format


def _look_at(source: Source) -> int:
    """Rows that are read for a description: about a second's."""
    if source.format == "parquet":
        return _LOOK_AT_ROWS
    return _LOOK_AT_FILES if source.format in {"cif", "cgcnn"} else _LOOK_AT_RECORDS
