"""What the commands print on stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa

    from cgfast.doctor import Report
    from cgfast.models import ModelInfo
    from cgfast.screening import ScreenResult

# In a pipe or a file there is no screen to fit: wide enough that nothing is cut.
_PIPE_WIDTH = 240


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)


def _plain(console: Console, text: str) -> None:
    # soft_wrap: a long file name stays one line, so that scripts can read it.
    console.print(Text(text), soft_wrap=True)


def _cell(value: Any) -> str:  # noqa: ANN401 - any Arrow value
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _rows_table(table: pa.Table, units: dict[str, str], title: str | None) -> Table:
    shown = Table(box=SIMPLE, title=title, title_justify="left", pad_edge=False)
    for field in table.schema:
        unit = units.get(field.name, "")
        unit = "" if unit == "1" else unit
        numeric = str(field.type) in {"double", "float", "int64", "int32"}
        header = Text(f"{field.name}\n{unit}" if any(units.values()) else field.name)
        shown.add_column(header, justify="right" if numeric else "left", overflow="fold")
    columns = [column.to_pylist() for column in table.columns]
    for row in zip(*columns, strict=True):
        shown.add_row(*(Text(_cell(value)) for value in row))
    return shown


def show_result(result: ScreenResult, *, ranked: bool) -> None:
    """Print tables and, as the last line, the account of a job."""
    console = _console()
    table = result.table
    if table is not None and table.num_rows:
        console.print(_rows_table(table, result.units, None))
        more = result.n_selected - table.num_rows
        if more > 0:
            what = "others rank behind" if ranked else "more rows"
            hint = "" if result.out else "; --out FILE writes all"
            _plain(console, f"... and {more:,} {what}{hint}")
    if result.out is None and result.failures:
        console.print(_failures_table(result))
        more = result.n_failures - len(result.failures)
        if more > 0:
            _plain(console, f"... and {more:,} more failures; --out FILE lists all")
    if result.flagged:
        _plain(console, result.flagged)
    rate = f"{result.crystals_per_second:,.0f} crystals/s in {result.seconds:.1f} s"
    if result.n_resumed:
        rate = f"{result.n_resumed:,} rows were there; {rate}"
    if result.n_rows and result.n_resumed == result.n_rows:
        rate = "nothing was left to do"
    _plain(console, f"wrote {result.out} ({rate})" if result.out else rate)
    _plain(console, result.account)


def _failures_table(result: ScreenResult) -> Table:
    shown = Table(box=SIMPLE, title="failures", title_justify="left", pad_edge=False)
    for name in ("id", "row", "stage", "reason"):
        shown.add_column(name, justify="right" if name == "row" else "left", overflow="fold")
    for failure in result.failures:
        shown.add_row(*(Text(_cell(value)) for value in failure))
    return shown


def show_models(models: Sequence[ModelInfo]) -> None:
    """Print the table of models, and how to get those that are not there."""
    console = _console()
    shown = Table(box=SIMPLE, pad_edge=False)
    for name in ("name", "property", "unit", "trained on", "test error", "available"):
        shown.add_column(name, overflow="fold")
    hints: dict[str, None] = {}
    for model in models:
        cells = (model.name, model.property, model.unit, model.training_data, model.published_error)
        # What is said of each of several properties stands in lines side by side.
        shown.add_row(*(Text(cell.replace("; ", "\n")) for cell in cells), "yes" if model.available else "no")
        if not model.available and model.hint:
            hints[model.hint] = None
    console.print(shown)
    for hint in hints:
        _plain(console, hint)


def show_description(description: dict[str, Any]) -> None:
    """Print what a structure source holds: one line per fact, nested ones indented."""
    console = _console()
    facts = {name.replace("_", " "): value for name, value in description.items()}
    for line in _described(facts, indent=""):
        _plain(console, line)


def _described(facts: dict[str, Any], indent: str) -> Iterable[str]:
    width = max((len(str(name)) for name in facts), default=0)
    for name, value in facts.items():
        label = f"{indent}{name:<{width}}  "
        if isinstance(value, dict) and value:
            yield label.rstrip()
            yield from _described(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], tuple):
            yield label.rstrip()
            yield from (f"{indent}  " + ", ".join(map(str, item)) for item in value)
        else:
            yield label + _fact(value)


def _fact(value: Any) -> str:  # noqa: ANN401 - whatever a reader has to say
    if isinstance(value, list | tuple | dict):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    return "unknown" if value is None else str(value) or "none"


def show_report(report: Report) -> None:
    """Print what `doctor` found, then the commands that mend what is missing."""
    console = _console()
    width = max(len(check.name) for check in report.checks)
    for check in report.checks:
        mark = "ok" if check.ok else "--"
        _plain(console, f"{mark}  {check.name:<{width}}  {check.found}")
    advice = [check for check in report.checks if check.advice]
    if advice:
        _plain(console, "")
    for check in advice:
        _plain(console, f"{check.name}: {check.advice}")
    _plain(console, "")
    _plain(console, report.verdict)
