"""Optimisers and schedules by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.optim import lr_scheduler

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cgfast.training.options import TrainOptions

# One cycle: warm-up for a tenth of the steps from a tenth of the rate, then down to a ten-thousandth of it.
_WARM_UP, _START, _END = 0.1, 10.0, 1e3


def make_optimizer(parameters: Iterable[torch.nn.Parameter], options: TrainOptions) -> torch.optim.Optimizer:
    """The optimiser that `options` name."""
    parameters = [p for p in parameters if p.requires_grad]
    rate, decay = options.learning_rate, options.weight_decay
    if options.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=options.momentum, weight_decay=decay)
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)


def make_schedule(optimizer: torch.optim.Optimizer, options: TrainOptions, n_steps: int) -> dict[str, Any] | None:
    """The schedule as Lightning takes it, for `n_steps` steps in all; None for a constant rate."""
    if options.schedule == "onecycle":
        n_steps = max(n_steps, 3)
        one = lr_scheduler.OneCycleLR(
            optimizer,
            options.learning_rate,
            total_steps=n_steps,
            pct_start=max(_WARM_UP, 2 / n_steps),  # a warm-up of no step would divide by zero
            div_factor=_START,
            final_div_factor=_END,
            cycle_momentum=options.optimizer != "sgd",  # which has a momentum of its own
        )
        return {"scheduler": one, "interval": "step"}
    if options.schedule == "cosine":
        return {"scheduler": lr_scheduler.CosineAnnealingLR(optimizer, T_max=options.epochs), "interval": "epoch"}
    if options.schedule == "multistep":
        milestones = list(options.milestones)
        return {"scheduler": lr_scheduler.MultiStepLR(optimizer, milestones, gamma=options.gamma), "interval": "epoch"}
    if options.schedule == "plateau":
        plateau = lr_scheduler.ReduceLROnPlateau(optimizer, factor=options.gamma, patience=max(options.epochs // 20, 5))
        return {"scheduler": plateau, "interval": "epoch", "monitor": "val_score"}
    return None
