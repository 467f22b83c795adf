"""Training that starts from a trained model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgfast.models import PropertyModel
from cgfast.models.catalogue import NAMES_2018
from cgfast.models.own import own_names
from cgfast.training.networks import start_model
from cgfast.training.options import preset_options
from cgfast.training.run import check_packages, run_plan
from cgfast.training.run_folder import RunFolder, RunPlan, Start
from cgfast.training.source import Source, Wanted, read_data, texts_of
from cgfast.training.targets import UNKNOWN_UNIT, head_note, make_targets, same_outputs, unit_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lightning.pytorch.loggers import Logger

    from cgfast.io.labelled import LabelledCrystals
    from cgfast.models.catalogue import Target
    from cgfast.training.callbacks import EpochReport
    from cgfast.training.options import TrainOptions
    from cgfast.training.prepare import Prepared
    from cgfast.training.run import TrainingResult

# A trained network needs small steps, and fewer of them.
_RECIPE: dict[str, Any] = {"learning_rate": 0.002, "epochs": 100, "batch_size": 32}


def finetune(
    model: str | os.PathLike[str] | PropertyModel,
    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | LabelledCrystals,
    target: str | Sequence[str] | None = None,
    *,
    out: str | os.PathLike[str],
    freeze: bool = False,
    new_head: bool | None = None,
    unit: str | Sequence[str] | None = None,
    log10: bool = False,
    format: str | None = None,  # noqa: A002 - the word cgfast.io.read uses
    columns: Mapping[str, str] | None = None,
    on_disorder: str = "skip",
    card: dict[str, Any] | None = None,
    loggers: Logger | Sequence[Logger] = (),
    on_start: Callable[[Prepared], None] | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    **options: Any,  # noqa: ANN401 - see TrainOptions
) -> TrainingResult:
    """Train on from a trained model, on data of one's own; resume() goes on with a run that was stopped.

    model: a name, a folder or a 2018 checkpoint, of a single network (no ensemble), or a model as it was loaded from there.
    data, loggers: as in train(). target: as in train(); default: what the model was trained on, and then labels must be what
    it was trained on, too: numbers in its unit (`unit` says it where the table does not, or wrongly), or its classes. freeze:
    embedding and convolutions stay as they are, and so do the statistics of their batch norms; only the head learns.
    new_head: everything behind the convolutions starts anew; default: if the targets have other columns, units or classes
    than the model's (a note says so). Network and graph are the model's; `options` may change recipe, split and data (see
    TrainOptions; by default a lower learning rate, batches of 32 and 100 epochs).

    Determinism and errors as in train(); also ValueError for an ensemble, for options of network or graph, for new_head=False
    with other targets, and for labels that are not what the model was trained on where no target is given.
    """
    check_packages()
    trained, place = _trained(model)
    source = Source.of(data, format=format, columns=columns, on_disorder=on_disorder)
    folder = RunFolder.new(out)
    units, task = texts_of("unit", unit), options.get("task") or "auto"
    if target is None:
        wanted = _own_labels(trained, log10=log10, task=task)
        read = read_data(data, source, wanted, options, [target.classes for target in trained.targets])
        targets = trained.targets
        _check_labels(trained, read, units)
    else:
        wanted = Wanted.parse(target, log10=log10)
        read = read_data(data, source, wanted, options)
        targets = make_targets(read, wanted.names, task, units)
    plan = RunPlan(
        source=source,
        labels=wanted.labels,
        targets=targets,
        options=_options(trained, wanted.labels, options),
        preset="finetune",
        atom_init=None,
        start=Start(place, trained.sha256, freeze, _new_head(trained, targets, new_head)),
        card=dict(card or {}),
    )
    return run_plan(plan, folder, read, on_start=on_start, on_epoch=on_epoch, loggers=loggers)


def _trained(model: str | os.PathLike[str] | PropertyModel) -> tuple[PropertyModel, str]:
    """The model to start from, and where a run that goes on finds it again, from any folder.

    Raises ValueError for an ensemble, and for a model in memory that is not what its file holds.
    """
    if isinstance(model, PropertyModel):
        found = start_model(model.source)
        if not _are_same(model, found):
            msg = f"model: got {model.name} in memory, which is not what {model.source} holds; save() it, and give the folder"
            raise ValueError(msg)
        return found, str(Path(model.source).absolute())
    if not isinstance(model, str | os.PathLike):
        msg = f"model: got {model!r}, expected a name, a path or a loaded model"
        raise ValueError(msg)  # noqa: TRY004 - one kind of error for bad input
    text = os.fspath(model)
    is_name = text in (*own_names(), *NAMES_2018)
    return start_model(text), text if is_name else str(Path(text).absolute())


def _are_same(one: PropertyModel, other: PropertyModel) -> bool:
    """Whether two models predict the same."""
    import torch

    if (one.spec, one.targets, one.mean, one.std) != (other.spec, other.targets, other.mean, other.std):
        return False
    if not torch.equal(one.network.element_features, other.network.element_features):
        return False
    ours, theirs = one.network.state_dict(), other.network.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def _own_labels(trained: PropertyModel, *, log10: bool, task: str) -> Wanted:
    """The labels that the model was trained on. Raises ValueError if it does not know them, or they are asked for otherwise."""
    labels = [target.data for target in trained.targets if target.data is not None]
    if len(labels) < len(trained.targets):
        msg = f"target: {trained.name} does not say what its labels are called, expected the column to learn"
        raise ValueError(msg)
    if log10 or task not in ("auto", trained.task):
        name, value = ("log10", log10) if log10 else ("task", task)
        msg = f"{name}: got {value!r} without a target, expected a target with it, or what {trained.name} learned as it is"
        raise ValueError(msg)
    return Wanted(tuple(labels), (None,) * len(labels))


def _check_labels(trained: PropertyModel, data: LabelledCrystals, units: Sequence[str]) -> None:
    """Raises ValueError if the labels are not what the model predicts: a head that goes on would learn nonsense."""
    if len(units) > len(trained.targets):
        msg = f"unit: got {len(units)} units, expected one for each of {len(trained.targets)} targets at most"
        raise ValueError(msg)
    for index, (target, label) in enumerate(zip(trained.targets, data.parsed(), strict=True)):
        misfit = data.misfit(index, target.classes)
        if misfit is not None:
            msg = f"target: {label} {misfit}: {trained.name} predicts {target.column}; or name the target to learn it anew"
            raise ValueError(msg)
        said = units[index] if index < len(units) else data.units[index]
        unit = unit_of(label, said) if said else UNKNOWN_UNIT
        if target.classes is None and UNKNOWN_UNIT not in (unit, target.unit) and unit != target.unit:
            msg = (
                f"unit: {label} is in {unit}, but {trained.name} predicts {target.column} in {target.unit}; expected the "
                "same, or the target by name to learn it anew"
            )
            raise ValueError(msg)


def _new_head(trained: PropertyModel, targets: Sequence[Target], wanted: bool | None) -> bool:  # noqa: FBT001 - private
    same = same_outputs(targets, trained.targets)
    if wanted is None:
        return not same
    if not wanted and not same:
        msg = f"new_head: got False, but {head_note(trained, targets, new_head=True)}; expected True"
        raise ValueError(msg)
    return wanted


def _options(trained: PropertyModel, labels: tuple[str, ...], options: dict[str, Any]) -> TrainOptions:
    """The recipe for fine-tuning, with what the model fixes."""
    network, spec = trained.network, trained.spec
    architecture = network.architecture()
    fixed: dict[str, Any] = {
        name: architecture[name]
        for name in ("conv", "atom_fea_len", "n_conv", "h_fea_len", "n_h", "pooling", "readout", "activation")
    }
    fixed |= {"cutoff": spec.cutoff, "max_neighbors": spec.max_neighbors, "ties": spec.ties, "missing": spec.missing}
    if network.basis is not None:
        fixed["step"] = network.basis.step
    refused = sorted(set(options) & set(fixed))
    if refused:
        msg = f"{', '.join(refused)}: the network and its graphs are those of {trained.name}, expected options of the recipe"
        raise ValueError(msg)
    return preset_options("fast", labels, classifier=False, **(_RECIPE | options | fixed))
