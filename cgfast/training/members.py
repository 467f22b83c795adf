"""Training of the members of a model (one, or several seeds), and the model that they make together."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from cgfast import __version__
from cgfast._native import native_threads, thread_count
from cgfast.evaluation.metrics import class_metrics, regression_metrics
from cgfast.models import PropertyModel
from cgfast.models.checkpoint_2018 import read_element_table
from cgfast.nn import convert_sync_batchnorm
from cgfast.training.callbacks import BEST, LAST, History
from cgfast.training.feed import TrainingData
from cgfast.training.loop import InterruptedRunError, fit, load_best, read_checkpoint
from cgfast.training.losses import TaskLoss
from cgfast.training.module import DivergedError, TrainingModule, compute_dtype
from cgfast.training.networks import network_from, new_network
from cgfast.training.prepare import batch_plan
from cgfast.training.processes import is_worker
from cgfast.training.splits import PARTS, TEST, TRAIN, VAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lightning.pytorch.loggers import Logger
    from numpy.typing import NDArray
    from torch import Tensor

    from cgfast.graph_store import GraphStore
    from cgfast.models.catalogue import Target
    from cgfast.nn import CGCNN
    from cgfast.training.callbacks import EpochReport
    from cgfast.training.prepare import Prepared
    from cgfast.training.processes import Processes
    from cgfast.training.run_folder import RunFolder, RunPlan

DONE = "done"  # marks a member whose training is complete
PREDICT_CRYSTALS = 256


@dataclass(frozen=True, slots=True)
class Members:
    """The trained model, its metrics on `part`, and the history of its first member."""

    model: PropertyModel
    metrics: dict[str, dict[str, float | None]]
    part: str
    history: list[dict[str, float]]


def train_members(
    plan: RunPlan,
    folder: RunFolder,
    prepared: Prepared,
    store: GraphStore,
    start: PropertyModel | None,
    processes: Processes,
    loggers: Sequence[Logger],
    on_epoch: Callable[[EpochReport], None] | None,
) -> Members:
    """Train every member that is not done, one after the other. start: the trained model of a plan that has one.

    Raises InterruptedRunError after Ctrl-C and DivergedError when the loss is no number any more; what was learnt until then
    is written as a model, if there is a whole epoch, and its card says that it is not complete.
    """
    options = plan.options
    table = None if plan.atom_init is None else read_element_table(Path(plan.atom_init))
    networks: list[CGCNN] = []
    histories: list[History] = []
    processes.meet()
    with _threads(max(thread_count(options.threads) // options.processes, 1)):
        for index in range(options.seeds):
            network = _network(plan, start, table, options.seed + index)
            history = History(prepared.count(TRAIN), index, options.seeds, _telling(folder, on_epoch, index, options.seeds))
            networks.append(network)
            histories.append(history)
            try:
                _train_member(network, plan, prepared, store, folder, history, index, loggers)
            except (InterruptedRunError, DivergedError) as error:
                if is_worker():
                    raise
                place = folder.member(index, options.seeds)
                if (place / BEST).is_file():
                    load_best(network, place)
                else:
                    del networks[-1], histories[-1]
                if not networks:
                    raise
                folder.finish(_members(plan, prepared, store, networks, histories, folder, complete=False).model)
                if isinstance(error, DivergedError):
                    msg = f"{error}; the best model until then is in {folder.path}"
                    raise DivergedError(msg) from error
                raise
    return _members(plan, prepared, store, networks, histories, folder, complete=True)


@contextlib.contextmanager
def _threads(threads: int) -> Iterator[None]:
    """All threads for native code, which has the same bits for any number of them, and one for torch, which has not."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with native_threads(threads):
            yield
    finally:
        torch.set_num_threads(before)


def _network(plan: RunPlan, start: PropertyModel | None, table: Tensor | None, seed: int) -> CGCNN:
    if start is None or plan.start is None:
        return new_network(plan.targets, plan.options, table, seed)
    freeze, new_head, double = plan.start.freeze, plan.start.new_head, plan.options.precision == "64"
    return network_from(start, plan.targets, freeze=freeze, new_head=new_head, seed=seed, double=double)


def _telling(
    folder: RunFolder, on_epoch: Callable[[EpochReport], None] | None, index: int, members: int
) -> Callable[[EpochReport, list[dict[str, float]]], None]:
    def tell(report: EpochReport, rows: list[dict[str, float]]) -> None:
        folder.write_history(rows, index, members)
        if on_epoch is not None:
            on_epoch(report)

    return tell


def _train_member(
    network: CGCNN,
    plan: RunPlan,
    prepared: Prepared,
    store: GraphStore,
    folder: RunFolder,
    history: History,
    index: int,
    loggers: Sequence[Logger],
) -> None:
    """Train one network, from its last checkpoint if there is one, and leave it with the weights of its best epoch."""
    options, place = plan.options, folder.member(index, plan.options.seeds)
    place.mkdir(parents=True, exist_ok=True)
    if options.processes > 1:
        convert_sync_batchnorm(network)
    loss = TaskLoss(plan.targets, options.loss, options.huber_delta, _class_weights(plan, prepared))
    train, val = (batch_plan(store, np.flatnonzero(prepared.parts == part), options) for part in (TRAIN, VAL))
    seed = options.seed + index
    module = TrainingModule(network, loss, options, plan.targets, prepared.scale, seed, train.n_batches(seed, options.epochs))
    if (place / DONE).is_file():
        history.load_state_dict(read_checkpoint(place / LAST)["callbacks"][history.state_key])
    else:
        dtype = compute_dtype(options)
        data = TrainingData(store, prepared.labels(), train, val, loss=loss, dtype=dtype, seed=seed)
        fit(module, data, options, place, history, loggers)
        if not is_worker():
            (place / DONE).touch()
    load_best(network, place)


def _class_weights(plan: RunPlan, prepared: Prepared) -> list[tuple[float, ...] | None]:
    """N / (2 n_c) for each class of the training part where balance is asked for."""
    weights: list[tuple[float, ...] | None] = []
    for target, column in zip(plan.targets, prepared.data.values.T, strict=True):
        if target.classes is None or plan.options.class_weights == "none":
            weights.append(None)
            continue
        known = column[(prepared.parts == TRAIN) & ~np.isnan(column)]
        weights.append(tuple(len(known) / (2 * max(int((known == c).sum()), 1)) for c in (0, 1)))
    return weights


def _members(
    plan: RunPlan,
    prepared: Prepared,
    store: GraphStore,
    networks: Sequence[CGCNN],
    histories: Sequence[History],
    folder: RunFolder,
    *,
    complete: bool,
) -> Members:
    part = TEST if prepared.count(TEST) else VAL
    model = PropertyModel(
        name=folder.path.name,
        targets=plan.targets,
        networks=tuple(network.float().eval() for network in networks),
        spec=store.spec,
        mean=prepared.scale.mean,
        std=prepared.scale.std,
        sha256="",
        source=str(folder.path),
    )
    metrics = _measure(model, prepared, store, part)
    card = _card(plan, prepared, histories, metrics, PARTS[part], complete=complete)
    return Members(replace(model, card=card), metrics, PARTS[part], histories[0].rows)


def _measure(model: PropertyModel, prepared: Prepared, store: GraphStore, part: int) -> dict[str, dict[str, float | None]]:
    """Metrics of every target on one part."""
    indices = np.flatnonzero(prepared.parts == part)
    columns = [c.name for c in model.columns]
    values = np.concatenate(
        [
            model.predict_columns(store.batch(indices[start : start + PREDICT_CRYSTALS]))
            for start in range(0, len(indices), PREDICT_CRYSTALS)
        ]
    )
    found: dict[str, dict[str, float | None]] = {}
    for index, target in enumerate(model.targets):
        predicted = values[:, columns.index(target.column)]
        found[target.column] = _metrics_of(target, prepared.data.values[indices, index], predicted)
    return found


def _metrics_of(target: Target, truth: NDArray[np.float64], predicted: NDArray[np.float64]) -> dict[str, float | None]:
    known = ~np.isnan(truth)
    if target.classes is None:
        metrics = regression_metrics(truth[known], predicted[known], target.unit)
    else:
        metrics = class_metrics(truth[known], predicted[known], target.classes)
    return {"n": float(known.sum()), **metrics.values}


def _card(
    plan: RunPlan,
    prepared: Prepared,
    histories: Sequence[History],
    metrics: dict[str, dict[str, float | None]],
    part: str,
    *,
    complete: bool,
) -> dict[str, Any]:
    """What the model's description says of its training."""
    units = {target.column: target.unit for target in plan.targets}
    source = "crystals in memory" if plan.source is None else plan.source.name
    rows = [history.rows for history in histories]
    return {
        "training_data": f"{source}, {prepared.count(TRAIN):,} crystals",
        **plan.card,
        "metrics": {column: {**values, "unit": units[column]} for column, values in metrics.items()},
        "metrics_part": part,
        "elements": list(prepared.elements),
        "crystals": {name: prepared.count(index) for index, name in enumerate(PARTS)},
        "split": {"kind": plan.options.split, "sha256": prepared.split_hash},
        "epochs": [len(r) for r in rows],
        "best_epoch": [int(min(r, key=lambda row: row["val_score"])["epoch"]) for r in rows if r],
        "complete": complete,
        "notes": list(prepared.notes),
        "training_seconds": round(sum(history.seconds for history in histories), 1),
        "preset": plan.preset,
        "options": plan.options.to_dict(),
        "start": None if plan.start is None else {"model": plan.start.model, "sha256": plan.start.sha256},
        "versions": {"cgfast": __version__, "torch": torch.__version__},
    }
