"""Schedules of every length, and the momentum that was asked for."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from cgfast.training import TrainOptions
from cgfast.training.optimizers import make_optimizer, make_schedule


def run(options: TrainOptions, n_steps: int) -> tuple[list[float], list[dict]]:
    """The rate of each step, and the other settings of the optimiser in it."""
    optimizer = make_optimizer([torch.nn.Parameter(torch.ones(1))], options)
    schedule = make_schedule(optimizer, options, n_steps)["scheduler"]
    rates, groups = [], []
    for _ in range(n_steps):
        group = optimizer.param_groups[0]
        rates.append(float(group["lr"]))
        groups.append({name: value for name, value in group.items() if name in ("momentum", "betas")})
        optimizer.step()
        schedule.step()
    return rates, groups


def one_cycle(n_steps: int, rate: float) -> list[float]:
    """By hand: up from a tenth in a tenth of the steps, then down to a ten-thousandth, both as half a cosine."""
    top = 0.1 * n_steps - 1
    rates = []
    for step in range(n_steps):
        a, b, x = (rate / 10, rate, step / top) if step <= top else (rate, rate / 1e4, (step - top) / (n_steps - 1 - top))
        rates.append(b + (a - b) / 2 * (1 + math.cos(math.pi * x)))
    return rates


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("n_steps", [20, 21, 99, 1000])
def test_one_cycle(n_steps: int, optimizer: str) -> None:
    rates, _ = run(TrainOptions(optimizer=optimizer, learning_rate=0.03), n_steps)
    np.testing.assert_allclose(rates, one_cycle(n_steps, 0.03), rtol=1e-9)


@pytest.mark.parametrize("n_steps", range(1, 40))
def test_one_cycle_of_a_few_steps(n_steps: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rates, _ = run(TrainOptions(learning_rate=0.03), n_steps)
    assert rates[0] == pytest.approx(0.003)
    assert all(0 < rate <= 0.03 * (1 + 1e-12) for rate in rates)
    if n_steps > 2:
        assert max(rates) == pytest.approx(0.03, rel=0.05)
        assert rates[-1] == pytest.approx(0.03 / 1e4)
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_the_schedule_of_a_long_run() -> None:
    """A run that is going on somewhere has these numbers: 88,200 steps at 0.01."""
    optimizer = make_optimizer([torch.nn.Parameter(torch.ones(1))], TrainOptions())
    state = make_schedule(optimizer, TrainOptions(), 88_200)["scheduler"].state_dict()
    assert state["total_steps"] == 88_200
    assert [phase["end_step"] for phase in state["_schedule_phases"]] == [8819.0, 88_199]


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("schedule", ["onecycle", "cosine", "plateau"])
def test_sgd_has_the_momentum_that_was_asked_for(schedule: str, momentum: float) -> None:
    options = TrainOptions(optimizer="sgd", schedule=schedule, momentum=momentum)
    optimizer = make_optimizer([torch.nn.Parameter(torch.ones(1))], options)
    scheduler = make_schedule(optimizer, options, 100)["scheduler"]
    for _ in range(100):
        assert optimizer.param_groups[0]["momentum"] == momentum
        optimizer.step()
        scheduler.step(*([1.0] if schedule == "plateau" else []))


def test_adamw_cycles_its_first_beta() -> None:
    _, groups = run(TrainOptions(), 100)
    betas = [group["betas"][0] for group in groups]
    assert betas[0] == pytest.approx(0.95)
    assert min(betas) == pytest.approx(0.85)
    assert betas[-1] == pytest.approx(0.95)
