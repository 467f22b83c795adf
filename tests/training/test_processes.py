"""Data-parallel processes: a joint batch is a joint batch, however many processes share it."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

pytest.importorskip("lightning")

import cgfast
from cgfast.models import Target
from cgfast.nn import CGCNN
from cgfast.training import TrainOptions
from cgfast.training.losses import TaskLoss
from cgfast.training.module import TrainingModule
from cgfast.training.targets import Scale

LABEL = "heat_all_eV_per_cell"


@pytest.fixture(scope="module")
def table(data, tmp_path_factory):
    """60 labelled perovskites in a file that every process can read."""
    whole = pq.read_table(data / "perov5.parquet")
    labelled = whole.filter(whole[LABEL].is_valid()).slice(0, 60)
    path = tmp_path_factory.mktemp("perov") / "perov.parquet"
    pq.write_table(labelled, path)
    return path


def run(table, out, processes, conv):
    return cgfast.train(
        table,
        LABEL,
        out=out,
        epochs=2,
        batch_size=7,
        conv=conv,
        atom_fea_len=8,
        h_fea_len=8,
        n_conv=2,
        precision="64",
        average=0.9,
        threads=2,
        processes=processes,
        split="random",
    )


@pytest.mark.parametrize("conv", ["CGConv", "CrystalGraphConv"])
def test_two_processes_train_what_one_trains(table, tmp_path, conv):
    one = run(table, tmp_path / "one", 1, conv)
    two = run(table, tmp_path / "two", 2, conv)
    for name, value in one.model.network.state_dict().items():
        other = two.model.network.state_dict()[name]
        assert torch.allclose(value.double(), other.double(), rtol=1e-5, atol=1e-6), name
    for a, b in zip(one.history, two.history, strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-6)
        assert a["val_score"] == pytest.approx(b["val_score"], rel=1e-7)
    assert not torch.distributed.is_initialized()
    crystals = cgfast.Crystals.concatenate(list(cgfast.read(table)))
    np.testing.assert_allclose(
        cgfast.load_model(tmp_path / "two").predict(crystals).values,
        cgfast.load_model(tmp_path / "one").predict(crystals).values,
        rtol=1e-5,
    )
    with (tmp_path / "two" / "metrics.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2


def random_numbers(rank, epoch, seed=3):
    """What dropout would draw first in an epoch of a process."""
    target = Target("y", "eV", "y", None, "y")
    loss = TaskLoss([target], "l1", 0.1, [None])
    module = TrainingModule(CGCNN(), loss, TrainOptions(), [target], Scale((0.0,), (1.0,)), seed, 10)
    module._trainer = SimpleNamespace(global_rank=rank, current_epoch=epoch)
    module.on_train_epoch_start()
    return torch.rand(5)


def test_every_process_drops_other_features():
    numbers = {(rank, epoch): random_numbers(rank, epoch) for rank in range(3) for epoch in range(3)}
    for key, drawn in numbers.items():
        assert torch.equal(drawn, random_numbers(*key))
    assert len({tuple(drawn.tolist()) for drawn in numbers.values()}) == 9
    # The first process draws what a single one always drew.
    torch.manual_seed(3 * 1_000_003 + 2)
    assert torch.equal(numbers[0, 2], torch.rand(5))


def test_a_process_that_fails_says_why(table, tmp_path, monkeypatch):
    # Only the other process reads this variable: it cannot find the native code's instruction set.
    monkeypatch.setenv("CGFAST_ISA", "no-such-set")
    with pytest.raises(ValueError, match=r"processes: one of the 2 failed: .*no-such-set"):
        run(table, tmp_path / "out", 2, "CGConv")


def test_crystals_in_memory_have_one_process(tmp_path, table):
    from cgfast.io.labelled import read_labelled

    with pytest.raises(ValueError, match="processes: got 2 with crystals in memory"):
        run(read_labelled(table, [LABEL]), tmp_path / "out", 2, "CGConv")
    assert not (tmp_path / "out").exists()
