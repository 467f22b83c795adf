"""A whole training step on 256 real crystals: forward, mean squared error, backward, Adam.

Before anything is timed, the losses of the first two steps are compared with the peer's: the first tells that
the networks agree, the second that their gradients and updates do.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

import pytest
import torch

from benchmarks import networks
from cgfast._native import native_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.conftest import Measure

BUDGET, PATIENCE = 2.0, 6.0  # seconds for the rounds of one benchmark; what three rounds may take
SIZE = f"{networks.N_CRYSTALS} crystals, {networks.N_LAYERS} layers, F {networks.F}"


@functools.lru_cache(maxsize=2)
def first_losses(peer: Callable[..., networks.Trainer]) -> list[float]:
    """Losses of the first two steps of a peer, denormals out of the way."""
    trainer = peer(fair=True)
    return [trainer(), trainer()]


@contextlib.contextmanager
def train_threads(threads: int) -> Iterator[None]:
    """All threads for native code, one for torch."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with native_threads(threads):
            yield
    finally:
        torch.set_num_threads(before)


class Contest:
    group: str
    oracle: Callable[..., networks.Trainer]

    def time(self, measure: Measure, role: str, trainer: networks.Trainer, threads: int) -> None:
        first, second = first_losses(self.oracle)
        assert trainer() == pytest.approx(first, rel=1e-5)

        def check(loss: float) -> None:
            # Adam's first step is as large for a gradient of rounding as for any other: hence the wider limit.
            assert loss == pytest.approx(second, rel=1e-3)
            assert abs(second - first) > 0.05 * first, "the first step must matter, or the second loss says nothing"

        measure(
            trainer,
            check=check,
            group=self.group,
            role=role,
            items=networks.N_CRYSTALS,
            unit="crystals/s",
            threads=threads,
            budget=BUDGET,
            patience=PATIENCE,
        )


class TestNetwork2018(Contest):
    group = f"training step, 2018 network, {SIZE}"
    oracle = staticmethod(networks.code_2018)

    def test_cgfast(self, threads: int, measure: Measure) -> None:
        self.time(measure, "cgfast", networks.cgfast_2018(), threads)

    def test_cgfast_as_train_runs_it(self, threads: int, measure: Measure) -> None:
        with train_threads(threads):
            self.time(measure, "cgfast, threads as in cgfast.train", networks.cgfast_2018(), threads)

    def test_2018_code(self, setting: str, threads: int, measure: Measure) -> None:
        self.time(measure, f"2018 code, {setting}", networks.code_2018(fair=setting == "fair"), threads)


class TestNetworkOfPyG(Contest):
    group = f"training step, PyG network of CGConv, {SIZE}"
    oracle = staticmethod(networks.pyg)

    @pytest.mark.parametrize("form", ["distances", "dense"])
    def test_cgfast(self, form: str, threads: int, measure: Measure) -> None:
        role = "cgfast" if form == "distances" else "cgfast, edge_attr given"
        self.time(measure, role, networks.pyg_with_cgfast(dense=form == "dense"), threads)

    def test_cgfast_as_train_runs_it(self, threads: int, measure: Measure) -> None:
        with train_threads(threads):
            trainer = networks.pyg_with_cgfast(dense=False)
            self.time(measure, "cgfast, threads as in cgfast.train", trainer, threads)

    def test_pyg(self, setting: str, threads: int, measure: Measure) -> None:
        self.time(measure, f"PyG, {setting}", networks.pyg(fair=setting == "fair"), threads)
