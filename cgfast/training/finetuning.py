"""Training that starts from a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgfast.training.networks import start_model
from cgfast.training.options import preset_options
from cgfast.training.run import check_packages, run_plan
from cgfast.training.run_folder import RunFolder, RunPlan, Start
from cgfast.training.source import Source, Wanted, read_data, texts_of
from cgfast.training.targets import make_targets

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from cgfast.io.labelled import LabelledCrystals
    from cgfast.models import PropertyModel
    from cgfast.models.catalogue import Target
    from cgfast.training.callbacks import EpochReport
    from cgfast.training.options import TrainOptions
    from cgfast.training.prepare import Prepared
    from cgfast.training.run import TrainingResult

# A trained network needs small steps, and fewer of them.
_RECIPE: dict[str, Any] = {"learning_rate": 0.002, "epochs": 100, "batch_size": 32}


def finetune(
    model: str | os.PathLike[str],
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
    on_start: Callable[[Prepared], None] | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    **options: Any,  # noqa: ANN401 - see TrainOptions
) -> TrainingResult:
    """Train on from a trained model, on data of one's own; resume() goes on with a run that was stopped.

    model: a name, a folder or a 2018 checkpoint, of a single network (no ensemble). data: as in train(). target: as in train();
    default: what the model was trained on. freeze: embedding and convolutions stay as they are, and so do the statistics of
    their batch norms; only the head learns. new_head: everything behind the convolutions starts anew; default: if the
    targets are not the model's own. Network and graph are the model's; `options` may change recipe, split and data (see
    TrainOptions; by default a lower learning rate, batches of 32 and 100 epochs).

    Determinism and errors as in train(); also ValueError for an ensemble, for options of network or graph, and for
    new_head=False with other targets.
    """
    check_packages()
    trained = start_model(str(model))
    wanted = Wanted.parse(_default_target(trained) if target is None else target, log10=log10)
    source = Source.of(data, format=format, columns=columns, on_disorder=on_disorder)
    folder = RunFolder(Path(out))
    folder.check_new()
    read = read_data(data, source, wanted, options)
    targets = make_targets(read, wanted.names, options.get("task") or "auto", texts_of("unit", unit))
    if target is None:
        targets = trained.targets
    plan = RunPlan(
        source=source,
        labels=wanted.labels,
        targets=targets,
        options=_options(trained, wanted.labels, options),
        preset="finetune",
        atom_init=None,
        start=Start(str(_place(str(model))), trained.sha256, freeze, _new_head(trained, targets, new_head)),
        card=dict(card or {}),
    )
    return run_plan(plan, folder, read, on_start=on_start, on_epoch=on_epoch)


def _place(name: str) -> str | Path:
    """A path that holds from any folder; a name stays a name."""
    return Path(name).absolute() if Path(name).exists() else name


def _default_target(trained: PropertyModel) -> list[str]:
    labels = [target.data for target in trained.targets]
    if any(label is None for label in labels):
        msg = f"target: {trained.name} does not say what its labels are called, expected the column to learn"
        raise ValueError(msg)
    return [str(label) for label in labels]


def _new_head(trained: PropertyModel, targets: Sequence[Target], wanted: bool | None) -> bool:  # noqa: FBT001 - private
    same = [(t.column, t.unit, t.classes) for t in targets] == [(t.column, t.unit, t.classes) for t in trained.targets]
    if wanted is None:
        return not same
    if not wanted and not same:
        columns = ", ".join(t.column for t in trained.targets)
        msg = f"new_head: got False, but {trained.name} predicts {columns}, expected True for other targets"
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
    refused = sorted(name for name in options if name in fixed and options[name] is not None)
    if refused:
        msg = f"{', '.join(refused)}: the network and its graphs are those of {trained.name}, expected options of the recipe"
        raise ValueError(msg)
    given = {name: value for name, value in options.items() if value is not None}
    return preset_options("fast", labels, classifier=False, **(_RECIPE | given | fixed))
