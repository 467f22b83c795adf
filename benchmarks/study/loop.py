"""Training for a given time, or a given number of epochs: the recipe of the preset "fast"."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from cgfast._native import native_threads
from cgfast.training.batches import BatchPlan

if TYPE_CHECKING:
    from cgfast.graph_store import GraphStore

BATCH, RATE, DECAY = 64, 0.01, 0.01


@dataclass
class Data:
    """Graphs, labels in units of the training part's spread, and the three parts."""

    store: GraphStore
    labels: np.ndarray
    std: float
    parts: np.ndarray
    unit: str = ""

    def indices(self, part: int) -> np.ndarray:
        return np.flatnonzero(self.parts == part)


@dataclass
class Curve:
    """Validation error by seconds of training, and the test error at the end."""

    seconds: list[float] = field(default_factory=list)
    val: list[float] = field(default_factory=list)
    train: list[float] = field(default_factory=list)
    test: float = float("nan")
    epochs: int = 0


def step_epoch(network: nn.Module, data: Data, batches: list[np.ndarray], optimizer, scheduler) -> float:
    network.train()
    total = 0.0
    for indices in batches:
        goal = torch.from_numpy(data.labels[indices]).float()
        loss = (network(data.store.batch(indices))[:, 0] - goal).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        total += float(loss)
    return total / len(batches)


def error(network: nn.Module, data: Data, part: int) -> float:
    network.eval()
    errors = []
    with torch.no_grad():
        for indices in np.array_split(data.indices(part), max(len(data.indices(part)) // 256, 1)):
            out = network(data.store.batch(indices))[:, 0].numpy()
            errors.append(np.abs(out - data.labels[indices]))
    return float(np.concatenate(errors).mean() * data.std)


def train(network: nn.Module, data: Data, *, epochs: int, seed: int, threads: int) -> Curve:
    """One cycle over `epochs`. Only training counts as time, not the measuring of errors."""
    indices = data.indices(0)
    plan = BatchPlan(indices, np.ones(len(indices), np.int64), BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    steps = plan.n_batches(seed, epochs)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1, div_factor=10)
    curve, spent = Curve(epochs=epochs), 0.0
    with native_threads(threads):
        for epoch in range(epochs):
            began = time.perf_counter()
            loss = step_epoch(network, data, plan.epoch(seed, epoch), optimizer, scheduler)
            spent += time.perf_counter() - began
            curve.seconds.append(spent)
            curve.train.append(loss * data.std)
            curve.val.append(error(network, data, 1))
    curve.test = error(network, data, 2)
    return curve


def seconds_per_epoch(network: nn.Module, data: Data, threads: int) -> float:
    """Measured on a copy that is thrown away: the second of two epochs."""
    import copy

    twin = copy.deepcopy(network)
    return np.diff([0.0, *train(twin, data, epochs=2, seed=0, threads=threads).seconds])[1]
