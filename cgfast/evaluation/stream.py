"""The loop from an input to a table of what a model computes for each crystal, with account of every row."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cgfast.batch_pool import BatchPool
from cgfast.crystals import Crystals
from cgfast.evaluation.batches import BatchFunction
from cgfast.io import Failure, StructureBatch
from cgfast.screening.job import open_reader
from cgfast.screening.prefetch import prefetch
from cgfast.screening.result import Progress
from cgfast.screening.writer import OutputFile, check_out

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from cgfast.evaluation.batches import Computed, GraphFunction
    from cgfast.models import PropertyModel

    MakeTable = Callable[[Crystals, NDArray[np.int64], Computed], pa.Table]

_FIRST_FAILURES = 10
_BATCHES_AHEAD = 2


@dataclass(frozen=True)
class CrystalTable:
    """The account of a job: `n_rows` = `n_crystals` + `n_failures`, always.

    table: the rows, or None when they went to the file `out`. failures: the first ten; all of them are in the file
    `failures_out`, if there is an `out`.
    """

    n_rows: int
    n_crystals: int
    n_failures: int
    seconds: float
    out: Path | None
    failures_out: Path | None
    table: pa.Table | None
    failures: tuple[Failure, ...]

    @property
    def account(self) -> str:
        """One line: `N rows in: M crystals, K failures (see FILE)`."""
        line = f"{self.n_rows:,} rows in: {self.n_crystals:,} crystals, {self.n_failures:,} failures"
        return f"{line} (see {self.failures_out})" if self.failures_out and self.n_failures else line


@dataclass(frozen=True, slots=True)
class Input:
    """Where crystals come from: a path, paths, `Crystals` or an open Reader, and how to read them (see cgfast.io.read)."""

    data: Any
    on_disorder: str = "skip"
    time_limit: float = 10.0
    columns: Mapping[str, str] | None = None
    format: str | None = None


def check_table_out(out: str | os.PathLike[str] | None, *, nested: bool) -> Path | None:
    """`out` as a path that can be written. Raises ValueError if it cannot, or is a `.csv` for a table with lists."""
    path = None if out is None else check_out(out)
    if nested and path is not None and path.suffix.lower() != ".parquet":
        msg = f"out: {path} ends in {path.suffix!r}, expected .parquet: the table has lists"
        raise ValueError(msg)
    return path


def compute_table(
    source: Input,
    model: PropertyModel,
    function: GraphFunction,
    make_table: MakeTable,
    *,
    out: Path | None,
    metadata: dict[str, Any],
    threads: int | None,
    on_progress: Callable[[Progress], None] | None,
    check: Callable[[], object] | None = None,
) -> CrystalTable:
    """Apply `function` to the graph of every crystal and collect what `make_table` makes of a batch.

    make_table gets the crystals that have values, their input rows, and the values. The rows are in input order. check: called
    at the end; what it raises leaves nothing written.
    """
    reader = open_reader(
        source.data,
        out=out,
        keep=(),
        on_disorder=source.on_disorder,
        columns=source.columns,
        format=source.format,
        time_limit=source.time_limit,
    )
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(BatchPool(threads))
        file = None if out is None else stack.enter_context(OutputFile(out, metadata))
        batch_function = BatchFunction(function, model.spec, max_atomic_number=model.max_atomic_number, pool=pool)
        batches = stack.enter_context(contextlib.closing(prefetch(reader.batches())))
        collector = _Collector(make_table, file)
        for batch, done in _in_order(batches, batch_function):
            collector.add(batch, done)
            if on_progress is not None:
                on_progress(Progress(collector.rows, reader.n_rows, collector.failed, collector.seconds))
        if not collector.rows:
            nothing = Crystals.concatenate([])
            collector.add(StructureBatch(nothing, np.empty(0, np.int64)), batch_function(nothing))
        if check is not None:
            check()
        if file is not None:
            file.commit()
    return collector.result()


class _Collector:
    """Tables and failures of batches, into a file or kept, with the account of rows."""

    def __init__(self, make_table: MakeTable, file: OutputFile | None) -> None:
        self.rows = 0
        self.failed = 0
        self._make_table = make_table
        self._file = file
        self._tables: list[pa.Table] = []
        self._first: list[Failure] = []
        self._crystals = 0
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started

    def add(self, batch: StructureBatch, done: Computed) -> None:
        """Take a batch of rows; raise RuntimeError if one is lost or counted twice."""
        failures = _failures(batch, done)
        if len(done.index) + len(failures) != batch.n_rows:
            msg = f"{batch.n_rows} rows came in but {len(done.index)} + {len(failures)} go out; this is a bug"
            raise RuntimeError(msg)
        table = self._make_table(batch.crystals[done.index], batch.rows[done.index], done)
        if self._file is None:
            self._tables.append(table)
        else:
            self._file.write(table)
            self._file.write_failures(failures)
        self.rows += batch.n_rows
        self.failed += len(failures)
        self._crystals += len(done.index)
        self._first += failures[: _FIRST_FAILURES - len(self._first)]

    def result(self) -> CrystalTable:
        import pyarrow as pa

        return CrystalTable(
            n_rows=self.rows,
            n_crystals=self._crystals,
            n_failures=self.failed,
            seconds=self.seconds,
            out=None if self._file is None else self._file.out,
            failures_out=None if self._file is None else self._file.failures_out,
            table=pa.concat_tables(self._tables) if self._file is None else None,
            failures=tuple(self._first),
        )


def _in_order(batches: Iterator[StructureBatch], function: BatchFunction) -> Iterator[tuple[StructureBatch, Computed]]:
    """Compute a few batches of rows ahead, so that no thread waits at the end of one; yield them in order."""
    waiting: deque[tuple[StructureBatch, Callable[[], Computed]]] = deque()
    for batch in batches:
        waiting.append((batch, function.submit(batch.crystals)))
        if len(waiting) > _BATCHES_AHEAD:
            first, done = waiting.popleft()
            yield first, done()
    for batch, done in waiting:
        yield batch, done()


def _failures(batch: StructureBatch, done: Computed) -> list[Failure]:
    failures = list(batch.failures)
    for index, (stage, reason) in done.failures.items():
        failures.append(Failure(str(batch.crystals.ids[index]), int(batch.rows[index]), stage, reason))
    return sorted(failures, key=lambda failure: failure.row)
