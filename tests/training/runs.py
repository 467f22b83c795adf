"""What runs leave behind, read again and measured by hand."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import cgfast
from cgfast.io.labelled import read_labelled

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cgfast.training import TrainingResult


def parts_of(result: TrainingResult) -> dict[int, str]:
    """Row of the input -> part, from the file."""
    with (result.folder / "split.csv").open(newline="") as file:
        return {int(line["row"]): line["part"] for line in csv.DictReader(file)}


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def remeasured(result: TrainingResult, source, labels: list[str]) -> dict[str, dict[str, float]]:
    """The metrics of the test rows, from the folder alone, by formulas in NumPy."""
    data = read_labelled(source, labels)
    parts = parts_of(result)
    chosen = [k for k, row in enumerate(data.rows.tolist()) if parts.get(row) == result.part]
    model = cgfast.load_model(result.folder)
    prediction = model.predict(data.crystals[chosen])
    found = {}
    for t, target in enumerate(model.targets):
        truth, said = data.values[chosen, t], prediction[target.column]
        known = ~np.isnan(truth)
        truth, said = truth[known], said[known]
        if target.classes is None:
            error = said - truth
            found[target.column] = {
                "n": len(truth),
                "mae": np.abs(error).mean(),
                "rmse": np.sqrt((error**2).mean()),
                "r2": 1 - (error**2).sum() / ((truth - truth.mean()) ** 2).sum(),
                "max_error": np.abs(error).max(),
            }
        else:
            yes, no = said[truth == 1], said[truth == 0]
            pairs = yes[:, None] - no[None, :]
            found[target.column] = {
                "n": len(truth),
                "accuracy": ((said > 0.5) == truth).mean(),
                "roc_auc": ((pairs > 0) + 0.5 * (pairs == 0)).mean(),
            }
    return found


def check(result: TrainingResult, source, labels: list[str]) -> None:
    """result, card and the folder agree."""
    expected = remeasured(result, source, labels)
    card = json.loads((result.folder / "model.json").read_text())["card"]
    for column, metrics in expected.items():
        for name, value in metrics.items():
            assert result.metrics[column][name] == pytest.approx(value, rel=2e-5, abs=2e-6), (column, name)
            assert card["metrics"][column][name] == result.metrics[column][name]
    assert result.n_rows == result.n_used + result.n_failures
    assert card["complete"] is True
    assert card["metrics_part"] == result.part


def stop_at(epoch: int, member: int = 0, how: Callable[[], None] | None = None) -> Callable:
    """Ctrl-C when this epoch is done."""

    def told(report: Any) -> None:
        if (report.epoch, report.member) == (epoch, member):
            if how is None:
                raise KeyboardInterrupt
            how()

    return told


def outcome(folder: Path) -> tuple:
    """What must not depend on stops: weights, description but the times, history but the times."""
    description = json.loads((folder / "model.json").read_text())
    description["card"].pop("training_seconds")
    description.pop("name")
    with (folder / "metrics.csv").open(newline="") as file:
        history = [{k: v for k, v in line.items() if k != "time_s"} for line in csv.DictReader(file)]
    return (folder / "model.safetensors").read_bytes(), description, history, (folder / "split.csv").read_bytes()
