"""An HTML page that needs nothing else: no network, no folder beside it."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from cgfast._optional import require

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

# The page may run what is in it and load nothing: the browser itself sees to that.
_POLICY = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"
_STYLE = """
body { font-family: system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 0.5rem 0 1.5rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.8rem; border-bottom: 1px solid #ddd; text-align: left; }
td.number, th.number { text-align: right; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; }
.figures > div { flex: 1 1 30rem; min-width: 24rem; }
"""


def page_html(title: str, parts: Iterable[str]) -> str:
    """A whole page with plotly.js in it, once."""
    script = require("plotly.offline", "train").get_plotlyjs()
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>\n<script>{script}</script>"
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
        config={"displaylogo": False, "responsive": True},
    )
    return text


def table_html(header: Sequence[str], rows: Iterable[Sequence[Any]], *, numeric: Collection[int] = ()) -> str:
    """A table; every cell is text, whatever is in it. header: empty for none. numeric: columns that line up on the right."""

    def line(tag: str, values: Sequence[Any]) -> str:
        kinds = [' class="number"' if k in numeric else "" for k in range(len(values))]
        cells = (f"<{tag}{kind}>{html.escape(str(value))}</{tag}>" for kind, value in zip(kinds, values, strict=True))
        return f"<tr>{''.join(cells)}</tr>\n"

    head = f"<thead>{line('th', header)}</thead>\n" if header else ""
    return f"<table>{head}<tbody>{''.join(line('td', row) for row in rows)}</tbody></table>"
