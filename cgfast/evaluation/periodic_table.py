"""Numbers by element as a periodic table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cgfast._optional import require
from cgfast.elements import SYMBOLS
from cgfast.pages.figures import INK, LIGHT_SCALE, style

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOBLE_GASES = (0, 2, 10, 18, 36, 54, 86, 118)
N_GROUPS = 18
N_ROWS = 9  # seven periods, and two rows below them for lanthanides and actinides
_LANTHANIDES, _ACTINIDES = range(57, 72), range(89, 104)
_SHOWN = 103  # heavier elements are in no data, and would make the table no clearer


def place(number: int) -> tuple[int, int]:
    """(row, column) of an element from (0, 0), hydrogen's; lanthanides are in row 7, actinides in row 8."""
    if number in _LANTHANIDES:
        return 7, 2 + number - _LANTHANIDES.start
    if number in _ACTINIDES:
        return 8, 2 + number - _ACTINIDES.start
    period = next(k for k, last in enumerate(_NOBLE_GASES) if number <= last)
    if number == 2:
        return 0, N_GROUPS - 1
    from_left = number - _NOBLE_GASES[period - 1] - 1
    if from_left < 2:
        return period - 1, from_left
    return period - 1, N_GROUPS - 1 - (_NOBLE_GASES[period] - number)


def periodic_figure(tables: Mapping[str, Mapping[int, tuple[float, int]]], quantity: str) -> Any:  # noqa: ANN401 - plotly
    """A plotly figure with one periodic table per title, all with one colour scale.

    tables: title -> atomic number -> (value, how many sites or crystals it is a mean of). quantity: what the colour means.
    """
    go = require("plotly.graph_objects", "report")
    subplots = require("plotly.subplots", "report")
    titles = list(tables)
    figure = subplots.make_subplots(rows=len(titles), cols=1, subplot_titles=titles, vertical_spacing=0.06)
    for row, title in enumerate(titles, start=1):
        figure.add_trace(go.Heatmap(**_cells(tables[title], quantity), coloraxis="coloraxis"), row=row, col=1)
        axis = "" if row == 1 else str(row)
        figure.update_yaxes(autorange="reversed", visible=False, scaleanchor=f"x{axis}", row=row, col=1)
        figure.update_xaxes(visible=False, constrain="domain", row=row, col=1)
        for number in range(1, _SHOWN + 1):
            if number not in tables[title]:
                y, x = place(number)
                font = {"color": "#bbbbbb", "size": 11}
                figure.add_annotation(x=x, y=y, text=SYMBOLS[number], showarrow=False, font=font, row=row, col=1)
    bar = {"title": {"text": quantity, "side": "top"}, "thickness": 14, "outlinewidth": 0}
    style(figure).update_layout(
        coloraxis={"colorscale": LIGHT_SCALE, "colorbar": bar}, margin={"l": 0, "r": 10, "t": 40, "b": 10}
    )
    return figure


def _cells(values: Mapping[int, tuple[float, int]], quantity: str) -> dict[str, Any]:
    z: list[list[float | None]] = [[None] * N_GROUPS for _ in range(N_ROWS)]
    text = [[""] * N_GROUPS for _ in range(N_ROWS)]
    hover = [[""] * N_GROUPS for _ in range(N_ROWS)]
    for number, (value, count) in values.items():
        row, column = place(number)
        z[row][column] = value
        text[row][column] = f"{SYMBOLS[number]}<br>{value:.2f}"
        hover[row][column] = f"{SYMBOLS[number]}: {quantity} {value:.4f}, mean of {count:,}"
    return {
        "z": z,
        "text": text,
        "texttemplate": "%{text}",
        "textfont": {"color": INK, "size": 12},
        "customdata": hover,
        "hovertemplate": "%{customdata}<extra></extra>",
        "hoverongaps": False,
        "xgap": 2,
        "ygap": 2,
    }
