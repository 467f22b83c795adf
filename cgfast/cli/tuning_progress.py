"""What a study shows while it runs and when it is done."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cgfast.cli.metrics_table import metrics_table
from cgfast.cli.progress import duration
from cgfast.cli.training_progress import WIDTH, TrainingConsole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cgfast.training.callbacks import EpochReport
    from cgfast.training.prepare import Prepared
    from cgfast.tuning import TrialReport, TrialRow, TuningResult


class TuningConsole:
    """A line per trial, on a terminal also one for its epochs (in place); the result on stdout."""

    def __init__(self) -> None:
        self._training = TrainingConsole()
        self._log = Console(stderr=True, highlight=False)
        self._status = self._log.status("starting") if self._log.is_terminal else None
        self._done = 0

    @contextlib.contextmanager
    def running(self, folder: Path) -> Iterator[None]:
        """Live while the context lasts; says after Ctrl-C how to go on."""
        try:
            with self._status or contextlib.nullcontext():
                yield
        except KeyboardInterrupt as error:
            there = (folder / "study.sqlite3").is_file()
            saved = f"every trial and epoch is saved; go on with: cgfast tune --resume {folder}"
            msg = f"interrupted; {saved if there else 'nothing was written'}"
            raise KeyboardInterrupt(msg) from error

    def start(self, prepared: Prepared) -> None:
        """What will be trained on."""
        self._training.start(prepared)

    def epoch(self, report: EpochReport) -> None:
        """An epoch of a trial is done."""
        if self._status is not None:
            self._status.update(Text(f"trial {self._done + 1}, {self._training.line(report)} in this trial"))

    def trial(self, report: TrialReport) -> None:
        """A trial has ended."""
        self._done = report.done
        row, best = report.trial, report.best
        why = f": {row.reason}" if row.reason else ""
        parts = [f"trial {row.number} {row.state}{why} ({report.done} of {report.trials} done)"]
        if row.score is not None:
            parts.append(f"val score {row.score:.4f}{_errors(row)}")
        parts.append(", ".join(f"{name}={_short(value)}" for name, value in row.options.items()))
        if best is not None and best.score is not None:
            parts.append("the best so far" if best.number == row.number else f"best {best.score:.4f} (trial {best.number})")
        parts.append(f"{duration(report.seconds_left)} left")
        self._log.print(Text("; ".join(parts)), soft_wrap=True)

    def done(self, result: TuningResult) -> None:
        """The best options, how good their model is, and where it all is."""
        out = Console(highlight=False)
        out = out if out.is_terminal else Console(highlight=False, width=WIDTH)
        options = Table(box=SIMPLE, title=f"best trial: {result.best_trial}", title_justify="left", pad_edge=False)
        options.add_column("option")
        options.add_column("value", justify="right")
        for name, value in result.best_options.items():
            options.add_row(name, _short(value))
        out.print(options)
        out.print(metrics_table(result.model.targets, result.metrics, result.part))
        states = [row.state for row in result.trials]
        counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        account = f"{result.n_done} of {result.n_trials} trials ({counts}) in {duration(result.seconds)}"
        for line in (
            f"{account}; best validation score {result.best_score:.4f}",
            f"wrote the best model to {result.folder}, the trials to {result.table}, the report to {result.report}",
        ):
            out.print(Text(line), soft_wrap=True)


def _errors(row: TrialRow) -> str:
    told = ", ".join(f"{name.removeprefix('val_')} {value:.4f}" for name, value in row.errors.items())
    return f" ({told})" if told else ""


def _short(value: Any) -> str:  # noqa: ANN401 - the value of an option
    return f"{value:.4g}" if isinstance(value, float) else "none" if value is None else str(value)
