"""One trial: a training whose scores go to the study, which may end it early."""

from __future__ import annotations

import csv
import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState

from cgfast.screening.failures import describe_error
from cgfast.training.module import DivergedError
from cgfast.training.run import run_plan
from cgfast.training.run_folder import HISTORY, RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import optuna

    from cgfast.io.labelled import LabelledCrystals
    from cgfast.training.callbacks import EpochReport
    from cgfast.training.run_folder import RunPlan
    from cgfast.tuning.graphs import SharedData

COMPLETE, PRUNED, DIVERGED, IMPOSSIBLE = "complete", "pruned", "diverged", "impossible"
SCORE = "val_score"
_NOT_ERRORS = ("epoch", "train_loss", SCORE, "learning_rate", "time_s")


class TimeUpError(Exception):
    """The time of the call is over; the trial goes on in the next call."""


class _PrunedError(Exception):
    """The trial is worse than half of those before it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a trial ended: complete, pruned, diverged or impossible (its options do not go together or cannot train), and why.

    score: lowest validation score, at best_epoch; errors: the validation errors there. None and empty without an epoch.
    """

    state: str
    score: float | None
    best_epoch: int | None
    epochs: int
    seconds: float
    errors: dict[str, float] = field(default_factory=dict)
    reason: str = ""

    @classmethod
    def of(cls, state: str, rows: Sequence[Mapping[str, float]], reason: str = "") -> Outcome:
        """From the rows of a history."""
        known = [row for row in rows if math.isfinite(row[SCORE])]
        if not known:
            return cls(state, None, None, len(rows), rows[-1]["time_s"] if rows else 0.0, {}, reason)
        best = min(known, key=lambda row: row[SCORE])
        errors = {name: value for name, value in best.items() if name not in _NOT_ERRORS}
        return cls(state, best[SCORE], int(best["epoch"]), len(rows), rows[-1]["time_s"], errors, reason)


def run_trial(
    trial: optuna.Trial,
    plan: RunPlan,
    place: Path,
    data: LabelledCrystals,
    shared: SharedData,
    *,
    prune: bool,
    deadline: float,
    on_epoch: Callable[[EpochReport], None] | None,
) -> Outcome:
    """Train with the options of a trial in the folder `place`, from where a run in it is.

    deadline: by time.monotonic(), math.inf for none. Raises TimeUpError behind it, InterruptedRunError after Ctrl-C, and
    ValueError for a folder that cannot be written.
    """
    try:
        plan = replace(plan, options=replace(plan.options, **trial.params))
    except ValueError as error:
        return Outcome.of(IMPOSSIBLE, [], str(error))
    watch = _Watch(trial, place / HISTORY, prune=prune, deadline=deadline, tell=on_epoch)
    try:
        result = run_plan(plan, RunFolder(place), data, on_start=None, on_epoch=watch, prepared=shared)
    except _PrunedError as error:
        return Outcome.of(PRUNED, read_rows(place / HISTORY), str(error))
    except DivergedError as error:
        # What is said on top, that a model is left, is not for long.
        first = error.__cause__ if isinstance(error.__cause__, DivergedError) else error
        return Outcome.of(DIVERGED, read_rows(place / HISTORY), str(first))
    except (ValueError, ArithmeticError) as error:
        if isinstance(error.__cause__, OSError):  # a full disk, a folder in use: no fault of the options
            raise
        return Outcome.of(IMPOSSIBLE, read_rows(place / HISTORY), describe_error(error))
    watch.report(result.history)
    return Outcome.of(COMPLETE, result.history)


def finish(study: optuna.Study, trial: optuna.Trial, outcome: Outcome, name: str) -> None:
    """Write the end of a trial to the database. name: of the attribute that keeps the outcome."""
    kept: dict[str, Any] = {
        "state": outcome.state,
        "score": outcome.score,
        "best_epoch": outcome.best_epoch,
        "epochs": outcome.epochs,
    }
    kept |= {"seconds": outcome.seconds, "errors": outcome.errors, "reason": outcome.reason}
    trial.set_user_attr(name, kept)
    if outcome.state == COMPLETE:
        study.tell(trial, outcome.score)
    else:
        study.tell(trial, state=TrialState.PRUNED)


def read_rows(path: Path) -> list[dict[str, float]]:
    """The rows of a `metrics.csv`; none if there is none."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    except FileNotFoundError:
        return []


@dataclass(slots=True)
class _Watch:
    """Called after every epoch: tells the study, and ends what is not worth going on with."""

    trial: optuna.Trial
    history: Path
    prune: bool
    deadline: float
    tell: Callable[[EpochReport], None] | None
    _reported: set[int] = field(default_factory=set)

    def __call__(self, report: EpochReport) -> None:
        if not math.isfinite(report.val_score):
            msg = f"the validation score is not a number any more in epoch {report.epoch}"
            raise DivergedError(msg)
        # The file has this epoch, and those before that a trial takes over from an interrupted one.
        self.report(read_rows(self.history) if not self._reported else [{"epoch": report.epoch, SCORE: report.val_score}])
        if self.tell is not None:
            self.tell(report)
        if report.epoch == report.epochs:
            return
        if self.prune and self.trial.should_prune():
            msg = f"after epoch {report.epoch} of {report.epochs} worse than the median of the trials before"
            raise _PrunedError(msg)
        if time.monotonic() >= self.deadline:
            raise TimeUpError

    def report(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Give the study the scores that it does not know yet."""
        for row in rows:
            epoch = int(row["epoch"])
            if epoch not in self._reported:
                self._reported.add(epoch)
                self.trial.report(row[SCORE], epoch)
