"""The learning curve of a model, where it is kept."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cgfast.models import PropertyModel

HISTORY_FILE = "metrics.csv"
EPOCH = "epoch"


def read_history(model: PropertyModel) -> dict[str, list[float | None]]:
    """Column -> numbers, one per epoch: of the file `metrics.csv` in the model's folder, else of `history` in its card.

    Empty where there is neither, or nothing that can be read as one: a report without the curve is still a report.
    """
    path = Path(model.source) / HISTORY_FILE
    if path.is_file():
        try:
            with path.open(encoding="utf-8", newline="") as file:
                lines = list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError, csv.Error):
            return {}
        columns = {name: [_number(line.get(name)) for line in lines] for name in (lines[0] if lines else {}) if name}
        return columns if EPOCH in columns else {}
    kept = model.card.get("history")
    if not isinstance(kept, dict) or not all(isinstance(column, list) for column in kept.values()) or EPOCH not in kept:
        return {}
    return {str(name): [_number(value) for value in column] for name, column in kept.items()}


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
