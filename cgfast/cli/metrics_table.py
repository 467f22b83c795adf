"""The metrics of a trained model as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cgfast.models.catalogue import Target

_IN_UNIT = ("mae", "rmse", "max_error")


def metrics_table(targets: Sequence[Target], metrics: Mapping[str, Mapping[str, float | None]], part: str) -> Table:
    """A row per target and metric. metrics: output column -> name -> value, of the `part` of the split."""
    table = Table(box=SIMPLE, title=f"{part} part", title_justify="left", pad_edge=False)
    for name in ("target", "metric", "value", "unit"):
        table.add_column(name, justify="right" if name == "value" else "left", overflow="fold")
    for target in targets:
        for name, value in metrics[target.column].items():
            unit = target.unit if name in _IN_UNIT and target.unit != "1" else ""
            shown = "-" if value is None else f"{value:,.0f}" if name == "n" else f"{value:.4f}"
            table.add_row(*(Text(cell) for cell in (target.column, name, shown, unit)))
    return table
