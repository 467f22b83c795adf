"""train(): what is written predicts what was measured, and the same seed gives the same bits."""

from __future__ import annotations

import csv
import hashlib
import logging
import random
import signal
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("lightning")
pytest.importorskip("pyarrow")

import torch

import cgfast
from cgfast.io.labelled import read_labelled
from cgfast.training import train
from tests.training.runs import check, parts_of, weights
from tests.training.samples import TINY, crystals, labelled, some_values, write_table

if TYPE_CHECKING:
    from pathlib import Path

HEAT = "heat_all_eV_per_cell"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    made = crystals(60)
    y = some_values(made)
    word = np.where(y > 2.2, "up", "down")
    return write_table(tmp_path / "data.parquet", made, {"y": "eV"}, y=y, big=y > np.median(y), word=word)


def test_the_samples_of_2018(data: Path, tmp_path: Path) -> None:
    source = data / "cgcnn-2018" / "sample-regression"
    result = train(source, "target", out=tmp_path / "m", **TINY | {"epochs": 30, "fractions": (0.6, 0.2, 0.2), "average": 0.0})
    losses = [row["train_loss"] for row in result.history]
    assert losses[-1] < 0.5 * losses[0]
    assert [row["epoch"] for row in result.history] == list(range(1, 31))
    check(result, source, ["target"])
    assert (result.n_rows, result.n_used, result.n_failures, result.part) == (10, 10, 0, "test")
    said = cgfast.load_model(tmp_path / "m").card["metrics"]["target"]
    assert (said["n"], said["unit"]) == (2, "unit of its training data")


def test_the_folder(table: Path, tmp_path: Path) -> None:
    result = train(table, "y", out=tmp_path / "m", card={"licence": "MIT"}, **TINY)
    names = sorted(path.relative_to(tmp_path / "m").as_posix() for path in (tmp_path / "m").rglob("*") if path.is_file())
    checkpoints = [f"checkpoints/{name}" for name in ("best.ckpt", "done", "last.ckpt")]
    files = ["failures.csv", "metrics.csv", "model.json", "model.safetensors", "run.json", "split.csv"]
    assert names == [".lock", *checkpoints, *files]
    with (tmp_path / "m" / "metrics.csv").open(newline="") as file:
        rows = [{name: float(value) for name, value in line.items()} for line in csv.DictReader(file)]
    assert rows == result.history
    assert list(rows[0]) == ["epoch", "train_loss", "val_score", "val_y_mae", "learning_rate", "time_s"]
    card = cgfast.load_model(tmp_path / "m").card
    counts = {part: list(parts_of(result).values()).count(part) for part in ("train", "val", "test")}
    assert card["crystals"] == counts
    assert card["licence"] == "MIT"
    assert card["epochs"] == [4]
    best = min(range(4), key=lambda k: rows[k]["val_score"]) + 1
    assert card["best_epoch"] == [best]
    assert card["options"]["atom_fea_len"] == 8
    assert card["split"]["kind"] == "grouped"
    model = cgfast.load_model(tmp_path / "m")
    assert (model.unit, model.column, model.target.data) == ("eV", "y", "y")
    digest = hashlib.sha256((tmp_path / "m" / "model.safetensors").read_bytes()).hexdigest()
    assert result.model.sha256 == model.sha256 == digest


def test_the_validation_error_is_that_of_the_best_epoch(table: Path, tmp_path: Path) -> None:
    """metrics.csv, recomputed from the model that was written."""
    result = train(table, "y", out=tmp_path / "m", **TINY | {"epochs": 8})
    data = read_labelled(table, ["y"])
    parts = parts_of(result)
    chosen = [k for k, row in enumerate(data.rows.tolist()) if parts[row] == "val"]
    error = np.abs(result.model.predict(data.crystals[chosen]).values - data.values[chosen, 0]).mean()
    assert error == pytest.approx(min(row["val_y_mae"] for row in result.history), rel=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"readout": "head", "activation": "softplus", "conv": "CrystalGraphConv"},
        {"readout": "site"},
        {"n_h": 2, "pooling": "sum"},
        {"ties": "shell"},
        {"missing": "pad-2018", "max_neighbors": 12, "cutoff": 4.0},
        {"max_neighbors": None, "cutoff": 3.5},
        {"batch_atoms": 20},
        {"batch_edges": 100},
        {"precision": "64"},
        {"precision": "bf16"},
        {"loss": "mse", "optimizer": "sgd", "learning_rate": 0.02, "weight_decay": 0.0},
        {"loss": "huber", "clip": 0.5, "average": 0.0, "schedule": "constant"},
        {"split": "random"},
        {"split": "fold", "fold": "2/3"},
        {"batch_size": 3},
        {"batch_size": 1000},
    ],
)
def test_options(table: Path, tmp_path: Path, changes: dict) -> None:
    result = train(table, "y", out=tmp_path / "m", **TINY | {"epochs": 12} | changes)
    assert min(row["train_loss"] for row in result.history[-3:]) < result.history[0]["train_loss"]
    check(result, table, ["y"])


def test_a_small_problem_is_learned(table: Path, tmp_path: Path) -> None:
    """Far better than the mean of the training rows would be."""
    result = train(table, "y", out=tmp_path / "m", **TINY | {"epochs": 60, "split": "random", "atom_fea_len": 16})
    assert result.metrics["y"]["mae"] < 0.5 * np.abs(some_values(crystals(60)) - some_values(crystals(60)).mean()).mean()
    check(result, table, ["y"])


def test_same_seed_same_bits(table: Path, tmp_path: Path) -> None:
    """Whatever the random state, the thread count and the name of the folder."""
    first = train(table, "y", out=tmp_path / "a", **TINY)
    torch.manual_seed(12345)
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    second = train(table, "y", out=tmp_path / "b", **TINY | {"threads": 2})
    other = train(table, "y", out=tmp_path / "c", **TINY | {"seed": 1})
    assert weights(tmp_path / "a") == weights(tmp_path / "b") != weights(tmp_path / "c")
    strip = lambda history: [{k: v for k, v in row.items() if k != "time_s"} for row in history]  # noqa: E731
    assert strip(first.history) == strip(second.history) != strip(other.history)
    assert first.metrics == second.metrics
    assert parts_of(first) == parts_of(second) != parts_of(other)


def test_the_seed_reaches_weights_and_order_alone(tmp_path: Path) -> None:
    """With the split given by a column the seed still changes the run."""
    data = labelled(40, extra={"part": ["train"] * 30 + ["val"] * 5 + ["test"] * 5})
    options = TINY | {"split": "column", "split_column": "part"}
    for seed in (0, 1):
        train(data, "y", out=tmp_path / str(seed), **options | {"seed": seed})
    assert (tmp_path / "0" / "split.csv").read_bytes() == (tmp_path / "1" / "split.csv").read_bytes()
    assert weights(tmp_path / "0") != weights(tmp_path / "1")


def test_in_memory_is_as_from_a_file(table: Path, tmp_path: Path) -> None:
    train(table, "y", out=tmp_path / "a", **TINY)
    train(read_labelled(table, ["y"]), "y", out=tmp_path / "b", **TINY)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def test_nothing_of_the_caller_is_changed(table: Path, tmp_path: Path) -> None:
    before = (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), torch.get_num_threads())
    level = logging.getLogger("lightning.pytorch").level
    train(table, "y", out=tmp_path / "a", **TINY)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), torch.get_num_threads()) == before
    assert logging.getLogger("lightning.pytorch").level == level
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()


def test_nothing_is_printed(table: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    train(table, "y", out=tmp_path / "a", **TINY)
    assert capfd.readouterr() == ("", "")


def test_the_callbacks(table: Path, tmp_path: Path) -> None:
    started, told = [], []
    result = train(table, "y", out=tmp_path / "m", on_start=started.append, on_epoch=told.append, **TINY)
    assert len(started) == 1
    assert [report.epoch for report in told] == [1, 2, 3, 4]
    for report, row in zip(told, result.history, strict=True):
        assert (report.epochs, report.member, report.members) == (4, 0, 1)
        assert report.train_loss == row["train_loss"]
        assert report.errors == {"val_y_mae": row["val_y_mae"]}
        assert report.crystals_per_second > 0
        assert report.seconds == row["time_s"]
    assert told[-1].seconds_left == 0
    seconds = [report.seconds for report in told]
    assert seconds == sorted(seconds)


def test_learning_rates(table: Path, tmp_path: Path) -> None:
    """After each epoch: constant, a tenth behind each milestone, half a cosine."""
    common = TINY | {"optimizer": "sgd", "learning_rate": 0.02, "average": 0.0, "epochs": 6}

    def rates(name: str, **changes) -> list[float]:
        result = train(table, "y", out=tmp_path / name, **common | {"schedule": name} | changes)
        return [row["learning_rate"] for row in result.history]

    assert rates("constant") == [0.02] * 6
    np.testing.assert_allclose(rates("multistep", milestones=(2, 4)), [0.02, 0.02, 0.002, 0.002, 0.0002, 0.0002])
    np.testing.assert_allclose(rates("cosine"), 0.01 * (1 + np.cos(np.pi * np.arange(6) / 6)))


def test_early_stopping(table: Path, tmp_path: Path) -> None:
    """A rate of almost nothing: nothing gets better, so it stops after its patience."""
    options = {"epochs": 50, "patience": 3, "schedule": "constant", "learning_rate": 1e-12, "average": 0.0, "optimizer": "sgd"}
    result = train(table, "y", out=tmp_path / "m", **TINY | options)
    scores = [row["val_score"] for row in result.history]
    best = int(np.argmin(scores))
    assert len(scores) < 50
    assert len(scores) - 1 - best == 3
    assert cgfast.load_model(tmp_path / "m").card["epochs"] == [len(scores)]
