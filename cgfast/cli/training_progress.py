"""What a training shows while it runs and when it is done."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from cgfast.cli.metrics_table import metrics_table
from cgfast.cli.progress import duration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cgfast.training import TrainingResult
    from cgfast.training.callbacks import EpochReport
    from cgfast.training.prepare import Prepared

LINE_SECONDS = 30.0  # a log hears that often; a terminal after every epoch
WIDTH = 240


class TrainingConsole:
    """One line per epoch on a terminal (in place), now and then one elsewhere; the result on stdout."""

    def __init__(self) -> None:
        self._log = Console(stderr=True, highlight=False)
        self._units: dict[str, str] = {}
        self._due = 0.0
        self._status = self._log.status("starting") if self._log.is_terminal else None

    @contextlib.contextmanager
    def running(self, folder: Path) -> Iterator[None]:
        """Live while the context lasts; says after Ctrl-C how to go on."""
        try:
            with self._status or contextlib.nullcontext():
                yield
        except KeyboardInterrupt as error:
            saved = (folder / "metrics.csv").is_file()
            how = f"go on with: cgfast train --resume {folder}" if (folder / "run.json").is_file() else "nothing was written"
            said = "every whole epoch is saved; " if saved else ""
            msg = f"interrupted; {said}{how}"
            raise KeyboardInterrupt(msg) from error

    def start(self, prepared: Prepared) -> None:
        """What will be trained on."""
        from cgfast.training.module import error_name
        from cgfast.training.prepare import describe_parts

        self._units = {f"val_{error_name(t)}": "" if t.classes else t.unit for t in prepared.targets}
        self._say(f"{describe_parts(prepared)}; {len(prepared.failures):,} of {prepared.n_rows:,} rows cannot be used")
        for note in prepared.notes:
            self._say(f"note: {note}")

    def epoch(self, report: EpochReport) -> None:
        """An epoch is done."""
        text = self.line(report)
        if self._status is not None:
            self._status.update(Text(text))
        now = time.monotonic()
        if self._status is None and (now >= self._due or report.epoch == report.epochs):
            self._due = now + LINE_SECONDS
            self._say(text)

    def line(self, report: EpochReport) -> str:
        """`epoch 12/300, loss 0.051, val MAE 0.0612 eV/atom, 3,900 crystals/s, 12:31 left`."""
        member = f"member {report.member + 1}/{report.members}, " if report.members > 1 else ""
        parts = [f"{member}epoch {report.epoch}/{report.epochs}", f"loss {report.train_loss:.4f}"]
        many = len(report.errors) > 1
        for name, value in report.errors.items():
            kind = "MAE" if name.endswith("_mae") else "error rate"
            column = name.removeprefix("val_").removesuffix("_mae").removesuffix("_error_rate")
            which = f" {column}" if many else ""
            parts.append(f"val {kind}{which} {value:.4f} {self._units.get(name, '')}".rstrip())
        rate = f"{report.crystals_per_second:,.0f} crystals/s"
        return ", ".join([*parts, rate, f"{duration(report.seconds_left)} left"])

    def done(self, result: TrainingResult) -> None:
        """The metrics, where the model is, and what became of the rows."""
        out = Console(highlight=False)
        out = out if out.is_terminal else Console(highlight=False, width=WIDTH)
        out.print(metrics_table(result.model.targets, result.metrics, result.part))
        out.print(Text(f"wrote the model to {result.folder} ({duration(result.seconds)})"), soft_wrap=True)
        account = f"{result.n_rows:,} rows in: {result.n_used:,} used, {result.n_failures:,} not (failures.csv)"
        out.print(Text(account), soft_wrap=True)

    def _say(self, text: str) -> None:
        self._log.print(Text(text), soft_wrap=True)
