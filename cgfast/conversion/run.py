"""`convert`: any input into one Parquet table of structures."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cgfast.conversion.tables import NAMES, column_names, structure_table
from cgfast.crystals import Crystals
from cgfast.screening.job import TIME_LIMIT, open_reader
from cgfast.screening.prefetch import prefetch
from cgfast.screening.result import Progress
from cgfast.screening.writer import OutputFile, check_out

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cgfast.io import Failure, Reader
    from cgfast.screening.crystals_reader import CrystalsReader

__all__ = ["ConvertResult", "FailuresError", "convert"]

_FIRST_FAILURES = 10


@dataclass(frozen=True)
class ConvertResult:
    """The account of a conversion: `n_rows` = `n_structures` + `n_failures`, always.

    `kept` are the names of the property columns. `failures` are the first ten; all of them are in the file `failures_out`.
    `notes` say what became of values of kept columns that did not fit their type, a sentence each.
    """

    n_rows: int
    n_structures: int
    n_failures: int
    seconds: float
    out: Path
    failures_out: Path
    kept: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def crystals_per_second(self) -> float:
        """Rows of input per second."""
        return self.n_rows / self.seconds if self.seconds > 0 else 0.0

    @property
    def account(self) -> str:
        """One line: `N rows in: M structures, K failures (see FILE)`."""
        line = f"{self.n_rows:,} rows in: {self.n_structures:,} structures, {self.n_failures:,} failures"
        return f"{line} (see {self.failures_out})" if self.n_failures else line


class FailuresError(ValueError):
    """Raised by `convert(..., strict=True)` when rows failed; the output is complete, `result` the account."""

    def __init__(self, result: ConvertResult) -> None:
        super().__init__(f"strict: {result.n_failures:,} of {result.n_rows:,} rows failed")
        self.result = result


def convert(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | Crystals | Reader,
    out: str | os.PathLike[str],
    *,
    keep: Sequence[str] | None = None,
    strict: bool = False,
    on_disorder: str = "skip",
    time_limit: float = TIME_LIMIT,
    columns: Mapping[str, str] | None = None,
    format: str | None = None,  # noqa: A002 - the name that cgfast.io.read uses
    on_progress: Callable[[Progress], None] | None = None,
) -> ConvertResult:
    """Write every structure of `source` into one Parquet table; no bad structure stops the job.

    Reading the table gives the same `Crystals` bit by bit, many times faster than most formats.

    Args:
        source: What `cgfast.io.read` takes, `Crystals` in memory, or an open `cgfast.io.Reader` (which then decides `keep`,
            `on_disorder`, `time_limit`, `columns` and `format`).
        out: A `.parquet` file. One row per structure, in input order: `id`, `lattice_vectors` (3x3, Å),
            `cartesian_site_positions` (n x 3, Å), `species_at_sites` (n), `dimension_types` (3), then kept columns. Failures
            go to `<stem>-failures.csv` beside it, which is always written. Both appear by atomic rename when all is done.
        keep: Columns of the input to carry over; None for all that every input has, an empty sequence for none. One whose
            name has a meaning for structures becomes `input.<name>`.
        strict: Raise FailuresError at the end, with the output in place, if any row failed.
        on_disorder: See `cgfast.io.read`.
        time_limit: See `cgfast.io.read`.
        columns: See `cgfast.io.read`.
        format: See `cgfast.io.read`.
        on_progress: Called after every batch of rows.

    Raises:
        ValueError: Bad arguments, unreadable source, output that cannot be written, is read from, or is being written by
            another process.
        FailuresError: See `strict`.

    Deterministic: the same input gives the same table.
    """
    path = _check_parquet(out)
    started = time.perf_counter()
    reader = _open(source, path, keep=keep, on_disorder=on_disorder, columns=columns, format=format, time_limit=time_limit)
    with OutputFile(path, {"version": _version(), "content": "structures"}) as file:
        n_rows, first = _write(reader, file, started, on_progress)
        file.commit()
        result = ConvertResult(
            n_rows=n_rows,
            n_structures=file.n_rows,
            n_failures=file.n_failures,
            seconds=time.perf_counter() - started,
            out=path,
            failures_out=file.failures_out,
            kept=tuple(column_names(getattr(reader, "keep", ()))),
            failures=tuple(first),
            notes=tuple(getattr(reader, "notes", ())),
        )
    if strict and result.n_failures:
        raise FailuresError(result)
    return result


def _version() -> str:
    from cgfast import __version__

    return __version__


def _check_parquet(out: str | os.PathLike[str]) -> Path:
    if Path(out).suffix.lower() != ".parquet":
        msg = f"out: {Path(out)} ends in {Path(out).suffix or 'nothing'!r}, expected .parquet"
        raise ValueError(msg)
    return check_out(out)


def _open(source: Any, out: Path, *, keep: Sequence[str] | None, **options: Any) -> Reader | CrystalsReader:  # noqa: ANN401
    """A reader that keeps what is wanted."""
    if isinstance(keep, str):
        keep = [keep]
    reader = open_reader(source, out=out, keep=keep or (), **options)
    if keep is not None or isinstance(source, Crystals) or hasattr(source, "batches"):
        return reader
    names = [name for name in reader.properties() if name not in NAMES]  # type: ignore[union-attr]
    return open_reader(source, out=out, keep=names, **options) if names else reader


def _write(
    reader: Reader | CrystalsReader, file: OutputFile, started: float, on_progress: Callable[[Progress], None] | None
) -> tuple[int, list[Failure]]:
    """Every batch into the file; rows of input, and the first failures."""
    rows = 0
    first: list[Failure] = []
    schema = reader.kept_schema
    with contextlib.closing(prefetch(reader.batches())) as batches:
        for batch in batches:
            file.write(structure_table(batch.crystals, batch.columns))
            file.write_failures(batch.failures)
            rows += batch.n_rows
            first += batch.failures[: _FIRST_FAILURES - len(first)]
            if len(batch.crystals) + len(batch.failures) != batch.n_rows:
                msg = f"{batch.n_rows} rows came in but {len(batch.crystals)} + {len(batch.failures)} go out; this is a bug"
                raise RuntimeError(msg)
            if on_progress is not None:
                seconds = time.perf_counter() - started
                on_progress(Progress(rows, reader.n_rows, file.n_failures, seconds))
    if not rows:
        file.write(structure_table(_NONE, schema.empty_table() if schema is not None else None))
    if file.n_rows + file.n_failures != rows:
        msg = f"{rows} rows in, {file.n_rows} structures + {file.n_failures} failures out; this is a bug"
        raise RuntimeError(msg)
    return rows, first


_NONE = Crystals.from_arrays(np.empty((0, 3)), np.empty((0, 3, 3)), np.empty(0, np.int32), graph_ptr=[0], ids=[])
