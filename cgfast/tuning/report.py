"""A study as one HTML file that needs nothing else."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from optuna import visualization
from optuna.importance import PedAnovaImportanceEvaluator

from cgfast.evaluation.page import figure_html, page_html, table_html
from cgfast.tuning.results import TrialRow, best_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import optuna

IMPORTANCE_TRIALS = 5  # complete ones; fewer say nothing
BEST_SHOWN = 10
_SCORE = "validation score"
_EXPLANATION = (
    f"The {_SCORE} is the mean absolute error in units of the labels' spread (for classes the cross entropy), summed over the "
    "targets, at the best epoch. The test part chose nothing."
)


def report_html(study: optuna.Study, rows: Sequence[TrialRow], title: str, facts: Mapping[str, str]) -> str:
    """The report of a study. rows: its trials. facts: what else to say, name -> value."""
    complete = sorted((row for row in rows if row.state == "complete"), key=lambda row: (row.score or 0.0, row.number))
    counts = {state: sum(row.state == state for row in rows) for state in dict.fromkeys(row.state for row in rows)}
    told = {"trials": ", ".join(f"{count} {state}" for state, count in counts.items()), **facts}
    parts = [
        f"<p>{_EXPLANATION}</p>",
        table_html((), list(told.items())),
    ]
    if complete:
        parts += ["<h2>Best trials</h2>", _best_table(complete[:BEST_SHOWN])]
    for number, (heading, figure) in enumerate(_figures(study, complete)):
        said = f"<p>{figure}</p>" if isinstance(figure, str) else figure_html(figure, f"figure-{number}")
        parts += [f"<h2>{heading}</h2>", said]
    return page_html(title, parts)


def _figures(study: optuna.Study, complete: Sequence[TrialRow]) -> Iterable[tuple[str, Any]]:
    """Heading and figure, or a sentence in its place."""
    if not complete:
        yield "Optimisation history", "No trial is complete."
    else:
        yield "Optimisation history", _titled(visualization.plot_optimization_history(study, target_name=_SCORE))
    yield "Scores by epoch", _titled(visualization.plot_intermediate_values(study), x="epoch", y=_SCORE, log=True)
    if len(complete) < IMPORTANCE_TRIALS or len({row.score for row in complete}) < 2:
        said = f"Defined from {IMPORTANCE_TRIALS} complete trials with different scores on; there are {len(complete)}."
        yield "Importance of the options", said
    else:
        evaluator = PedAnovaImportanceEvaluator()
        yield "Importance of the options", _titled(visualization.plot_param_importances(study, evaluator=evaluator))
    best = best_of(complete)
    for name in sorted(best.options) if best else ():
        figure = visualization.plot_slice(study, params=[name], target_name=_SCORE)
        yield f"{html.escape(name)}", _titled(figure)


def _titled(figure: Any, x: str | None = None, y: str | None = None, *, log: bool = False) -> Any:  # noqa: ANN401 - plotly
    """The figure in the style of our reports; its heading is in the page."""
    figure.update_layout(title=None, template="plotly_white", width=None, margin={"l": 70, "r": 20, "t": 40, "b": 60})
    if x is not None:
        figure.update_xaxes(title_text=x)
    if y is not None:
        figure.update_yaxes(title_text=y)
    if log:
        figure.update_yaxes(type="log")
    return figure


def _best_table(rows: Sequence[TrialRow]) -> str:
    options = sorted({name for row in rows for name in row.options})
    errors = list(dict.fromkeys(name for row in rows for name in row.errors))
    header = ("trial", _SCORE, *(name.removeprefix("val_") for name in errors), "best epoch", *options, "seconds")
    lines = [
        (
            row.number,
            *(_short(value) for value in (row.score, *(row.errors.get(name) for name in errors))),
            f"{row.best_epoch} of {row.epochs}",
            *(_short(row.options.get(name)) for name in options),
            f"{row.seconds:.0f}",
        )
        for row in rows
    ]
    return table_html(header, lines)


def _short(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else "none" if value is None else str(value)
