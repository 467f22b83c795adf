"""What `evaluate`, `embed` and `explain` print on stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cgfast.io.batch import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa

    from cgfast.evaluation import Evaluation, TargetEvaluation
    from cgfast.evaluation.stream import CrystalTable
    from cgfast.io import Failure

# In a pipe or a file there is no screen to fit: wide enough that nothing is cut.
_PIPE_WIDTH = 240
_FAILURES_SHOWN = 10


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)


def _line(console: Console, text: str) -> None:
    # soft_wrap: a long file name stays one line, so that scripts can read it.
    console.print(Text(printable(text)), soft_wrap=True)


def show_evaluation(evaluation: Evaluation, written: Sequence[Path]) -> None:
    """Print the metrics, the worst crystals, the failures, and, as the last line, the account."""
    console = _console()
    for column, target in evaluation.targets.items():
        _line(console, f"{column}: {target.n:,} rows, labels {target.label}")
        console.print(_metrics_table(target))
        if target.counts:
            _line(console, ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in target.counts.items()))
        if target.by_domain is not None and "outside" in target.by_domain["domain"].to_pylist():
            console.print(_table(target.by_domain, "inside and outside of the training domain", target.target.unit))
        console.print(_table(target.worst, "worst crystals", target.target.unit))
    for note in evaluation.notes:
        _line(console, f"note: {note}")
    _show_failures(console, evaluation.failures, len(evaluation.failures))
    for path in written:
        _line(console, f"wrote {path}")
    _line(console, evaluation.account)


def show_crystal_table(result: CrystalTable, written: Sequence[Path]) -> None:
    """Print the failures, what was written, and, as the last line, the account."""
    console = _console()
    _show_failures(console, result.failures, result.n_failures)
    for path in written:
        _line(console, f"wrote {path}")
    _line(console, result.account)


def _metrics_table(target: TargetEvaluation) -> Table:
    from cgfast.evaluation.metrics import rounded

    shown = Table(box=SIMPLE, pad_edge=False, show_header=False)
    shown.add_column()
    shown.add_column(justify="right")
    shown.add_column(overflow="fold")
    for metrics in (target.metrics, target.calibration):
        for name, value in metrics.values.items():
            unit = "" if metrics.units[name] == "1" else metrics.units[name]
            shown.add_row(name, rounded(value), Text(metrics.undefined.get(name, unit)))
    return shown


def _table(table: pa.Table, title: str, unit: str) -> Table:
    from cgfast.evaluation.metrics import rounded

    unit = "" if unit == "1" else f", {unit}"
    shown = Table(box=SIMPLE, title=f"{title}{unit}", title_justify="left", pad_edge=False)
    for field in table.schema:
        shown.add_column(field.name, justify="left" if str(field.type) == "string" else "right", overflow="fold")
    for row in table.to_pylist():
        shown.add_row(*(Text(rounded(cell) if isinstance(cell, float) else str(cell)) for cell in row.values()))
    return shown


def _show_failures(console: Console, failures: Sequence[Failure], n_failures: int) -> None:
    if not n_failures:
        return
    shown = Table(box=SIMPLE, title="failures", title_justify="left", pad_edge=False)
    for name in ("id", "row", "stage", "reason"):
        shown.add_column(name, justify="right" if name == "row" else "left", overflow="fold")
    for failure in failures[:_FAILURES_SHOWN]:
        shown.add_row(*(Text(printable(str(value))) for value in failure))
    console.print(shown)
    more = n_failures - min(len(failures), _FAILURES_SHOWN)
    if more > 0:
        _line(console, f"... and {more:,} more failures")
