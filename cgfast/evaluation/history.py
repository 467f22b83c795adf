"""The learning curve of a model, where it is kept."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cgfast.models import PropertyModel

    History = dict[str, list[float | None]]

HISTORY_FILE, MEMBERS = "metrics.csv", "members"
EPOCH = "epoch"


def read_histories(model: PropertyModel) -> tuple[History, ...]:
    """For each member: column -> numbers, one per epoch.

    From the files `members/K/metrics.csv` in the folder of an ensemble, `metrics.csv` in that of a model, or `history` in its
    card. Empty where there is none, or nothing that can be read as one: a report without the curve is still a report.
    """
    if model.source:
        folder = Path(model.source)
        members = [folder / MEMBERS / str(k) / HISTORY_FILE for k in range(len(model.networks))]
        if not any(path.is_file() for path in members):
            members = [folder / HISTORY_FILE]
        if any(path.is_file() for path in members):
            return tuple(filter(None, map(_read, members)))
    kept = model.card.get("history")
    if not isinstance(kept, dict) or not all(isinstance(column, list) for column in kept.values()) or EPOCH not in kept:
        return ()
    return ({str(name): [_number(value) for value in column] for name, column in kept.items()},)


def _read(path: Path) -> History:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}
    columns = {name: [_number(line.get(name)) for line in lines] for name in (lines[0] if lines else {}) if name}
    return columns if EPOCH in columns else {}


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
