"""The loss of several targets, some numbers and some classes, with labels missing here and there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from cgfast.models.catalogue import Target


class Column(NamedTuple):
    """Where a target is in the network's output: columns start:stop (one for a number, two for classes)."""

    start: int
    stop: int
    classified: bool


def output_columns(targets: Sequence[Target]) -> list[Column]:
    """The columns of each target, one behind the other."""
    columns: list[Column] = []
    start = 0
    for target in targets:
        stop = start + (1 if target.classes is None else len(target.classes))
        columns.append(Column(start, stop, target.classes is not None))
        start = stop
    return columns


class TaskLoss(torch.nn.Module):
    """The sum over targets of each target's mean loss over the labels that are there.

    kind: "l1", "mse" or "huber" (of huber_delta, divided by it, so that it is l1 far out) for numbers; classes have the
    cross-entropy, weighted by class_weights (per target, None: ones) and divided by the sum of the weights, as in torch.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        kind: str,
        huber_delta: float,
        class_weights: Sequence[tuple[float, ...] | None],
    ) -> None:
        super().__init__()
        self.columns = output_columns(targets)
        self.kind = kind
        self.huber_delta = huber_delta
        self.class_weights = list(class_weights)

    def weights(self, labels: Tensor) -> Tensor:
        """(B, T) how much each label counts: 0 where it is missing, its class's weight, else 1."""
        known = ~torch.isnan(labels)
        weights = known.to(labels.dtype)
        for index, of_class in enumerate(self.class_weights):
            if of_class is not None:
                codes = torch.where(known[:, index], labels[:, index], 0.0).long()
                weights[:, index] *= labels.new_tensor(of_class)[codes]
        return weights

    def forward(self, out: Tensor, labels: Tensor, totals: Tensor) -> Tensor:
        """out: (B, C), labels: (B, T), NaN: missing, totals: (T,) sum of weights() over the joint batch. Returns ()."""
        weights = self.weights(labels)
        losses = []
        for index, column in enumerate(self.columns):
            goal = torch.nan_to_num(labels[:, index])
            # where(): what is said without a label must turn neither loss nor gradient into NaN
            said = torch.where(torch.isnan(labels[:, index : index + 1]), 0.0, out[:, column.start : column.stop])
            each = self._each(said, goal, column) * weights[:, index]
            losses.append(each.sum() / totals[index].clamp(min=torch.finfo(totals.dtype).tiny))
        return torch.stack(losses).sum()

    def _each(self, out: Tensor, goal: Tensor, column: Column) -> Tensor:
        if column.classified:
            return functional.cross_entropy(out, goal.long(), reduction="none")
        if self.kind == "huber":
            huber = functional.huber_loss(out[:, 0], goal, reduction="none", delta=self.huber_delta)
            return huber / self.huber_delta
        error = out[:, 0] - goal
        return error.abs() if self.kind == "l1" else error * error
