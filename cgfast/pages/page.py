"""An HTML page that needs nothing else: no network, no folder beside it."""

from __future__ import annotations

import html
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgfast._optional import require

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

# The page may run what is in it and load or send nothing: the browser itself sees to that.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
    "form-action 'none'; base-uri 'none'"
)
# plotly's own defaults show its logo and, since plotly.js 4, a button that uploads the figure.
_FIGURE_OPTIONS = {
    "displaylogo": False,
    "responsive": True,
    "showSendToCloud": False,
    "modeBarButtonsToRemove": ["sendChartToCloud", "sendDataToCloud", "select2d", "lasso2d", "autoScale2d"],
}
# In HTML a script ends at `</script`, whatever the script's language thinks; two separators end lines in old JavaScript.
_IN_SCRIPTS = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}


@cache
def _style() -> str:
    return Path(__file__).with_name("style.css").read_text(encoding="utf-8")


def page_html(title: str, parts: Iterable[str], *, style: str = "") -> str:
    """A whole page with plotly.js in it, once. style: CSS beyond that of all pages."""
    script = require("plotly.offline", "report").get_plotlyjs()
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{html.escape(title)}</title><style>\n{_style()}{style}</style>\n<script>{script}</script>"
    )
    body = "\n".join([f"<h1>{html.escape(title)}</h1>", *parts])
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{body}\n</body>\n</html>\n'


def figure_html(figure: Any, name: str, height: int = 460) -> str:  # noqa: ANN401 - plotly is optional
    """A figure as a part of a page. name: unique in the page."""
    text: str = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        include_mathjax=False,
        div_id=name,
        default_height=f"{height}px",
        config=_FIGURE_OPTIONS,
    )
    return text


def figures_html(figures: Iterable[Any], name: str, height: int = 400) -> str:
    """Figures side by side, as many in a line as fit. name: what their own names begin with, unique in the page."""
    divs = (f"<div>{figure_html(figure, f'{name}-{k}', height)}</div>" for k, figure in enumerate(figures))
    return f'<div class="figures">{"".join(divs)}</div>'


def table_html(header: Sequence[str], rows: Iterable[Sequence[Any]], *, numeric: Collection[int] = ()) -> str:
    """A table; every cell is text, whatever is in it. header: empty for none. numeric: columns that line up on the right."""

    def line(tag: str, values: Sequence[Any]) -> str:
        kinds = [' class="number"' if k in numeric else "" for k in range(len(values))]
        cells = (f"<{tag}{kind}>{_text(value)}</{tag}>" for kind, value in zip(kinds, values, strict=True))
        return f"<tr>{''.join(cells)}</tr>\n"

    head = f"<thead>{line('th', header)}</thead>\n" if header else ""
    return f'<div class="scroll"><table>{head}<tbody>{"".join(line("td", row) for row in rows)}</tbody></table></div>'


def counts_html(header: Sequence[str], rows: Iterable[Sequence[Any]], counts: Sequence[int], total: int) -> str:
    """A table with two more columns before the others: how many of `total`, with a bar, and the share of them.

    header: names of all columns, the first two those of the counts.
    """
    lines = []
    for row, count in zip(rows, counts, strict=True):
        share = 100.0 * count / total if total else 0.0
        bar = f'<i style="width:{min(share, 100.0):.2f}%"></i>{percent(share)}'
        bar = f'<td class="number">{count:,}</td><td class="share">{bar}</td>'
        lines.append(f"<tr>{bar}{''.join(f'<td>{_text(value)}</td>' for value in row)}</tr>\n")
    kinds = ["number", "", *("" for _ in header[2:])]
    cells = (f'<th class="{kind}">{_text(name)}</th>' for name, kind in zip(header, kinds, strict=True))
    head = f"<thead><tr>{''.join(cells)}</tr></thead>"
    return f'<div class="scroll"><table>{head}<tbody>{"".join(lines)}</tbody></table></div>'


def percent(share: float) -> str:
    """A share in per cent with two digits that mean something; never 0 % for what is there."""
    if share == 0 or share >= 9.95:
        return f"{share:.0f} %"
    return f"{share:.1f} %" if share >= 0.095 else "< 0.1 %"


def cards_html(facts: Iterable[tuple[str, str]]) -> str:
    """Short facts in large letters: (value, what it is)."""
    cards = (f'<div class="card"><b>{_text(value)}</b><span>{_text(name)}</span></div>' for value, name in facts)
    return f'<div class="cards">{"".join(cards)}</div>'


def data_html(data: Any, name: str) -> str:  # noqa: ANN401 - whatever JSON holds
    """JSON for the page's own scripts: `JSON.parse(document.getElementById(name).textContent)`. No text in it can end it.

    Raises ValueError for NaN and infinities, which JSON does not have.
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).translate(_IN_SCRIPTS)
    return f'<script type="application/json" id="{html.escape(name)}">{text}</script>'


def script_html(path: Path) -> str:
    """A script of the package, inlined."""
    return f"<script>\n{path.read_text(encoding='utf-8')}</script>"


def _text(value: object) -> str:
    """Any value as text in a cell. Left-to-right marks in a name must not turn the cells after it around."""
    text = str(value)
    return html.escape(text) if text.isascii() else f"<bdi>{html.escape(text)}</bdi>"
