"""What a study found: the table of its trials, and what tune() returns."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cgfast.models import PropertyModel
    from cgfast.training.options import TrainOptions


class TrialRow(NamedTuple):
    """A trial that ended. state: complete, pruned, diverged, or impossible (options that cannot train; see reason).

    score: the lowest validation score, reached at best_epoch of `epochs`, None without an epoch; errors: the validation
    errors there, as in a training's metrics.csv. options: the searched ones. seconds: of training.
    """

    number: int
    state: str
    score: float | None
    best_epoch: int | None
    epochs: int
    options: dict[str, Any]
    errors: dict[str, float]
    seconds: float
    reason: str


class TrialReport(NamedTuple):
    """What is known after a trial. done: trials that ended, of `trials`; best: the best complete one so far, if there is one.

    seconds_left: guessed from the trials of this call.
    """

    trial: TrialRow
    done: int
    trials: int
    best: TrialRow | None
    seconds: float
    seconds_left: float


@dataclass(frozen=True, slots=True)
class TuningResult:
    """What a study found, judged by the validation part alone.

    best_options: the searched options of the best trial, options: all of them. best_score: its validation score: the mean
    absolute error in units of the labels' spread (for classes the cross entropy), summed over the targets. model: the best
    model, also on disk in `folder`. metrics: of that model on the test part (`part`; "val" where there is no test), output
    column -> name -> value. trials: by number. n_done of n_trials trials have ended. notes: sentences worth reading.
    """

    best_options: dict[str, Any]
    options: TrainOptions
    best_score: float
    best_trial: int
    model: PropertyModel
    folder: Path
    metrics: dict[str, dict[str, float | None]]
    part: str
    trials: tuple[TrialRow, ...]
    n_done: int
    n_trials: int
    study: Path
    table: Path
    report: Path
    seconds: float
    notes: tuple[str, ...] = field(default=())


def best_of(rows: Sequence[TrialRow]) -> TrialRow | None:
    """The complete trial with the lowest score, the first of equals; None if none is complete."""
    complete = [row for row in rows if row.state == "complete" and row.score is not None]
    return min(complete, key=lambda row: (row.score, row.number), default=None)


def table_text(rows: Sequence[TrialRow]) -> str:
    """The trials as CSV."""
    options = sorted({name for row in rows for name in row.options})
    errors = list(dict.fromkeys(name for row in rows for name in row.errors))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("trial", "state", "val_score", "best_epoch", "epochs", *options, *errors, "seconds", "reason"))
    for row in rows:
        values = [row.options.get(name, "") for name in options] + [row.errors.get(name, "") for name in errors]
        told = ("none" if value is None else value for value in values)
        ends = ("" if value is None else value for value in (row.score, row.best_epoch))
        writer.writerow((row.number, row.state, *ends, row.epochs, *told, round(row.seconds, 3), row.reason))
    return text.getvalue()
