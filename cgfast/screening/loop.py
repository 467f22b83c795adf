"""The loop of a screening job: batches in, predictions and failures out, every row accounted for."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, deque
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cgfast.screening.columns import FLAGS
from cgfast.screening.flags import flag_texts
from cgfast.screening.job import empty_table, prediction_table
from cgfast.screening.prefetch import prefetch
from cgfast.screening.result import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from cgfast.io import Failure, StructureBatch
    from cgfast.screening.output.run_output import RunOutput
    from cgfast.screening.output.shards import Share
    from cgfast.screening.predict import BatchPredictor, Outcome
    from cgfast.screening.selection.hull import Hull
    from cgfast.screening.selection.top import Collector

_FIRST_FAILURES = 10
_BATCHES_AHEAD = 2


class Loop:
    """Batches through the predictor into file and collector, with the account of rows."""

    def __init__(
        self,
        predictor: BatchPredictor,
        names: list[str],
        file: RunOutput | None,
        collector: Collector | None,
        hull: Hull | None = None,
    ) -> None:
        self.rows = 0
        self.predictions = 0
        self.failures = 0
        self.resumed = 0  # of the rows, those that an earlier run has done
        self.first_failures: list[Failure] = []
        self.flags: Counter[str] = Counter()  # rows by what stands in the column of that name
        self.started = time.perf_counter()
        self._predictor = predictor
        self._names = names
        self._file = file
        self._collector = collector
        self._hull = hull

    def run(self, share: Share, on_progress: Callable[[Progress], None] | None) -> None:
        """Take every batch of the share that is not done; raise RuntimeError if a row is lost or counted twice."""
        file = self._file
        if file is not None:
            self.resumed = file.finished_rows
            self._replay(file)
        while file is None or not file.complete:
            stop = None if file is None else file.next_row
            self._predict(share, stop, on_progress)
            if file is None or stop is None:
                break
            file.cut(_notes(share))
            self._replay(file)
        self._verify()

    def _predict(self, share: Share, stop: int | None, on_progress: Callable[[Progress], None] | None) -> None:
        """Take the batches of the next rows: before row `stop`, from which on they are done; None: to the end."""
        file = self._file
        rest = share if stop is None else replace(share, stop=share.start + stop)
        with contextlib.closing(prefetch(rest.batches(self.rows, None if file is None else file.mark))) as batches:
            for batch, outcome in self._outcomes(batches):
                self._take(batch, outcome, share)
                if on_progress is not None:
                    on_progress(self._progress(share))
        if stop is not None and self.rows != stop:
            msg = f"source: it ended after {self.rows} rows, but rows from {stop} on are finished already; has it changed?"
            raise ValueError(msg)
        if self.rows == 0:
            kept = getattr(share.reader, "kept_schema", None)
            self._put(empty_table(self._names, kept, self._hull), [], 0)

    def _progress(self, share: Share) -> Progress:
        rows, failures = self.rows, self.failures
        if self._file is not None:
            rows, failures = self._file.taken_rows, self._file.n_failures  # also those behind a gap
        return Progress(rows, _total(share, rows), failures, time.perf_counter() - self.started, self.resumed)

    def _replay(self, file: RunOutput) -> None:
        """Take the next rows, as far as an earlier run has done them, as if they had just been predicted."""
        for table, failures in file.done(self.rows):
            if self._collector is not None:
                self._collector.add(table)
            self.rows += table.num_rows + len(failures)
            self.predictions += table.num_rows
            self._count(table, failures)
        if file.finished is not None:  # its table may hold only the rows that were selected, the account is of all
            self.predictions = file.n_rows
            self.rows = file.finished_rows
            self.flags = Counter(file.finished.flags)

    def _outcomes(self, batches: Iterator[StructureBatch]) -> Iterator[tuple[StructureBatch, Outcome]]:
        """Predict a few batches of rows ahead, so that no thread waits at the end of one; yield them in order."""
        waiting: deque[tuple[StructureBatch, Callable[[], Outcome]]] = deque()
        for batch in batches:
            waiting.append((batch, self._predictor.submit(batch.crystals, rows=batch.rows, settled=batch.settled)))
            if len(waiting) > _BATCHES_AHEAD:
                first, outcome = waiting.popleft()
                yield first, outcome()
        for batch, outcome in waiting:
            yield batch, outcome()

    def _take(self, batch: StructureBatch, outcome: Outcome, share: Share) -> None:
        _check_partition(batch, share.start + self.rows)
        table, failures = self._split(batch, outcome)
        if table.num_rows + len(failures) != batch.n_rows:
            msg = f"{batch.n_rows} rows came in but {table.num_rows} + {len(failures)} go out; this is a bug"
            raise RuntimeError(msg)
        self._put(table, failures, batch.n_rows, batch, _notes(share))
        self.rows += batch.n_rows
        self.predictions += table.num_rows
        self._count(table, failures)

    def _count(self, table: pa.Table, failures: list[Failure]) -> None:
        self.flags.update(table.column(FLAGS).to_pylist())
        self.failures += len(failures)
        self.first_failures += failures[: _FIRST_FAILURES - len(self.first_failures)]

    def _split(self, batch: StructureBatch, outcome: Outcome) -> tuple[pa.Table, list[Failure]]:
        from cgfast.io import Failure

        failures = list(batch.failures)
        for index, (stage, reason) in outcome.failures.items():
            name, row = str(batch.crystals.ids[index]), int(batch.rows[index])
            failures.append(Failure(name, row, stage, reason))
        failures.sort(key=lambda failure: failure.row)
        fine = np.ones(len(batch.crystals), dtype=bool)
        fine[list(outcome.failures)] = False
        flags = flag_texts(outcome.bits[fine])
        kept = None if batch.columns is None else batch.columns.filter(fine)
        ids = batch.crystals.ids[fine].tolist()
        table = prediction_table(ids, outcome.values[fine], flags, self._names, kept)
        if self._hull is not None:
            table = self._hull.add(table, batch.crystals[fine])
        return table, failures

    def _put(
        self,
        table: pa.Table,
        failures: list[Failure],
        n_rows: int,
        batch: StructureBatch | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        if self._file is not None:
            self._file.write(table, failures, n_rows, None if batch is None else batch.mark, notes)
        if self._collector is not None:
            self._collector.add(table)

    def _verify(self) -> None:
        written = (self._file.n_rows, self._file.n_failures) if self._file else (self.predictions, self.failures)
        if written != (self.predictions, self.failures) or sum(written) != self.rows:
            msg = f"{self.rows} rows in, {written[0]} predictions + {written[1]} failures out; this is a bug"
            raise RuntimeError(msg)


def _notes(share: Share) -> tuple[str, ...]:
    return tuple(getattr(share.reader, "notes", ()))


def _total(share: Share, rows: int) -> int | None:
    """Rows there are in all, as far as is known: a CIF file counts as one until it proves to hold more."""
    if share.n_rows is not None:
        return share.n_rows
    estimate: int | None = getattr(share.reader, "n_rows_estimate", None)
    if estimate is None:
        return None
    return max(estimate if share.stop is None else min(estimate, share.stop), rows)


def _check_partition(batch: StructureBatch, start: int) -> None:
    """Check that the batch holds each of its rows once, its crystals in input order."""
    rows = np.asarray(batch.rows, dtype=np.int64)
    every = np.sort(np.concatenate([rows, np.array([f.row for f in batch.failures], dtype=np.int64)]))
    if not np.array_equal(every, np.arange(start, start + batch.n_rows)) or np.any(np.diff(rows) <= 0):
        msg = f"the reader lost or repeated rows between {start} and {start + batch.n_rows}; this is a bug"
        raise RuntimeError(msg)
