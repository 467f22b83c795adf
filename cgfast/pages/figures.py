"""How figures look, the same in every report."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import numpy as np

from cgfast._optional import require

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

Figure = Any  # plotly is optional

COLOURS = ("#2f6db3", "#d1603d", "#2e9e83", "#8a63b8", "#c99a1e", "#3aa6c9", "#c4548a", "#7f9a3a")
REFERENCE_LINE = {"dash": "dash", "color": "#8a94a0", "width": 1}
# Light at both ends, so that dark text can be read on every colour.
LIGHT_SCALE = ((0.0, "#fbf7ec"), (0.35, "#d3e8dc"), (0.7, "#93c9d6"), (1.0, "#5aa2d4"))
INK = "#1f2933"
_FONT = {
    "family": 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif',
    "size": 13,
    "color": INK,
}
_LINE = "#e3e7ec"


def with_unit(name: str, unit: str) -> str:
    """`name (unit)`, without brackets for pure numbers."""
    return name if unit in {"1", ""} else f"{name} ({unit})"


def style(figure: Figure, *, title: str = "") -> Figure:
    """Give a figure of any origin the look of our pages. title: empty for none."""
    figure.update_layout(
        # The title stands in the corner, the legend below the axes: so they meet neither each other nor the buttons.
        title={
            "text": title,
            "x": 0.0,
            "xref": "container",
            "xanchor": "left",
            "y": 0.98,
            "yanchor": "top",
            "font": {"size": 15},
        },
        template="plotly_white",
        font=_FONT,
        colorway=COLOURS,
        margin={"l": 70, "r": 20, "t": 50 if title else 30, "b": 55},
        legend={"orientation": "h", "yanchor": "top", "y": -0.18, "x": 0.0},
        hoverlabel={"font": {"family": _FONT["family"]}},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": "#c3cad2", "activecolor": "#5f6b7a"},
    )
    axis = {"gridcolor": _LINE, "zeroline": False, "automargin": True, "title": {"font": {"size": _FONT["size"]}}}
    figure.update_xaxes(axis)
    figure.update_yaxes(axis)
    return figure


def new_figure(title: str, x: str, y: str) -> Figure:
    """An empty figure with a title and two axes; texts may have plotly's markup."""
    figure = require("plotly.graph_objects", "report").Figure()
    figure.update_layout(xaxis_title={"text": x}, yaxis_title={"text": y})
    return style(figure, title=title)


def add_line(figure: Figure, x: Iterable[float | None], y: Iterable[float | None], name: str, **options: Any) -> None:  # noqa: ANN401
    """Add a curve. options: of plotly's Scatter."""
    go = require("plotly.graph_objects", "report")
    figure.add_trace(go.Scatter(x=x, y=y, mode=options.pop("mode", "lines"), name=name, **options))


def add_bins(figure: Figure, counts: NDArray[np.int64], edges: NDArray[np.float64], name: str, **options: Any) -> None:  # noqa: ANN401
    """Add a histogram whose bins are already counted. options: of plotly's Bar."""
    go = require("plotly.graph_objects", "report")
    figure.add_trace(go.Bar(x=(edges[:-1] + edges[1:]) / 2, y=counts, width=np.diff(edges), name=name, **options))
    figure.update_layout(bargap=0)


def plain(text: str) -> str:
    """Text that plotly shows as it is: it has a markup of its own."""
    return html.escape(text)
