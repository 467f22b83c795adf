"""Ranges of rows, each screened by whoever is free: the part that a worker writes is the one a run alone would have written."""

from __future__ import annotations

import contextlib
import os
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from cgfast.batch_pool import BatchPool
from cgfast.io import Reader
from cgfast.screening.columns import prediction_columns
from cgfast.screening.job import place_models
from cgfast.screening.loop import Loop
from cgfast.screening.output.parts import Part, PartWriter, read_part
from cgfast.screening.output.shards import Share
from cgfast.screening.output.writer import conform
from cgfast.screening.predict import BatchPredictor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from cgfast.io import Failure
    from cgfast.io.batch import Mark
    from cgfast.models import PropertyModel
    from cgfast.screening.output.run_output import RunOutput
    from cgfast.screening.policies import Policies
    from cgfast.screening.selection.hull import Hull

MAX_DEATHS = 4  # of workers at one range: more than machines that are taken away explain


@dataclass(frozen=True)
class RangeJob:
    """All that a worker must know, in a form that travels: the models themselves, and the input by its files.

    folder: where parts go. origin: row of the input that parts count from. stop: where the run ends. hull: adds a column.
    device: where a worker computes.
    """

    files: tuple[str, ...]
    settings: dict[str, Any]
    models: tuple[PropertyModel, ...]
    policies: Policies
    ties: str | None
    batch_atoms: int
    threads: int
    folder: Path
    origin: int
    stop: int
    hull: Hull | None = None
    device: str = "cpu"


def range_job(
    share: Share,
    models: Sequence[PropertyModel],
    policies: Policies,
    *,
    ties: str | None,
    batch_atoms: int,
    threads: int | None,
    hull: Hull | None = None,
    device: str = "cpu",
) -> RangeJob:
    """What workers are to do. Raises ValueError unless the share is one of Parquet files."""
    reader = share.reader
    if not isinstance(reader, Reader) or any(source.format != "parquet" for source in reader.sources):
        kinds = sorted({source.format for source in reader.sources}) if isinstance(reader, Reader) else ["no file"]
        hint = "`cgfast convert INPUT OUT.parquet` makes it"
        msg = f"engine: 'ray' reads Parquet files, the input is {', '.join(kinds)}; {hint}"
        raise ValueError(msg)
    return RangeJob(
        files=tuple(os.path.abspath(path) for path in reader.files),  # noqa: PTH100 - resolve() would follow links
        settings={**reader.settings, "format": "parquet"},
        models=tuple(models),
        policies=policies,
        ties=ties,
        batch_atoms=batch_atoms,
        threads=1 if threads is None else threads,
        hull=hull,
        device=device,
        folder=Path(),
        origin=share.start,
        stop=share.start + (share.n_rows or 0),
    )


def row_ranges(first: int, stop: int, rows: int) -> list[tuple[int, int]]:
    """Ranges of `rows` rows (the last may be shorter) from first to stop."""
    return [(start, min(start + rows, stop)) for start in range(first, stop, rows)]


class RangeWorker:
    """Screens ranges of rows: opens the input once, and writes a part for each.

    A range that is done already, by a worker that died after it, is not done again.
    """

    def __init__(self, job: RangeJob) -> None:
        self._job = job
        self._reader = Reader(job.files, **job.settings)
        self._models, self._place = place_models(job.models, job.device)

    def __call__(self, first: int, stop: int) -> Part:
        """The part of rows first to stop, on the disk. Raises what a run alone would raise, OSError for the disk,
        and ValueError for a range at which several workers have died.
        """
        job = self._job
        name = Part(first - job.origin, stop - job.origin, 0, 0, last=False).name
        if (job.folder / name).is_file():
            return read_part(job.folder / name)[0]
        with ExitStack() as stack:
            stack.enter_context(self._attempt(name, first, stop))
            pool = stack.enter_context(BatchPool(job.threads if self._place is None else 1))
            predictor = BatchPredictor(
                self._models,
                ties=job.ties,
                batch_atoms=job.batch_atoms,
                pool=pool,
                policies=job.policies,
                device=self._place,
            )
            file = stack.enter_context(_OnePart(job.folder))
            loop = Loop(predictor, prediction_columns(self._models), cast("RunOutput", file), None, job.hull)
            loop.run(Share(self._reader, first, stop, {}), None)
            part = Part(first - job.origin, stop - job.origin, loop.predictions, loop.failures, last=stop == job.stop)
            if loop.rows != stop - first:
                msg = f"rows {first} to {stop} were asked for, {loop.rows} came; has the input changed?"
                raise ValueError(msg)
            file.finish(part)
        return part

    @contextlib.contextmanager
    def _attempt(self, name: str, first: int, stop: int) -> Iterator[None]:
        """Leaves a mark where a worker dies, so that a range that kills its workers is not tried for ever."""
        folder = self._job.folder
        if len(list(folder.glob(f"{name}.*.try"))) >= MAX_DEATHS:
            msg = f"{MAX_DEATHS} workers died while they predicted rows {first} to {stop}, so no other is tried"
            raise ValueError(msg)
        mark = folder / f"{name}.{uuid.uuid4().hex}.try"
        mark.touch()
        try:
            yield
        finally:
            mark.unlink(missing_ok=True)


class _OnePart:
    """What a Loop asks of a RunOutput, for one part."""

    complete = False
    finished = None
    finished_rows = 0
    next_row = None
    mark = None

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: PartWriter | None = None
        self._schema: pa.Schema | None = None

    def done(self, first_row: int = 0) -> Iterator[tuple[pa.Table, list[Failure]]]:
        del first_row
        return iter(())

    def write(
        self, table: pa.Table, failures: Sequence[Failure], n_rows: int, mark: Mark | None = None, notes: Sequence[str] = ()
    ) -> None:
        del n_rows, mark, notes
        if self._writer is None:
            # Two workers may be at the same range, when one that seemed to be lost was not.
            temporary = f"part-{os.getpid()}-{uuid.uuid4().hex}.tmp"
            self._schema = table.schema
            self._writer = PartWriter(self._folder, table.schema, temporary=temporary)
        self._writer.write(conform(table, self._schema), failures)

    @property
    def n_rows(self) -> int:
        return self._writer.predictions if self._writer else 0

    @property
    def n_failures(self) -> int:
        return len(self._writer.failures) if self._writer else 0

    def finish(self, part: Part) -> None:
        if self._writer is not None:
            self._writer.finish(part)
            self._writer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.abandon()
