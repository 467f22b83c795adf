"""A run on Ray Data: actors hold the models, each takes ranges of rows and writes their parts; the driver joins them.

Ray moves no structures: a row of its dataset is a range of rows of the input, which an actor reads itself, and the answer is
the account of a part. So nothing depends on the order in which ranges end, and a range that was lost with its worker is
done again by another, into the same file.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
import uuid
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from cgfast._optional import require
from cgfast.screening.output.parts import Part
from cgfast.screening.ray.worker import RangeJob, RangeWorker, row_ranges
from cgfast.screening.result import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from cgfast.screening.output.run_output import RunOutput
    from cgfast.screening.output.shards import Share
    from cgfast.screening.ray.options import RayOptions

    OnProgress = Callable[[Progress], None] | None

_RANGE_ROWS = 32768  # what a worker has done in a few seconds; much more than Ray's milliseconds for a task
_RANGES_PER_WORKER = 4  # at least, so that none waits long for the last
_RANGES_PER_GROUP = 8  # at most: each decodes the rows of its row group that lie before it
_ATTEMPTS = 3  # passes over the ranges that are missing; of a worker that dies Ray itself starts another


def make_parts(file: RunOutput, share: Share, job: RangeJob, options: RayOptions, on_progress: OnProgress) -> None:
    """Have the rows of the share that are not done made into parts of `file` by the workers of a Ray cluster.

    The files of the input and the folder of the output must have the same paths on every machine of the cluster.

    Raises ValueError for a cluster that cannot be reached or has no room for a worker, and what a worker raises for the input;
    RuntimeError if ranges are lost again and again with the workers that had them. Parts that are done are kept.
    """
    gaps = [] if file.complete else file.gaps(share.n_rows or 0)
    if not gaps:
        return
    ray = require("ray", "ray")
    require("ray.data", "ray")
    for left in file.folder.glob("ray-*"):
        shutil.rmtree(left, ignore_errors=True)
    folder = file.folder / f"ray-{uuid.uuid4().hex}"  # of this run alone: no worker of one that was killed writes into it
    folder.mkdir()
    job = replace(job, folder=folder.resolve())
    try:
        with _connected(ray, options.address):
            workers = _workers(ray, options, job.threads)
            group = max(source.largest_group for source in share.reader.sources)
            rows = range_rows(sum(stop - first for first, stop in gaps), workers, group, share.reader.batch_rows)
            ranges = [one for first, stop in gaps for one in row_ranges(job.origin + first, job.origin + stop, rows)]
            _Account(file, job, ranges, on_progress).collect(ray, options, workers)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def range_rows(n_rows: int, workers: int, largest_group: int, batch_rows: int) -> int:
    """Rows in a range: whole batches, few enough to keep all workers busy to the end, many where row groups are large."""
    fair = n_rows // (workers * _RANGES_PER_WORKER)
    wanted = max(min(_RANGE_ROWS, fair), largest_group // _RANGES_PER_GROUP, 1)
    return -(-wanted // batch_rows) * batch_rows


class _Account:
    """The ranges of a run, and which of them are done."""

    def __init__(
        self,
        file: RunOutput,
        job: RangeJob,
        ranges: Sequence[tuple[int, int]],
        on_progress: OnProgress,
    ) -> None:
        self._file = file
        self._job = job
        self._missing = dict.fromkeys(ranges)
        self._parts: list[Part] = []
        self._on_progress = on_progress
        self._started = time.perf_counter()
        self._resumed = file.finished_rows

    def collect(self, ray: Any, options: RayOptions, workers: int) -> None:  # noqa: ANN401 - the module
        """Have all ranges done, and hand their parts over."""
        lost: Exception | None = None
        try:
            for _ in range(_ATTEMPTS):
                try:
                    for part, error in _answers(ray, self._job, list(self._missing), options, workers):
                        if error:
                            raise ValueError(error)
                        self._take(part)
                except ray.exceptions.RayError as caught:  # of Ray, not of a range: what is missing is tried again
                    lost = caught
                if not self._missing:
                    break
        finally:
            self._file.adopt(self._parts)
        if self._missing:
            first, stop = next(iter(self._missing))
            msg = (
                f"engine: {len(self._missing)} ranges of rows were lost {_ATTEMPTS} times with the workers that had them, "
                f"the first is rows {first} to {stop}"
            )
            raise RuntimeError(msg) from lost

    def _take(self, part: Part) -> None:
        """Move a part to where the run keeps its own: from here on its rows are done."""
        rows = part.first_row + self._job.origin, part.stop_row + self._job.origin
        if rows not in self._missing:
            return
        del self._missing[rows]
        (self._job.folder / part.name).replace(self._file.folder / part.name)
        self._parts.append(part)
        if self._on_progress is not None:
            done = self._resumed + sum(one.stop_row - one.first_row for one in self._parts)
            failures = self._file.n_failures + sum(one.failures for one in self._parts)
            seconds = time.perf_counter() - self._started
            total = self._job.stop - self._job.origin
            self._on_progress(Progress(done, total, failures, seconds, self._resumed))


class _Actor:
    """What Ray makes an actor of: one row of a batch is a range, the answer its part, or the sentence on what went wrong."""

    def __init__(self, job: RangeJob) -> None:
        self._worker = RangeWorker(job)

    def __call__(self, batch: pa.Table) -> pa.Table:
        import pyarrow as pa

        rows = [self._answer(row["first"], row["stop"]) for row in batch.to_pylist()]
        return pa.Table.from_pylist(rows, schema=_answer_schema())

    def _answer(self, first: int, stop: int) -> dict[str, Any]:
        try:
            part = asdict(self._worker(first, stop))
        except (ValueError, OSError, ImportError) as error:
            text = str(error) or type(error).__name__
            return {"first_row": first, "stop_row": stop, "predictions": 0, "failures": 0, "last": False, "error": text}
        return {**{name: part[name] for name in _answer_schema().names[:-1]}, "error": ""}


def _answer_schema() -> pa.Schema:
    import pyarrow as pa

    numbers = [(name, pa.int64()) for name in ("first_row", "stop_row", "predictions", "failures")]
    return pa.schema([*numbers, ("last", pa.bool_()), ("error", pa.string())])


def _answers(
    ray: Any,  # noqa: ANN401 - the module
    job: RangeJob,
    ranges: Sequence[tuple[int, int]],
    options: RayOptions,
    workers: int,
) -> Iterator[tuple[Part, str]]:
    """Parts as they are done, in any order, each with a sentence if something went wrong; some may never come."""
    items = [{"first": first, "stop": stop} for first, stop in ranges]
    parts = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        _Actor,
        fn_constructor_args=(job,),
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=min(workers, len(items)), max_tasks_in_flight_per_actor=2),
        num_cpus=job.threads,
        num_gpus=options.gpus_per_worker or None,
    )
    for batch in parts.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=0):
        for row in batch.to_pylist():
            error = row.pop("error")
            yield Part(**row), error


@contextlib.contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:  # noqa: ANN401 - the module
    """A connection to Ray: the one that there is, else a new one that ends with the run."""
    begun = not ray.is_initialized()
    if begun:
        try:
            ray.init(address=address, log_to_driver=False, logging_level="error")
        except (ConnectionError, RuntimeError, ValueError) as error:
            msg = f"address: no Ray cluster answers at {address}: {' '.join(str(error).split())[:300]}"
            raise ValueError(msg) from error
    context = ray.data.DataContext.get_current()
    log = logging.getLogger("ray.data")  # which tells of its plans on stderr, where our progress is shown
    before = context.enable_progress_bars, log.level
    context.enable_progress_bars = False
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars = before[0]
        log.setLevel(before[1])
        if begun:
            ray.shutdown()


def _workers(ray: Any, options: RayOptions, threads: int) -> int:  # noqa: ANN401 - the module
    """Actors to make. Raises ValueError if the cluster has no room for one."""
    resources = ray.cluster_resources()
    room = int(resources.get("CPU", 0) // threads)
    if options.gpus_per_worker:
        room = min(room, int(resources.get("GPU", 0) // options.gpus_per_worker))
    if room < 1:
        has = f"{resources.get('CPU', 0):g} cores and {resources.get('GPU', 0):g} GPUs"
        msg = f"engine: the Ray cluster has {has}, a worker needs {threads} cores and {options.gpus_per_worker:g} GPUs"
        raise ValueError(msg)
    return options.num_workers or room
