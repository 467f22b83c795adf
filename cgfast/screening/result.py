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
    """How far a job is: rows done, rows in all (None if unknown), failures among them, seconds spent.

    `resumed` of the rows were done by an earlier run.
    """

    rows: int
    n_rows: int | None
    failures: int
    seconds: float
    resumed: int = 0

    @property
    def crystals_per_second(self) -> float:
        """Rows done per second so far, without those of an earlier run."""
        return (self.rows - self.resumed) / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class ScreenResult:
    """The account of a job: `n_rows` = `n_predictions` + `n_failures`, always.

    `seconds` counts from the first read to the finished file, without loading the models. `table` holds the
    rows kept in memory: the best with `top`, else the predictions when there is no `out`, else None.
    `failures` are the first ten; all of them are in the file `failures_out`. `units` gives the unit of each
    prediction column. `notes` say what the reader met that is no failure (values of kept columns that did not fit, files
    that are no rows), a sentence each. `n_resumed` of the rows were done by an earlier run that was interrupted. `n_filtered`
    of the predictions were left out by `where` and `best_of` (None without them).
    `flags` counts the predictions with each word of the column of that name, those with none as "ok".
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
    n_resumed: int = 0
    flags: dict[str, int] = field(default_factory=dict)
    n_filtered: int | None = None

    @property
    def n_selected(self) -> int:
        """Predictions in `out`, or that `table` was taken from: all of them without `where` and `best_of`."""
        return self.n_predictions - (self.n_filtered or 0)

    @property
    def crystals_per_second(self) -> float:
        """Rows of input per second, without those of an earlier run."""
        return (self.n_rows - self.n_resumed) / self.seconds if self.seconds > 0 else 0.0

    @property
    def flagged(self) -> str:
        """One line: `flags: few_neighbors 12, unseen_element 3`; empty where there is nothing to remark."""
        words = [f"{word} {n:,}" for word, n in self.flags.items() if word != "ok"]
        return f"flags: {', '.join(words)}" if words else ""

    @property
    def account(self) -> str:
        """One line: `N rows in: M predictions, K failures (see FILE)`."""
        selected = "" if self.n_filtered is None else f"{self.n_selected:,} selected of "
        line = f"{self.n_rows:,} rows in: {selected}{self.n_predictions:,} predictions, {self.n_failures:,} failures"
        return f"{line} (see {self.failures_out})" if self.failures_out and self.n_failures else line


class FailuresError(ValueError):
    """Raised by `screen(..., strict=True)` when rows failed; the output is complete, `result` the account."""

    def __init__(self, result: ScreenResult) -> None:
        super().__init__(f"strict: {result.n_failures:,} of {result.n_rows:,} rows failed")
        self.result = result
