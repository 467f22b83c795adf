"""The sections of a screening report as HTML."""

from __future__ import annotations

import html
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgfast.pages.page import counts_html, data_html, figure_html, figures_html, script_html, table_html
from cgfast.screening.flags import MEANINGS
from cgfast.screening.report.candidates import page_data
from cgfast.screening.report.figures import distribution_figure, throughput_figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cgfast.screening.report.collect import Collected, Column, Ranking
    from cgfast.screening.report.reasons import Reasons
    from cgfast.screening.report.throughput import Throughput

HERE = Path(__file__).parent
_REASONS_SHOWN = 40
_ID_WIDTH = 20  # letters of an id that are not broken into lines
_LONGEST = 240  # letters of an example


def number(value: float | None, digits: int = 4) -> str:
    """A value for people; a dash for none."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.{digits}f}" if 1e-3 <= abs(value) < 1e6 or value == 0 else f"{value:.{digits}g}"


def model_parts(models: Iterable[Mapping[str, Any]]) -> list[str]:
    """Models: what they predict, on which graph, and which weights they are."""
    rows = []
    for model in models:
        graph = model.get("graph", {})
        rows.append(
            (
                model["name"],
                "; ".join(f"{target['property']} → {target['column']}" for target in model["targets"]),
                ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in graph.items()),
                model["sha256"] or "never saved: no hash",
            )
        )
    return ["<h2>Models</h2>", table_html(("model", "predicts", "graph", "SHA-256 of the weights"), rows)]


def distribution_parts(columns: Sequence[Column], found: Collected) -> list[str]:
    """A histogram for each column, and a table of what they are made of."""
    if not found.n_rows:
        return ["<h2>Distributions</h2>", "<p>There are no predictions.</p>"]
    figures = [distribution_figure(c, found.summaries[c.name], found.bins[c.name]) for c in columns]
    sampled = any(not summary.is_whole for summary in found.summaries.values())
    rows = []
    for column in columns:
        summary, bins = found.summaries[column.name], found.bins[column.name]
        values = (summary.min, summary.median, summary.mean, summary.max, summary.std) if summary.n else (None,) * 5
        beside = f"{bins.below:,} / {bins.above:,}"
        rows.append((column.name, column.unit, f"{summary.n:,}", *(number(value) for value in values), beside))
    header = ("column", "unit", "values", "lowest", "median", "mean", "highest", "std", "beyond the axis, left / right")
    note = "The dotted line is the median" + (", of an even sample of at least 32,768 values." if sampled else ".")
    return [
        "<h2>Distributions</h2>",
        figures_html(figures, "distribution", 360),
        f'<p class="soft">{note}</p>',
        table_html(header, rows, numeric=range(2, 9)),
    ]


def candidate_parts(found: Collected, columns: Sequence[Column], ranking: Ranking) -> list[str]:
    """The best rows as a list to choose from, beside a picture of the structure chosen."""
    if not found.best:
        return []
    order = "highest" if ranking.descending else "lowest"
    said = f"The {len(found.best)} rows with the {order} {ranking.by}. Choose a row to see its structure."
    units = {column.name: column.unit for column in columns}
    names = list(found.best[0].values)
    header = ["", "id", "formula", "atoms", *names, "flags"]
    numeric = {0, *range(3, 4 + len(names))}
    head = "".join(
        f"<th{_number_class(k in numeric)}>{_breakable(name)}{_unit(units.get(name, ''))}</th>" for k, name in enumerate(header)
    )
    lines = []
    for k, candidate in enumerate(found.best):
        cells = [
            f'<td class="number soft">{k + 1}</td>',
            f'<td><button type="button" class="choose"><bdi>{html.escape(candidate.id) or "(no id)"}</bdi></button></td>',
            f"<td>{_formula(candidate.formula)}</td>",
            f'<td class="number">{"–" if candidate.n_atoms is None else f"{candidate.n_atoms:,}"}</td>',
            *(f'<td class="number">{number(value)}</td>' for value in candidate.values.values()),
            f"<td>{html.escape(candidate.flags)}</td>",
        ]
        lines.append(f'<tr data-row="{k}">{"".join(cells)}</tr>\n')
    width = min(max(len(candidate.id) for candidate in found.best), _ID_WIDTH)
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody>"
    table = f'<table id="candidate-table" style="--id:{width}ch">{body}</table>'
    return [
        "<h2>Best candidates</h2>",
        f'<p class="soft">{html.escape(said)}</p>',
        f'<div class="candidates"><div class="scroll list">{table}</div>{_VIEW}</div>',
        data_html(page_data(found.best), "candidates"),
        script_html(HERE / "structure_view.js"),
    ]


_VIEW = """<div class="view">
<div class="chosen"><b id="chosen-formula"></b> <span id="chosen-id" class="soft"></span></div>
<div class="options">
<label>cells <select id="repeat">
<option value="1">1 × 1 × 1</option><option value="2">2 × 2 × 2</option><option value="3">3 × 3 × 3</option>
</select></label>
<label><input type="checkbox" id="images" checked> images on the faces</label>
<label><input type="checkbox" id="bonds" checked> bonds</label>
</div>
<div id="structure"></div>
<p id="why" class="soft" hidden></p>
<p id="chosen-facts" class="soft"></p>
</div>"""


def flag_parts(found: Collected) -> list[str]:
    """How many rows have which flag."""
    if not found.n_rows:
        return []
    rows = [(name, MEANINGS.get(name, "")) for name in found.flags]
    table = counts_html(("rows", "share", "flag", "meaning"), rows, list(found.flags.values()), found.n_rows)
    return ["<h2>Flags</h2>", '<p class="soft">A row may have several.</p>', table]


def failure_parts(reasons: Reasons, n_rows: int) -> list[str]:
    """Failures by stage and reason, with an example of each. n_rows: rows of input."""
    if not reasons.n:
        return ["<h2>Failures</h2>", "<p>None.</p>"]
    kinds = reasons.most_common()
    shown = kinds[:_REASONS_SHOWN]
    rows = [(kind.stage, kind.reason, kind.example_id, _short(kind.example)) for kind in shown]
    header = ("rows", "share of the input", "stage", "reason", "first such row", "in its words")
    rest = sum(kind.count for kind in kinds[_REASONS_SHOWN:])
    more = [f"<p>{len(kinds) - len(shown):,} more reasons with {rest:,} rows are not shown.</p>"] if rest else []
    note = "Names (...) and numbers (#) are left out of the reasons, so that like failures are counted together."
    table = counts_html(header, rows, [kind.count for kind in shown], n_rows)
    return ["<h2>Failures</h2>", f'<p class="soft">{note}</p>', table, *more]


def throughput_parts(throughput: Throughput | None) -> list[str]:
    """Rows per second over time."""
    figure = throughput_figure(throughput) if throughput is not None else None
    return [] if figure is None else ["<h2>Throughput</h2>", figure_html(figure, "throughput", 300)]


def run_parts(facts: Mapping[str, str]) -> list[str]:
    """How the job was called, and what it ran on."""
    return ["<h2>Run</h2>", table_html((), list(facts.items()))]


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _formula(text: str) -> str:
    return re.sub(r"\d+", r"<sub>\g<0></sub>", html.escape(text)) or "–"


def _breakable(name: str) -> str:
    """The name of a column, which may be broken after its underscores."""
    return html.escape(name).replace("_", "_<wbr>")


def _unit(unit: str) -> str:
    return f'<br><span class="unit">{html.escape(unit)}</span>' if unit not in {"", "1"} else ""


def _number_class(is_number: bool) -> str:  # noqa: FBT001 - a private helper of one line
    return ' class="number"' if is_number else ""
