"""The account of a screening job, while it runs and at its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from cgfast.io import Failure


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is: rows done, rows in all (None if unknown), failures among them, seconds spent."""

    rows: int
    n_rows: int | None
    failures: int
    seconds: float

    @property
    def crystals_per_second(self) -> float:
        """Rows done per second so far."""
        return self.rows / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class ScreenResult:
    """The account of a job: `n_rows` = `n_predictions` + `n_failures`, always.

    `seconds` counts from the first read to the finished file, without loading the models. `table` holds the
    rows kept in memory: the best with `top`, else the predictions when there is no `out`, else None.
    `failures` are the first ten; all of them are in the file `failures_out`. `units` gives the unit of each
    prediction column. `notes` say what the reader met that is no failure (values of kept columns that did not fit, files
    that are no rows), a sentence each.
    """

    n_rows: int
    n_predictions: int
    n_failures: int
    seconds: float
    out: Path | None = None
    failures_out: Path | None = None
    table: pa.Table | None = None
    failures: tuple[Failure, ...] = ()
    units: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def crystals_per_second(self) -> float:
        """Rows of input per second."""
        return self.n_rows / self.seconds if self.seconds > 0 else 0.0

    @property
    def account(self) -> str:
        """One line: `N rows in: M predictions, K failures (see FILE)`."""
        line = f"{self.n_rows:,} rows in: {self.n_predictions:,} predictions, {self.n_failures:,} failures"
        return f"{line} (see {self.failures_out})" if self.failures_out and self.n_failures else line


class FailuresError(ValueError):
    """Raised by `screen(..., strict=True)` when rows failed; the output is complete, `result` the account."""

    def __init__(self, result: ScreenResult) -> None:
        super().__init__(f"strict: {result.n_failures:,} of {result.n_rows:,} rows failed")
        self.result = result
