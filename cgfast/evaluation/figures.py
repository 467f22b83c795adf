"""The figures of a report, made by plotly from exactly the numbers of the evaluation."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import numpy as np

from cgfast._optional import require
from cgfast.evaluation.calibration import central_probabilities, reliability
from cgfast.evaluation.metrics import precision_recall_curve, roc_curve

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

# Beyond so many points a browser draws them on the graphics card; below, everywhere.
_MANY_POINTS = 5000
_DIAGONAL = {"dash": "dash", "color": "#888888", "width": 1}
_ERROR_BINS = 60
_EPOCH = "epoch"
_NO_CURVES = (_EPOCH, "time_s", "learning_rate")
_COLOURS = ("#636efa", "#ef553b", "#00cc96", "#ab63fa", "#ffa15a", "#19d3f3", "#ff6692", "#b6e880")

Figure = Any  # plotly is optional


def with_unit(name: str, unit: str) -> str:
    """`name (unit)`, without brackets for pure numbers."""
    return name if unit == "1" else f"{name} ({unit})"


def _figure(title: str, x: str, y: str) -> Figure:
    go = require("plotly.graph_objects", "train")
    figure = go.Figure()
    figure.update_layout(
        title={"text": title},
        xaxis_title={"text": x},
        yaxis_title={"text": y},
        template="plotly_white",
        margin={"l": 70, "r": 20, "t": 60, "b": 60},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0},
    )
    return figure


def _add_line(figure: Figure, x: Iterable[float | None], y: Iterable[float | None], name: str, **options: Any) -> None:  # noqa: ANN401
    go = require("plotly.graph_objects", "train")
    figure.add_trace(go.Scatter(x=x, y=y, mode=options.pop("mode", "lines"), name=name, **options))


def parity_figure(
    truth: NDArray[np.float64],
    predicted: NDArray[np.float64],
    std: NDArray[np.float64] | None,
    labels: Sequence[str],
    unit: str,
) -> Figure:
    """Prediction against truth, with the diagonal; the colour is the ensemble's standard deviation, where there is one."""
    go = require("plotly.graph_objects", "train")
    figure = _figure("Parity", with_unit("truth", unit), with_unit("prediction", unit))
    marker: dict[str, Any] = {"size": 4, "opacity": 0.6}
    if std is not None:
        marker |= {"color": std, "colorscale": "Viridis", "showscale": True, "colorbar": {"title": {"text": "std"}}}
    kind = go.Scattergl if len(truth) > _MANY_POINTS else go.Scatter
    text = [html.escape(label) for label in labels]
    figure.add_trace(kind(x=truth, y=predicted, mode="markers", marker=marker, text=text, name="crystals"))
    ends = [float(min(truth.min(), predicted.min())), float(max(truth.max(), predicted.max()))]
    _add_line(figure, ends, ends, "prediction = truth", line=_DIAGONAL)
    return figure


def residual_figure(truth: NDArray[np.float64], predicted: NDArray[np.float64], unit: str) -> Figure:
    """How many crystals have which error, prediction - truth."""
    go = require("plotly.graph_objects", "train")
    counts, edges = np.histogram(predicted - truth, bins=_ERROR_BINS)
    figure = _figure("Residuals", with_unit("prediction - truth", unit), "crystals")
    figure.add_trace(go.Bar(x=(edges[:-1] + edges[1:]) / 2, y=counts, width=np.diff(edges), name="crystals"))
    figure.update_layout(bargap=0)
    return figure


def std_calibration_figure(error: NDArray[np.float64], std: NDArray[np.float64]) -> Figure:
    """The share of truths that lie in the central interval which should hold a share p of them."""
    figure = _figure("Calibration of the standard deviation", "expected share in the interval", "observed share")
    expected = central_probabilities(error, std)
    observed = np.arange(1, len(expected) + 1) / len(expected)
    _add_line(figure, expected, observed, "model", line={"shape": "hv"})
    _add_line(figure, [0.0, 1.0], [0.0, 1.0], "perfect", line=_DIAGONAL)
    return figure


def curve_figures(truth: NDArray[np.float64], probability: NDArray[np.float64], area: str, precision: str) -> list[Figure]:
    """ROC curve and precision-recall curve, those that are defined. area, precision: the numbers for the legends."""
    figures = []
    roc = roc_curve(truth, probability)
    if roc is not None:
        figure = _figure("ROC curve", "false positive rate", "true positive rate")
        _add_line(figure, *roc, f"area {area}")
        _add_line(figure, [0.0, 1.0], [0.0, 1.0], "chance", line=_DIAGONAL)
        figures.append(figure)
    curve = precision_recall_curve(truth, probability)
    if curve is not None:
        figure = _figure("Precision and recall", "recall", "precision")
        _add_line(figure, *curve, f"average precision {precision}", line={"shape": "hv"})
        figures.append(figure)
    return figures


def probability_figures(truth: NDArray[np.float64], probability: NDArray[np.float64], classes: Sequence[str]) -> list[Figure]:
    """How probabilities are spread in each class, and how often what has a probability comes true."""
    go = require("plotly.graph_objects", "train")
    last = html.escape(classes[-1])
    spread = _figure("Predicted probabilities", f"probability of {last}", "crystals")
    for value, name in enumerate(classes):
        counts, edges = np.histogram(probability[truth == value], bins=20, range=(0.0, 1.0))
        spread.add_trace(go.Bar(x=(edges[:-1] + edges[1:]) / 2, y=counts, name=f"truth: {html.escape(name)}"))
    spread.update_layout(barmode="overlay", bargap=0)
    spread.update_traces(opacity=0.6)
    mean, share, counts = reliability(truth, probability)
    trust = _figure("Reliability", f"mean probability of {last}", f"share of {last}")
    _add_line(trust, mean, share, "bins", mode="lines+markers", text=[f"{count:,} crystals" for count in counts.tolist()])
    _add_line(trust, [0.0, 1.0], [0.0, 1.0], "perfect", line=_DIAGONAL)
    return [spread, trust]


def learning_figure(histories: Sequence[Mapping[str, Sequence[float | None]]]) -> Figure | None:
    """Losses and scores by epoch on a logarithmic axis, of all members of an ensemble; None where there is nothing to draw."""
    names = list(dict.fromkeys(name for history in histories for name in history if name not in _NO_CURVES))
    figure = _figure("Learning curve", "epoch", "loss, score")
    for number, name in enumerate(names):
        curves = [(history[_EPOCH], history.get(name, ())) for history in histories]
        drawn = [(x, y) for x, y in curves if any(value is not None for value in y)]
        for k, (x, y) in enumerate(drawn):
            # One entry in the legend for the members together, which have one colour.
            look = {"line": {"color": _COLOURS[number % len(_COLOURS)], "width": 2 if len(drawn) == 1 else 1}}
            _add_line(figure, x, y, html.escape(name), legendgroup=str(number), showlegend=k == 0, **look)
    figure.update_yaxes(type="log")
    return figure if figure.data else None
