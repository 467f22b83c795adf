"""What an evaluation found, and the files that it can become."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgfast._files import write_text
from cgfast.io.batch import printable
from cgfast.screening.writer import OutputFile, check_out

if TYPE_CHECKING:
    import os

    import pyarrow as pa

    from cgfast.evaluation.metrics import Metrics
    from cgfast.io import Failure
    from cgfast.models.catalogue import Target

FORMAT = "cgfast-evaluation"
TRUTH_SUFFIX = "_true"


@dataclass(frozen=True)
class TargetEvaluation:
    """How well one target is predicted.

    target: its column, property, unit, classes. label: how the truths were read. n: rows with a truth and a prediction.
    metrics, calibration: numbers by name (`values`), None with a reason in `undefined` (calibration is empty for numbers
    without a standard deviation). counts: rows by class, for classes. by_element, by_size, worst: Arrow tables.
    """

    target: Target
    label: str
    n: int
    metrics: Metrics
    calibration: Metrics
    counts: dict[str, int]
    by_element: pa.Table
    by_size: pa.Table
    worst: pa.Table

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON types."""
        both = (self.metrics, self.calibration)
        return {
            "property": self.target.property,
            "unit": self.target.unit,
            "classes": None if self.target.classes is None else list(self.target.classes),
            "label": self.label,
            "n": self.n,
            "metrics": self.metrics.values,
            "calibration": self.calibration.values,
            "undefined": {name: reason for metrics in both for name, reason in metrics.undefined.items()},
            "units": {name: unit for metrics in both for name, unit in metrics.units.items()},
            "counts": self.counts,
            "by_element": self.by_element.to_pylist(),
            "by_size": self.by_size.to_pylist(),
            "worst": self.worst.to_pylist(),
        }


@dataclass(frozen=True)
class Evaluation:
    """A model compared with labelled crystals. Every row of the input is evaluated, a failure, or outside of the part.

    model, sha256: which one. data: where the crystals came from. part: the part of the split that was evaluated, None: all.
    n_rows = n_evaluated + len(failures) + n_outside. targets: by output column. predictions: Arrow table with `id`, `row`,
    `formula`, `n_atoms` and, for each target, `<column>_true`, `<column>` and, for an ensemble, `<column>_std`; one row per row
    evaluated, in input order. histories: learning curves of the members, column -> numbers, as far as there are. notes: worth
    reading.
    """

    model: str
    sha256: str
    data: str
    part: str | None
    n_rows: int
    n_evaluated: int
    n_outside: int
    failures: tuple[Failure, ...]
    targets: dict[str, TargetEvaluation]
    predictions: pa.Table
    histories: tuple[dict[str, list[float | None]], ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def metrics(self) -> dict[str, dict[str, float | None]]:
        """All numbers: output column -> name -> value; None where it is not defined."""
        return {name: {**t.metrics.values, **t.calibration.values} for name, t in self.targets.items()}

    @property
    def account(self) -> str:
        """One line: `N rows in: M evaluated, K failures, L outside of the part 'test'`."""
        line = f"{self.n_rows:,} rows in: {self.n_evaluated:,} evaluated, {len(self.failures):,} failures"
        return line if self.part is None else f"{line}, {self.n_outside:,} outside of the part {self.part!r}"

    def to_dict(self) -> dict[str, Any]:
        """Everything but predictions and learning curves as plain JSON types."""
        failures = [failure._asdict() for failure in self.failures]
        return {
            "format": FORMAT,
            "model": self.model,
            "sha256": self.sha256,
            "data": self.data,
            "part": self.part,
            "n_rows": self.n_rows,
            "n_evaluated": self.n_evaluated,
            "n_failures": len(failures),
            "n_outside": self.n_outside,
            "targets": {name: target.to_dict() for name, target in self.targets.items()},
            "notes": list(self.notes),
            "failures": [{name: printable(v) if isinstance(v, str) else v for name, v in f.items()} for f in failures],
        }

    def to_json(self) -> str:
        """What to_dict() says, as JSON text; a number that is not defined is null."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def to_csv(self) -> str:
        """The numbers as CSV: target, metric, value, unit, and the reason where there is no value."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("target", "metric", "value", "unit", "undefined"))
        for column, target in self.targets.items():
            writer.writerow((column, "n", target.n, "1", ""))
            for metrics in (target.metrics, target.calibration):
                for name, value in metrics.values.items():
                    writer.writerow((column, name, value, metrics.units[name], metrics.undefined.get(name, "")))
        return text.getvalue()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the metrics: to_json() to `.json`, to_csv() to `.csv`. Raises ValueError for another ending."""
        place = Path(path)
        texts = {".json": self.to_json, ".csv": self.to_csv}
        if place.suffix.lower() not in texts:
            msg = f"path: {place} ends in {place.suffix or 'nothing'!r}, expected .json or .csv"
            raise ValueError(msg)
        return write_text(place, texts[place.suffix.lower()]())

    def save_predictions(self, path: str | os.PathLike[str]) -> Path:
        """Write `predictions` (`.parquet`, `.csv`), and the failures to `<stem>-failures.csv` beside it."""
        place = check_out(path)
        metadata = {"model": self.model, "sha256": self.sha256, "data": self.data, "part": self.part}
        with OutputFile(place, metadata) as file:
            file.write(self.predictions)
            file.write_failures(self.failures)
            file.commit()
        return place

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write a report as one HTML file that needs no network. Needs plotly. Raises ValueError if it cannot be written."""
        from cgfast.evaluation.report import report_html

        return write_text(Path(path), report_html(self))
