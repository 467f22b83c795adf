"""Batches for the loop: graphs collated natively, with their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from lightning.pytorch import LightningDataModule

from cgfast.training.batches import share_of_process

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from lightning.pytorch import Trainer
    from numpy.typing import NDArray
    from torch import Tensor

    from cgfast.graph import CrystalGraph
    from cgfast.graph_store import GraphStore
    from cgfast.training.batches import BatchPlan
    from cgfast.training.losses import TaskLoss


class TrainingBatch(NamedTuple):
    """graph of B crystals, labels (B, T) normalised (NaN: missing), totals (T,): what the labels of the joint batch weigh."""

    graph: CrystalGraph
    labels: Tensor
    totals: Tensor


@dataclass(frozen=True, slots=True)
class Feed:
    """The batches of one pass, in order; with several data-parallel processes each gets its share of every batch.

    labels: (all crystals of the store, T) normalised. loss: says what a label weighs.
    """

    store: GraphStore
    labels: NDArray[np.float64]
    loss: TaskLoss
    dtype: torch.dtype
    batches: Sequence[NDArray[np.int64]]
    process: int = 0
    n_processes: int = 1

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[TrainingBatch]:
        for joint in self.batches:
            totals = self.loss.weights(torch.from_numpy(self.labels[joint])).sum(dim=0).to(self.dtype)
            own = share_of_process(joint, self.process, self.n_processes)
            labels = torch.from_numpy(self.labels[own]).to(self.dtype)
            yield TrainingBatch(self.store.batch(own), labels, totals)


class TrainingData(LightningDataModule):
    """The graphs and labels of a run, and the batches of its two parts, as Lightning asks for them.

    labels: (B, T) normalised. An epoch's order is a function of `seed` and the epoch alone.
    """

    def __init__(
        self,
        store: GraphStore,
        labels: NDArray[np.float64],
        train: BatchPlan,
        val: BatchPlan,
        *,
        loss: TaskLoss,
        dtype: torch.dtype,
        seed: int,
    ) -> None:
        super().__init__()
        self.store, self.labels, self.train, self.val = store, labels, train, val
        self.loss, self.dtype, self.seed = loss, dtype, seed

    def train_dataloader(self) -> Feed:
        """The batches of this epoch."""
        return self._feed(self.train.epoch(self.seed, self._trainer().current_epoch))

    def val_dataloader(self) -> Feed:
        """The batches of the validation part."""
        return self._feed(self.val.in_order())

    def _feed(self, batches: Sequence[NDArray[np.int64]]) -> Feed:
        trainer = self._trainer()
        rank, world = trainer.global_rank, trainer.world_size
        return Feed(self.store, self.labels, self.loss, self.dtype, batches, rank, world)

    def _trainer(self) -> Trainer:
        if self.trainer is None:
            msg = "no trainer is attached"
            raise RuntimeError(msg)
        return self.trainer
