"""A training run: from data to a folder that holds a model, and on from a folder that a run left."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgfast._devices import torch_device
from cgfast._optional import require
from cgfast.models.checkpoint_2018 import read_element_table
from cgfast.training.options import preset_options
from cgfast.training.prepare import Prepared, check_batches, prepare, without_edges
from cgfast.training.run_folder import RunFolder, RunPlan
from cgfast.training.source import Source, Wanted, read_again, read_data, texts_of
from cgfast.training.targets import Scale, head_note, make_targets

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from lightning.pytorch.loggers import Logger

    from cgfast.graph_store import GraphStore
    from cgfast.io.labelled import LabelledCrystals
    from cgfast.models import PropertyModel
    from cgfast.training.callbacks import EpochReport

MAX_ATOMIC_NUMBER = 100  # rows of a learned element table


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a run made.

    model: ready to predict, also on disk in `folder`. metrics: of the test part (of the validation part if there is no test),
    output column -> name -> value. history: a dict per epoch (of the first member). notes: sentences worth reading.
    n_rows = n_used + n_failures.
    """

    model: PropertyModel
    folder: Path
    metrics: dict[str, dict[str, float | None]]
    part: str
    history: list[dict[str, float]]
    n_rows: int
    n_used: int
    n_failures: int
    seconds: float
    notes: tuple[str, ...] = field(default=())


def train(
    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | LabelledCrystals,
    target: str | Sequence[str],
    *,
    out: str | os.PathLike[str],
    preset: str = "fast",
    unit: str | Sequence[str] | None = None,
    log10: bool = False,
    atom_init: str | os.PathLike[str] | None = None,
    format: str | None = None,  # noqa: A002 - the word cgfast.io.read uses
    columns: Mapping[str, str] | None = None,
    on_disorder: str = "skip",
    card: dict[str, Any] | None = None,
    loggers: Logger | Sequence[Logger] = (),
    on_start: Callable[[Prepared], None] | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    **options: Any,  # noqa: ANN401 - see TrainOptions
) -> TrainingResult:
    """Train a model and write it to the folder `out`, which load_model() then reads.

    data: anything cgfast.io.read() reads (a Parquet table, or the 2018 folder whose columns are `target`, `target_1`, ...), or
    LabelledCrystals. target: one or several columns; `log10(COLUMN)`, `COLUMN<NUMBER` and `COLUMN>NUMBER` (a yes-or-no
    question) are targets too, and `NAME=` in front names the output. Labels may be missing. unit: of each target, in place of
    what the table says. log10: of every target that is a plain column. preset: "fast" or "paper", see preset_options();
    `options` (see TrainOptions) that are given change it, None included. atom_init: JSON of element features in place of a
    learned table. card: more to say in the model's description (`licence`, ...). loggers: Lightning's, which get the options
    and the row of every epoch that metrics.csv gets (of an ensemble under `member_K/`).

    Same bits for the same data, options, seed and machine (on the CPU), whatever `threads` is; also if the run was stopped
    and went on with resume().

    Raises ValueError for a column that is not there, a constant target, a single class, an empty part of the split, options
    that make no sense, a device that torch does not have, batches too small for a batch norm and a folder that holds
    something already - all before anything is written - and DivergedError (a ValueError) when the loss is no number any more;
    the best model until then is written, and without a whole epoch nothing stays. Raises ImportError with the command if the
    extra `train` is missing.
    """
    check_packages()
    folder = RunFolder.new(out)
    wanted = Wanted.parse(target, log10=log10)
    source = Source.of(data, format=format, columns=columns, on_disorder=on_disorder)
    plan, read = make_plan(data, source, wanted, preset, texts_of("unit", unit), atom_init, card, options)
    return run_plan(plan, folder, read, on_start=on_start, on_epoch=on_epoch, loggers=loggers)


def make_plan(
    data: Any,  # noqa: ANN401 - a path, or several, or crystals
    source: Source | None,
    wanted: Wanted,
    preset: str,
    units: Sequence[str],
    atom_init: str | os.PathLike[str] | None,
    card: dict[str, Any] | None,
    options: dict[str, Any],
) -> tuple[RunPlan, LabelledCrystals]:
    """The plan of a training from scratch, and the data that it was made for. Raises ValueError as train() does."""
    read = read_data(data, source, wanted, options)
    targets = make_targets(read, wanted.names, options.get("task") or "auto", units)
    classifier = all(one.classes is not None for one in targets)
    plan = RunPlan(
        source=source,
        labels=wanted.labels,
        targets=targets,
        options=preset_options(preset, wanted.labels, classifier=classifier, **options),
        preset=preset,
        atom_init=None if atom_init is None else str(Path(atom_init).absolute()),
        start=None,
        card=dict(card or {}),
    )
    return plan, read


def resume(
    folder: str | os.PathLike[str],
    *,
    data: LabelledCrystals | None = None,
    loggers: Logger | Sequence[Logger] = (),
    on_start: Callable[[Prepared], None] | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
) -> TrainingResult:
    """Go on with a run that was interrupted or killed; the epoch it was in begins anew.

    data: needed if the run was given LabelledCrystals instead of a path. loggers: as in train(); an epoch that was cut may
    reach them twice. The result has the bits of a run that was never stopped (on the same machine). A run that is complete is
    read and returned: its data need not be there, and on_start is not called.

    Raises ValueError if `folder` holds no run, or the data or its split are not those the run began with.
    """
    began = time.perf_counter()
    place = RunFolder.existing(folder)
    plan = place.read_plan()
    done = place.result()
    if done is not None:
        return _complete(place, *done, seconds=time.perf_counter() - began)
    if data is None:
        data = read_again(plan.source, plan.labels, plan.options, [target.classes for target in plan.targets])
    return run_plan(plan, place, data, on_start=on_start, on_epoch=on_epoch, loggers=loggers)


def _complete(
    folder: RunFolder, model: PropertyModel, history: list[dict[str, float]], n_used: int, n_failures: int, *, seconds: float
) -> TrainingResult:
    """What a run that is complete made."""
    card = model.card
    metrics = {column: {k: v for k, v in found.items() if k != "unit"} for column, found in card["metrics"].items()}
    return TrainingResult(
        model=model,
        folder=folder.path,
        metrics=metrics,
        part=card["metrics_part"],
        history=history,
        n_rows=n_used + n_failures,
        n_used=n_used,
        n_failures=n_failures,
        seconds=seconds,
        notes=tuple(card.get("notes", ())),
    )


def run_plan(
    plan: RunPlan,
    folder: RunFolder,
    data: LabelledCrystals,
    *,
    on_start: Callable[[Prepared], None] | None,
    on_epoch: Callable[[EpochReport], None] | None,
    prepared: Prepared | None = None,
    loggers: Logger | Sequence[Logger] = (),
) -> TrainingResult:
    """Do what a plan says, from the start or from where its folder is.

    prepared: what prepare_plan() made of this data for a plan with the same split; many runs may share it.
    """
    from cgfast.training.members import train_members
    from cgfast.training.module import DivergedError
    from cgfast.training.processes import is_worker, join_workers

    if plan.options.processes > 1 and plan.source is None:
        msg = f"processes: got {plan.options.processes} with crystals in memory, expected data that every process can read"
        raise ValueError(msg)
    torch_device(plan.options.device)
    told = _check_loggers(loggers)
    began = time.perf_counter()
    start = None if plan.start is None else plan.start.load()
    if prepared is None:
        prepared = prepare_plan(plan, data, start)
    store = _build_store(plan, prepared, start)
    prepared = replace(prepared, notes=(*prepared.notes, *without_edges(store)))
    with folder.joined() if is_worker() else folder.open(plan, prepared):
        try:
            with join_workers(folder.path, plan.options.processes) as processes:
                if on_start is not None:
                    on_start(prepared)
                members = train_members(plan, folder, prepared, store, start, processes, told, on_epoch)
        except DivergedError:
            folder.undo()
            raise
        model = members.model if is_worker() else folder.finish(members.model)
    return TrainingResult(
        model=model,
        folder=folder.path,
        metrics=members.metrics,
        part=members.part,
        history=members.history,
        n_rows=data.n_rows,
        n_used=len(prepared.data),
        n_failures=len(prepared.failures),
        seconds=time.perf_counter() - began,
        notes=prepared.notes,
    )


def _build_store(plan: RunPlan, prepared: Prepared, start: PropertyModel | None) -> GraphStore:
    """The graphs of all crystals. Raises ValueError for batches that the network cannot be trained on."""
    import numpy as np

    from cgfast.training.networks import graph_spec

    spec = graph_spec(plan.options) if start is None else start.spec
    store = prepared.build_store(spec, np.float64, plan.options.threads)
    if plan.start is None or not plan.start.freeze:  # frozen batch norms take no statistics
        check_batches(store, prepared.parts, plan.options, plan.options.conv)
    return store


def _check_loggers(loggers: Any) -> list[Logger]:  # noqa: ANN401 - what a user gives
    """Raises ValueError unless they are Lightning's."""
    from lightning.pytorch.loggers import Logger

    found = [loggers] if isinstance(loggers, Logger) else list(loggers) if isinstance(loggers, list | tuple) else [loggers]
    for one in found:
        if not isinstance(one, Logger):
            msg = f"loggers: got {one!r}, expected a logger of lightning.pytorch.loggers, or several"
            raise ValueError(msg)  # noqa: TRY004 - one kind of error for bad input
    return found


def prepare_plan(plan: RunPlan, data: LabelledCrystals, start: PropertyModel | None) -> Prepared:
    """Split and check the data of a plan. start: its model, see Start.load(). Raises ValueError as prepare() does."""
    limit = _max_atomic_number(plan, start)
    if start is None or plan.start is None:
        return prepare(data, plan.targets, plan.options, max_atomic_number=limit)
    known = start.card.get("elements")
    prepared = prepare(
        data,
        plan.targets,
        plan.options,
        max_atomic_number=limit,
        # A head that stays has learned outputs of its own scale.
        scale=None if plan.start.new_head else Scale(start.mean, start.std),
        learned=known if isinstance(known, list) else None,
    )
    return replace(prepared, notes=(*prepared.notes, head_note(start, plan.targets, new_head=plan.start.new_head)))


def _max_atomic_number(plan: RunPlan, start: PropertyModel | None) -> int:
    if start is not None:
        return start.max_atomic_number
    return MAX_ATOMIC_NUMBER if plan.atom_init is None else len(read_element_table(Path(plan.atom_init)))


def check_packages() -> None:
    """Raises ImportError with the command to install the extra `train`."""
    for package in ("lightning", "torchmetrics"):
        require(package, "train")
