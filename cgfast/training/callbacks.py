"""What happens around the loop: the history that a run keeps, its running mean of weights, its checkpoints."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, EarlyStopping, WeightAveraging
from lightning.pytorch.plugins.io import TorchCheckpointIO

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning.pytorch import LightningModule, Trainer
    from torch import Tensor

    from cgfast.training.module import TrainingModule
    from cgfast.training.options import TrainOptions

LAST, BEST = "last.ckpt", "best.ckpt"


class EpochReport(NamedTuple):
    """What is known after an epoch.

    errors: name -> value, as in the history. learning_rate: of its last step. seconds: of training so far, over all stops.
    """

    epoch: int
    epochs: int
    member: int
    members: int
    train_loss: float
    val_score: float
    errors: dict[str, float]
    learning_rate: float
    crystals_per_second: float
    seconds: float
    seconds_left: float


class AtomicCheckpoints(TorchCheckpointIO):
    """Checkpoints that appear whole or not at all: a run killed while it writes keeps the one before."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ANN401
        """Write beside the file, then rename."""
        place = Path(path)
        partial = place.with_name(place.name + ".part")
        super().save_checkpoint(checkpoint, partial, storage_options)
        os.replace(partial, place)  # noqa: PTH105 - atomic


class History(Callback):
    """Collects a row per epoch, kept inside the checkpoint, and tells it on, also to the trainer's loggers."""

    def __init__(
        self, n_crystals: int, member: int, members: int, tell: Callable[[EpochReport, list[dict[str, float]]], None] | None
    ) -> None:
        self.rows: list[dict[str, float]] = []
        self.n_crystals = n_crystals
        self.member, self.members = member, members
        self._tell = tell
        self._began = time.perf_counter()
        self._rate = 0.0

    @property
    def seconds(self) -> float:
        """Seconds of training in the epochs that are done."""
        return self.rows[-1]["time_s"] if self.rows else 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Loggers hear of the options once."""
        if self.member == 0:
            for logger in trainer.loggers:
                logger.log_hyperparams(cast("TrainingModule", pl_module).options.to_dict())

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The clock of an epoch."""
        del trainer, pl_module
        self._began = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:  # noqa: ANN401
        """The rate of this step: at the end of the epoch the schedule has set that of the next."""
        del pl_module, batch, batch_idx
        self._rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the epoch: validation has run by now."""
        took = time.perf_counter() - self._began
        found = {name: float(value) for name, value in trainer.callback_metrics.items()}
        errors = {name: value for name, value in found.items() if name != "val_score"}
        loss = cast("TrainingModule", pl_module).mean_loss()
        row = {"epoch": trainer.current_epoch + 1, "train_loss": loss, "val_score": found["val_score"], **errors}
        self.rows.append(row | {"learning_rate": self._rate, "time_s": self.seconds + took})
        prefix = f"member_{self.member}/" if self.members > 1 else ""
        for logger in trainer.loggers:
            logger.log_metrics({prefix + name: value for name, value in self.rows[-1].items()}, len(self.rows))
            logger.save()
        if self._tell is not None and trainer.is_global_zero:
            epochs = trainer.max_epochs or 0
            left = self.seconds / len(self.rows) * (epochs - len(self.rows))
            self._tell(
                EpochReport(
                    len(self.rows),
                    epochs,
                    self.member,
                    self.members,
                    loss,
                    found["val_score"],
                    errors,
                    self._rate,
                    self.n_crystals / took,
                    self.seconds,
                    left,
                ),
                self.rows,
            )

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.rows = list(state_dict["rows"])


class Checkpoints(Checkpoint):
    """Saves the last epoch, to go on from, and the one with the best validation score."""

    def __init__(self, folder: Path, history: History) -> None:
        self._folder = folder
        self._history = history

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning calls this after all other callbacks, so a checkpoint holds their new state."""
        del pl_module
        scores = [row["val_score"] for row in self._history.rows]
        if scores[-1] < min(scores[:-1], default=math.inf):
            trainer.save_checkpoint(self._folder / BEST)
        trainer.save_checkpoint(self._folder / LAST)


def running_mean(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor], None]:
    """Exponential mean of weights whose memory grows with the steps done, so that the beginning is soon forgotten."""

    @torch.no_grad()
    def update(mean: list[Tensor], now: list[Tensor], n_averaged: Tensor) -> None:
        if not mean[0].is_floating_point():  # counters
            torch._foreach_copy_(mean, now)
            return
        done = float(n_averaged)
        torch._foreach_lerp_(mean, now, 1.0 - min(decay, (1.0 + done) / (10.0 + done)))

    return update


def make_callbacks(options: TrainOptions, folder: Path, history: History) -> list[Callback]:
    """History, running mean of weights, early stopping, checkpoints."""
    callbacks: list[Callback] = [history, Checkpoints(folder, history)]
    if options.average > 0:
        callbacks.append(WeightAveraging(multi_avg_fn=running_mean(options.average)))
    if options.patience is not None:
        callbacks.append(EarlyStopping("val_score", patience=options.patience, check_on_train_epoch_end=True))
    return callbacks
