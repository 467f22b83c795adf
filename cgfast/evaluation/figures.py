"""The figures of a report, made by plotly from exactly the numbers of the evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cgfast._optional import require
from cgfast.evaluation.calibration import central_probabilities, reliability
from cgfast.evaluation.metrics import precision_recall_curve, roc_curve
from cgfast.pages.figures import COLOURS, REFERENCE_LINE, Figure, add_bins, add_line, new_figure, plain, with_unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

# Beyond so many points a browser draws them on the graphics card; below, everywhere.
_MANY_POINTS = 5000
_ERROR_BINS = 60
_EPOCH = "epoch"
_NO_CURVES = (_EPOCH, "time_s", "learning_rate")


def parity_figure(
    truth: NDArray[np.float64],
    predicted: NDArray[np.float64],
    std: NDArray[np.float64] | None,
    labels: Sequence[str],
    unit: str,
) -> Figure:
    """Prediction against truth, with the diagonal; the colour is the ensemble's standard deviation, where there is one."""
    go = require("plotly.graph_objects", "report")
    figure = new_figure("Parity", with_unit("truth", unit), with_unit("prediction", unit))
    marker: dict[str, Any] = {"size": 4, "opacity": 0.6}
    if std is not None:
        marker |= {"color": std, "colorscale": "Viridis", "showscale": True, "colorbar": {"title": {"text": "std"}}}
    kind = go.Scattergl if len(truth) > _MANY_POINTS else go.Scatter
    text = [plain(label) for label in labels]
    figure.add_trace(kind(x=truth, y=predicted, mode="markers", marker=marker, text=text, name="crystals"))
    ends = [float(min(truth.min(), predicted.min())), float(max(truth.max(), predicted.max()))]
    add_line(figure, ends, ends, "prediction = truth", line=REFERENCE_LINE)
    return figure


def residual_figure(truth: NDArray[np.float64], predicted: NDArray[np.float64], unit: str) -> Figure:
    """How many crystals have which error, prediction - truth."""
    counts, edges = np.histogram(predicted - truth, bins=_ERROR_BINS)
    figure = new_figure("Residuals", with_unit("prediction - truth", unit), "crystals")
    add_bins(figure, counts, edges, "crystals")
    return figure


def std_calibration_figure(error: NDArray[np.float64], std: NDArray[np.float64]) -> Figure:
    """The share of truths that lie in the central interval which should hold a share p of them."""
    figure = new_figure("Calibration of the standard deviation", "expected share in the interval", "observed share")
    expected = central_probabilities(error, std)
    observed = np.arange(1, len(expected) + 1) / len(expected)
    add_line(figure, expected, observed, "model", line={"shape": "hv"})
    add_line(figure, [0.0, 1.0], [0.0, 1.0], "perfect", line=REFERENCE_LINE)
    return figure


def curve_figures(truth: NDArray[np.float64], probability: NDArray[np.float64], area: str, precision: str) -> list[Figure]:
    """ROC curve and precision-recall curve, those that are defined. area, precision: the numbers for the legends."""
    figures = []
    roc = roc_curve(truth, probability)
    if roc is not None:
        figure = new_figure("ROC curve", "false positive rate", "true positive rate")
        add_line(figure, *roc, f"area {area}")
        add_line(figure, [0.0, 1.0], [0.0, 1.0], "chance", line=REFERENCE_LINE)
        figures.append(figure)
    curve = precision_recall_curve(truth, probability)
    if curve is not None:
        figure = new_figure("Precision and recall", "recall", "precision")
        add_line(figure, *curve, f"average precision {precision}", line={"shape": "hv"})
        figures.append(figure)
    return figures


def probability_figures(truth: NDArray[np.float64], probability: NDArray[np.float64], classes: Sequence[str]) -> list[Figure]:
    """How probabilities are spread in each class, and how often what has a probability comes true."""
    last = plain(classes[-1])
    spread = new_figure("Predicted probabilities", f"probability of {last}", "crystals")
    for value, name in enumerate(classes):
        counts, edges = np.histogram(probability[truth == value], bins=20, range=(0.0, 1.0))
        add_bins(spread, counts, edges, f"truth: {plain(name)}", opacity=0.65)
    spread.update_layout(barmode="overlay")
    mean, share, counts = reliability(truth, probability)
    trust = new_figure("Reliability", f"mean probability of {last}", f"share of {last}")
    add_line(trust, mean, share, "bins", mode="lines+markers", text=[f"{count:,} crystals" for count in counts.tolist()])
    add_line(trust, [0.0, 1.0], [0.0, 1.0], "perfect", line=REFERENCE_LINE)
    return [spread, trust]


def learning_figure(histories: Sequence[Mapping[str, Sequence[float | None]]]) -> Figure | None:
    """Losses and scores by epoch on a logarithmic axis, of all members of an ensemble; None where there is nothing to draw."""
    names = list(dict.fromkeys(name for history in histories for name in history if name not in _NO_CURVES))
    figure = new_figure("Learning curve", "epoch", "loss, score")
    for number, name in enumerate(names):
        curves = [(history[_EPOCH], history.get(name, ())) for history in histories]
        drawn = [(x, y) for x, y in curves if any(value is not None for value in y)]
        for k, (x, y) in enumerate(drawn):
            # One entry in the legend for the members together, which have one colour.
            look = {"line": {"color": COLOURS[number % len(COLOURS)], "width": 2 if len(drawn) == 1 else 1}}
            add_line(figure, x, y, plain(name), legendgroup=str(number), showlegend=k == 0, **look)
    figure.update_yaxes(type="log")
    return figure if figure.data else None
