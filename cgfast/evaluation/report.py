"""An evaluation as one HTML file that needs nothing else: no network, no folder beside it."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import numpy as np

from cgfast.elements import SYMBOLS
from cgfast.evaluation.figures import (
    Figure,
    curve_figures,
    learning_figure,
    parity_figure,
    probability_figures,
    residual_figure,
    std_calibration_figure,
    with_unit,
)
from cgfast.evaluation.metrics import Metrics, rounded
from cgfast.evaluation.page import figure_html, page_html, table_html
from cgfast.evaluation.periodic_table import periodic_figure
from cgfast.evaluation.results import TRUTH_SUFFIX
from cgfast.io.batch import printable
from cgfast.models.targets import STD_SUFFIX

if TYPE_CHECKING:
    import pyarrow as pa

    from cgfast.evaluation.results import Evaluation, TargetEvaluation

_FAILURES_SHOWN = 100


def report_html(evaluation: Evaluation) -> str:
    """The report of an evaluation. Same text for the same evaluation."""
    part = "" if evaluation.part is None else f", part {evaluation.part!r} of the split"
    parts = [
        f"<p>Model <b>{html.escape(evaluation.model)}</b> (SHA-256 {evaluation.sha256[:16]})</p>",
        f"<p>Data <b>{html.escape(printable(evaluation.data))}</b>{html.escape(part)}</p>",
        f"<p>{html.escape(evaluation.account)}.</p>",
        *(f"<p>Note: {html.escape(note)}.</p>" for note in evaluation.notes),
    ]
    for number, (column, target) in enumerate(evaluation.targets.items()):
        parts += _target_parts(evaluation, column, target, f"target-{number}")
    curve = learning_figure(evaluation.histories)
    if curve is not None:
        parts += ["<h2>Training</h2>", figure_html(curve, "learning-curve")]
    parts += _failure_parts(evaluation)
    return page_html(f"Evaluation of {evaluation.model}", parts)


def _target_parts(evaluation: Evaluation, column: str, target: TargetEvaluation, name: str) -> list[str]:
    labels = f"labels: {target.label}; {target.n:,} rows"
    parts = [
        f"<h2>{html.escape(column)}</h2><p>{html.escape(target.target.property)}; {html.escape(labels)}</p>",
        _metrics_table(target.metrics, target.calibration),
    ]
    if target.counts:
        rows = [(name.replace("_", " "), f"{count:,}") for name, count in target.counts.items()]
        parts.append(table_html(("truth and prediction", "rows"), rows, numeric={1}))
    if not target.n:
        return parts
    figures = _target_figures(evaluation.predictions, column, target)
    divs = [f"<div>{figure_html(figure, f'{name}-{k}')}</div>" for k, figure in enumerate(figures)]
    value = "accuracy" if target.target.classes else "mae"
    means = {SYMBOLS.index(r["element"]): (r[value], r["n"]) for r in target.by_element.to_pylist()}
    quantity = "accuracy" if target.target.classes else with_unit("MAE", target.target.unit)
    table = periodic_figure({f"{quantity} of crystals that contain an element": means}, quantity)
    return [
        *parts,
        f'<div class="figures">{"".join(divs)}</div>',
        "<h3>Worst crystals</h3>",
        _arrow_table(target.worst),
        "<h3>By element</h3>",
        figure_html(table, f"{name}-elements", 560),
        f"<details><summary>as a table</summary>{_arrow_table(target.by_element)}</details>",
        "<h3>By atoms in the cell</h3>",
        _arrow_table(target.by_size),
    ]


def _target_figures(table: pa.Table, column: str, target: TargetEvaluation) -> list[Figure]:
    known = table.filter(table.column(column + TRUTH_SUFFIX).is_valid())
    truth = _numbers(known, column + TRUTH_SUFFIX)
    predicted = _numbers(known, column)
    if target.target.classes is not None:
        area, precision = (rounded(target.metrics.values[name]) for name in ("roc_auc", "average_precision"))
        curves = curve_figures(truth, predicted, area, precision)
        return [*curves, *probability_figures(truth, predicted, target.target.classes)]
    std_name = column + STD_SUFFIX
    std = _numbers(known, std_name) if std_name in known.column_names else None
    names = zip(known.column("id").to_pylist(), known.column("formula").to_pylist(), strict=True)
    labels = [f"{key} {formula}" for key, formula in names]
    unit = target.target.unit
    figures = [parity_figure(truth, predicted, std, labels, unit), residual_figure(truth, predicted, unit)]
    if std is not None:
        figures.append(std_calibration_figure(np.abs(truth - predicted), std))
    return figures


def _numbers(table: pa.Table, column: str) -> np.typing.NDArray[np.float64]:
    return np.asarray(table.column(column).to_numpy(), np.float64)


def _metrics_table(*several: Metrics) -> str:
    rows = []
    for metrics in several:
        for name, value in metrics.values.items():
            unit = "" if metrics.units[name] == "1" else metrics.units[name]
            rows.append((name, rounded(value), metrics.undefined.get(name, unit)))
    return table_html(("metric", "value", "unit"), rows, numeric={1})


def _arrow_table(table: pa.Table) -> str:
    kinds = [str(field.type) for field in table.schema]
    numeric = {k for k, kind in enumerate(kinds) if kind != "string"}
    rows = [[rounded(cell) if isinstance(cell, float) else str(cell) for cell in row.values()] for row in table.to_pylist()]
    return table_html(table.column_names, rows, numeric=numeric)


def _failure_parts(evaluation: Evaluation) -> list[str]:
    if not evaluation.failures:
        return []
    shown = evaluation.failures[:_FAILURES_SHOWN]
    more = len(evaluation.failures) - len(shown)
    rows = [(printable(f.id), str(f.row), f.stage, printable(f.reason)) for f in shown]
    rest = [f"<p>... and {more:,} more failures</p>"] if more else []
    return ["<h2>Failures</h2>", table_html(("id", "row", "stage", "reason"), rows, numeric={1}), *rest]
