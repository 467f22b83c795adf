"""One step of training and of validation, as Lightning calls them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningModule
from torch.optim.lr_scheduler import ReduceLROnPlateau

from cgfast.training.feed import TrainingBatch
from cgfast.training.optimizers import make_optimizer, make_schedule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from cgfast.models.catalogue import Target
    from cgfast.nn import CGCNN
    from cgfast.training.losses import TaskLoss
    from cgfast.training.options import TrainOptions
    from cgfast.training.targets import Scale


_RANK_STRIDE = 2_654_435_761  # torch reads 32 bits of a seed: far apart in these


class DivergedError(ValueError):
    """The loss is no number any more."""


class TrainingModule(LightningModule):
    """A network with its loss and its optimiser. n_steps: of the whole run, for schedules that go by steps.

    Errors are summed over a pass and divided once, so that the last, smaller batch counts by its crystals. Random numbers of
    an epoch (order, dropout) are a function of seed and epoch alone: a run that goes on gives the bits of one that never
    stopped.
    """

    def __init__(
        self,
        network: CGCNN,
        loss: TaskLoss,
        options: TrainOptions,
        targets: Sequence[Target],
        scale: Scale,
        seed: int,
        n_steps: int,
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.options = options
        self.targets = tuple(targets)
        self.scale = scale
        self.seed = seed
        self.n_steps = n_steps
        self._dtype = compute_dtype(options)

    def transfer_batch_to_device(self, batch: TrainingBatch, device: torch.device, dataloader_idx: int) -> TrainingBatch:
        """Move a batch; the graph knows how."""
        del dataloader_idx
        if device.type == "cpu":
            return batch
        return TrainingBatch(batch.graph.to(device), batch.labels.to(device), batch.totals.to(device))

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - what Lightning takes
        """Optimiser and schedule."""
        optimizer = make_optimizer(self.network.parameters(), self.options)
        schedule = make_schedule(optimizer, self.options, self.n_steps)
        return optimizer if schedule is None else {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_train_epoch_start(self) -> None:
        """Random numbers start anew, others in each process: it has other crystals to drop features of."""
        torch.manual_seed((self.seed * 1_000_003 + self.current_epoch + self.global_rank * _RANK_STRIDE) % 2**63)
        if not any(p.requires_grad for p in self.network.convs.parameters()):
            self.network.convs.eval()  # frozen: their batch norms keep their statistics
        self._loss_sum = torch.zeros((), device=self.device)
        self._n_steps_done = 0

    def training_step(self, batch: TrainingBatch, index: int) -> Tensor:
        """The loss of a batch; Lightning takes the step."""
        loss = self._loss_of(self._out(batch), batch)
        if self.trainer.world_size == 1 and not bool(torch.isfinite(loss)):
            raise DivergedError(self._diverged(f"step {index + 1} of epoch {self.current_epoch + 1}"))
        self._loss_sum += loss.detach().float()
        self._n_steps_done += 1
        # Gradients of the processes are averaged, the loss is their sum.
        return loss * self.trainer.world_size

    def _out(self, batch: TrainingBatch) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.precision == "bf16"):
            out: Tensor = self.network(batch.graph)
        return out.to(self._dtype)

    def _loss_of(self, out: Tensor, batch: TrainingBatch) -> Tensor:
        loss: Tensor = self.loss(out, batch.labels, batch.totals)
        return loss

    def _diverged(self, when: str) -> str:
        rate = self.options.learning_rate
        return f"the loss is not a number any more in {when}: try a lower learning_rate than {rate:g}, or clip=1"

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:  # noqa: ANN401 - Lightning's
        """Lightning steps a plateau schedule behind the callbacks, where no checkpoint of the epoch would know of it."""
        if not isinstance(scheduler, ReduceLROnPlateau):
            super().lr_scheduler_step(scheduler, metric)

    def on_train_epoch_end(self) -> None:
        """Step a plateau schedule, before the epoch is saved."""
        for config in self.trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, ReduceLROnPlateau):
                config.scheduler.step(float(self.trainer.callback_metrics["val_score"]))

    def mean_loss(self) -> float:
        """The mean loss of the epoch's steps, over all processes. Raises DivergedError if it is no number."""
        loss = float(self._joint(self._loss_sum)) / max(self._n_steps_done, 1)
        if not math.isfinite(loss):
            raise DivergedError(self._diverged(f"epoch {self.current_epoch + 1}"))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Errors are summed from zero, per target: errors, labels."""
        self._errors = torch.zeros(len(self.targets), 2, dtype=torch.float64, device=self.device)
        self._scores = torch.zeros(len(self.targets), dtype=torch.float64, device=self.device)

    def validation_step(self, batch: TrainingBatch, index: int) -> None:
        """Add a batch's errors: absolute ones in the target's unit, for classes the number of wrong answers."""
        del index
        out = self._out(batch).double()
        for t, column in enumerate(self.loss.columns):
            labels = batch.labels[:, t].double()
            known = ~torch.isnan(labels)
            found, truth = out[known, column.start : column.stop], labels[known]
            if column.classified:
                error = (found.argmax(dim=1) != truth.long()).double()
                score = torch.nn.functional.cross_entropy(found, truth.long(), reduction="none")
            else:
                score = (found[:, 0] - truth).abs()
                error = score * self.scale.std[t]
            self._errors[t] += torch.stack([error.sum(), known.sum().double()])
            self._scores[t] += score.sum()

    def on_validation_epoch_end(self) -> None:
        """Log each target's error and their sum in units of the labels' spread, which chooses the best epoch.

        A target without a label in the validation part has no error. Loggers hear of all at once, see History. Raises
        DivergedError if a score is no number.
        """
        errors, scores = self._joint(self._errors), self._joint(self._scores)
        counts = errors[:, 1].clamp(min=1)
        if not bool(torch.isfinite(scores).all()):
            raise DivergedError(self._diverged(f"the validation of epoch {self.current_epoch + 1}"))
        for target, error, known in zip(self.targets, (errors[:, 0] / counts).tolist(), errors[:, 1].tolist(), strict=True):
            if known:
                self.log(f"val_{error_name(target)}", error, logger=False)
        self.log("val_score", (scores / counts).sum().float(), logger=False)

    def _joint(self, values: Tensor) -> Tensor:
        """The sum over the data-parallel processes."""
        if self.trainer.world_size == 1:
            return values
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total


def compute_dtype(options: TrainOptions) -> torch.dtype:
    """What weights and labels are held in (bf16 is for the products only)."""
    return torch.float64 if options.precision == "64" else torch.float32


def error_name(target: Target) -> str:
    """What the validation error of a target is called: `<column>_mae`, or `<column>_error_rate` for classes."""
    return f"{target.column}_{'mae' if target.classes is None else 'error_rate'}"
