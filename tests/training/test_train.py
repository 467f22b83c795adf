"""train(): what is written predicts what was measured, and the same seed gives the same bits."""

from __future__ import annotations

import csv
import json
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
from cgfast.training import TrainingResult, train
from tests.training.samples import TINY, crystals, labelled, slice_table, some_values, write_folder, write_table

if TYPE_CHECKING:
    from pathlib import Path

HEAT = "heat_all_eV_per_cell"


def parts_of(result: TrainingResult) -> dict[int, str]:
    """Row of the input -> part, from the file."""
    with (result.folder / "split.csv").open(newline="") as file:
        return {int(line["row"]): line["part"] for line in csv.DictReader(file)}


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def remeasured(result: TrainingResult, source, labels: list[str]) -> dict[str, dict[str, float]]:
    """The metrics of the test rows, from the folder alone, by formulas in NumPy."""
    data = read_labelled(source, labels)
    parts = parts_of(result)
    chosen = [k for k, row in enumerate(data.rows.tolist()) if parts.get(row) == result.part]
    model = cgfast.load_model(result.folder)
    prediction = model.predict(data.crystals[chosen])
    found = {}
    for t, target in enumerate(model.targets):
        truth, said = data.values[chosen, t], prediction[target.column]
        known = ~np.isnan(truth)
        truth, said = truth[known], said[known]
        if target.classes is None:
            error = said - truth
            found[target.column] = {
                "n": len(truth),
                "mae": np.abs(error).mean(),
                "rmse": np.sqrt((error**2).mean()),
                "r2": 1 - (error**2).sum() / ((truth - truth.mean()) ** 2).sum(),
                "max_error": np.abs(error).max(),
            }
        else:
            yes, no = said[truth == 1], said[truth == 0]
            pairs = yes[:, None] - no[None, :]
            found[target.column] = {
                "n": len(truth),
                "accuracy": ((said > 0.5) == truth).mean(),
                "roc_auc": ((pairs > 0) + 0.5 * (pairs == 0)).mean(),
            }
    return found


def check(result: TrainingResult, source, labels: list[str]) -> None:
    """result, card and the folder agree."""
    expected = remeasured(result, source, labels)
    card = json.loads((result.folder / "model.json").read_text())["card"]
    for column, metrics in expected.items():
        for name, value in metrics.items():
            assert result.metrics[column][name] == pytest.approx(value, rel=2e-5, abs=2e-6), (column, name)
            assert card["metrics"][column][name] == result.metrics[column][name]
    assert result.n_rows == result.n_used + result.n_failures
    assert card["complete"] is True
    assert card["metrics_part"] == result.part


@pytest.fixture
def table(tmp_path: Path) -> Path:
    made = crystals(60)
    y = some_values(made)
    return write_table(tmp_path / "data.parquet", made, {"y": "eV"}, y=y, big=y > np.median(y), word=np.where(y > 2.2, "up", "down"))


def test_the_samples_of_2018(data: Path, tmp_path: Path) -> None:
    source = data / "cgcnn-2018" / "sample-regression"
    result = train(source, "target", out=tmp_path / "m", **TINY | {"epochs": 30, "fractions": (0.6, 0.2, 0.2), "average": 0.0})
    losses = [row["train_loss"] for row in result.history]
    assert losses[-1] < 0.5 * losses[0]
    assert [row["epoch"] for row in result.history] == list(range(1, 31))
    check(result, source, ["target"])
    assert (result.n_rows, result.n_used, result.n_failures, result.part) == (10, 10, 0, "test")
    assert {"n": 2, "unit": "unit of its training data"}.items() <= cgfast.load_model(tmp_path / "m").card["metrics"]["target"].items()


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
        {"max_neighbors": 0, "cutoff": 3.5},
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


def test_the_seed_reaches_weights_and_order_alone(table: Path, tmp_path: Path) -> None:
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


class TestClasses:
    @pytest.mark.parametrize(("label", "column"), [("big", "big_probability"), ("word", "up_probability"), ("up=y>2.2", "up_probability")])
    @pytest.mark.parametrize("conv", ["CGConv", "CrystalGraphConv"])
    def test_one(self, table: Path, tmp_path: Path, label: str, column: str, conv: str) -> None:
        result = train(table, label, out=tmp_path / "m", **TINY | {"conv": conv, "readout": "head", "epochs": 12})
        assert list(result.metrics) == [column]
        check(result, table, [label.removeprefix("up=")])
        probability = result.model.predict(crystals(60)).values
        assert ((probability > 0) & (probability < 1)).all()
        assert np.ptp(probability) > 0

    @pytest.mark.parametrize("readout", ["atom", "site"])
    def test_readouts(self, table: Path, tmp_path: Path, readout: str) -> None:
        result = train(table, "big", out=tmp_path / "m", **TINY | {"readout": readout})
        check(result, table, ["big"])

    def test_weights(self, tmp_path: Path) -> None:
        """Nine of ten are of one class: balanced weights move the mean probability towards a half."""
        made = crystals(120)
        rare = some_values(made) > np.quantile(some_values(made), 0.9)
        source = write_table(tmp_path / "d.parquet", made, rare=rare)
        means = {}
        for kind in ("none", "balanced"):
            options = TINY | {"class_weights": kind, "readout": "head", "epochs": 5, "split": "random", "average": 0.0}
            means[kind] = train(source, "rare", out=tmp_path / kind, **options).model.predict(made).values.mean()
        assert means["none"] + 0.1 < means["balanced"]

    def test_numbers_as_classes(self, tmp_path: Path) -> None:
        made = crystals(40)
        source = write_table(tmp_path / "d.parquet", made, n=(some_values(made) > 2.2).astype(int))
        as_numbers = train(source, "n", out=tmp_path / "a", **TINY | {"epochs": 1})
        as_classes = train(source, "n", out=tmp_path / "b", **TINY | {"epochs": 1, "task": "classification"})
        assert as_numbers.model.classes is None
        assert as_classes.model.classes == ("not n", "n")


class TestSeveralTargets:
    def test_missing_labels(self, tmp_path: Path) -> None:
        made = crystals(60)
        y = some_values(made)
        rng = np.random.default_rng(0)
        k = np.where(rng.random(60) < 0.5, None, 10**y)
        big = np.where(rng.random(60) < 0.5, None, y > 2.2)
        k[7] = big[7] = None
        source = write_table(tmp_path / "d.parquet", made, {"k": "GPa"}, y=y, k=k.tolist(), big=big.tolist())
        labels = ["log10(k)", "big"]
        result = train(source, ["log10(k)", "is_big=big"], out=tmp_path / "m", **TINY | {"epochs": 12, "split": "random"})
        check(result, source, labels)
        neither = int(sum(a is None and b is None for a, b in zip(k, big, strict=True)))
        assert result.n_failures == neither > 0
        assert sum(1 for line in (tmp_path / "m" / "failures.csv").read_text().splitlines() if line.endswith("no label")) == neither
        assert [(c.name, c.unit) for c in result.model.columns] == [("log10_k", "log10(GPa)"), ("is_big_probability", "1")]

    def test_a_target_without_labels_in_val_and_test(self, tmp_path: Path) -> None:
        values = np.full((40, 2), np.nan)
        values[:, 0] = labelled(40).values[:, 0]
        values[:20, 1] = values[:20, 0] ** 2
        extra = {"part": ["train"] * 30 + ["val"] * 5 + ["test"] * 5}
        data = labelled(
            40, values=values, labels=("y", "z"), units=("", ""), classes=(None, None), binary=(False, False), extra=extra
        )
        result = train(data, ["y", "z"], out=tmp_path / "m", **TINY | {"split": "column", "split_column": "part"})
        assert result.metrics["z"] == {"n": 0, "mae": None, "rmse": None, "r2": None, "max_error": None}
        assert result.metrics["y"]["n"] == 5
        assert cgfast.load_model(tmp_path / "m").card["metrics"]["z"]["mae"] is None

    def test_gap_and_metal(self, data: Path, tmp_path: Path) -> None:
        source = slice_table(data / "mp_cgcnn_36k.parquet", tmp_path / "d.parquet", range(0, 30000, 200))
        targets = ["band_gap_eV", "metal=band_gap_eV<0.001"]
        result = train(source, targets, out=tmp_path / "m", **TINY | {"batch_size": 32})
        check(result, source, ["band_gap_eV", "band_gap_eV<0.001"])
        assert [(c.name, c.unit) for c in result.model.columns] == [("band_gap_eV", "eV"), ("metal_probability", "1")]
        assert result.model.task == "mixed"


def test_perov5(data: Path, tmp_path: Path) -> None:
    """More than half of the rows have no label: they are not lost."""
    source = slice_table(data / "perov5.parquet", tmp_path / "d.parquet", slice(0, None, 20))
    result = train(source, HEAT, out=tmp_path / "m", **TINY | {"batch_size": 32, "epochs": 6})
    losses = [row["train_loss"] for row in result.history]
    assert losses[-1] < 0.8 * losses[0]
    check(result, source, [HEAT])
    read = read_labelled(source, [HEAT])
    assert result.n_failures == np.isnan(read.values).sum() > 400
    assert result.model.unit == "eV/cell"


def test_a_split_that_others_made(data: Path, tmp_path: Path) -> None:
    source = slice_table(data / "mp_cgcnn_36k.parquet", tmp_path / "d.parquet", slice(0, None, 150))
    label, column = "formation_energy_per_atom_eV", "megnet2018_split"
    result = train(source, label, out=tmp_path / "m", **TINY | {"split_column": column, "split": "column", "batch_size": 32})
    read = read_labelled(source, [label], extra=[column])
    words = {int(row): word or "" for row, word in zip(read.rows, read.extra[column], strict=True)}
    assert parts_of(result) == words
    assert {"train", "val", "test"} <= set(words.values())
    check(result, source, [label])


def test_a_split_without_test_is_measured_on_val(tmp_path: Path, table: Path) -> None:
    result = train(table, "y", out=tmp_path / "m", **TINY | {"fractions": (0.7, 0.3, 0.0)})
    assert result.part == "val"
    check(result, table, ["y"])


def test_notes(table: Path, tmp_path: Path) -> None:
    grouped = train(table, "y", out=tmp_path / "a", **TINY | {"epochs": 1})
    at_random = train(table, "y", out=tmp_path / "b", **TINY | {"epochs": 1, "split": "random"})
    assert grouped.notes == ()
    (note,) = at_random.notes
    assert "test crystals share their formula with a training crystal (split='random')" in note


def test_rows_that_cannot_be_used(tmp_path: Path) -> None:
    csv_text = "".join(f"m{k},{k}\n" for k in range(12)) + "gone,3\nm12,\n"
    source = write_folder(tmp_path / "d", csv_text, [f"m{k}" for k in range(13)])
    result = train(source, "target", out=tmp_path / "m", **TINY | {"epochs": 1, "split": "random"})
    assert (result.n_rows, result.n_used, result.n_failures) == (14, 12, 2)
    with (tmp_path / "m" / "failures.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["id", "row", "stage", "reason"]
    assert [line[:3] for line in lines[1:]] == [["gone", "12", "read"], ["m12", "13", "label"]]


def test_element_features(table: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "atoms.json"
    path.write_text(json.dumps({str(z): rng.random(7).tolist() for z in range(1, 93)}))
    result = train(table, "y", out=tmp_path / "m", atom_init=path, **TINY)
    assert result.model.network.element_features.shape == (92, 7)
    path.unlink()  # the model carries them
    check(result, table, ["y"])


def test_the_paper_and_the_2018_layout(table: Path, tmp_path: Path) -> None:
    """A model of the paper's preset, written for the 2018 code and read back, says the same."""
    shape = {name: TINY[name] for name in ("atom_fea_len", "n_conv", "h_fea_len", "threads")}
    result = train(table, "y", out=tmp_path / "m", preset="paper", epochs=5, **shape)
    assert cgfast.load_model(tmp_path / "m").card["options"]["milestones"] == [4]
    path = result.model.save_2018(tmp_path / "own.pth.tar")
    back = cgfast.load_model(path)
    made = crystals(60)
    np.testing.assert_allclose(back.predict(made).values, result.model.predict(made).values, rtol=1e-6)
    assert (back.mean, back.std) == (result.model.mean, result.model.std)


def test_unfinished_crystals_of_one_atom(tmp_path: Path) -> None:
    """Batch norm has no variance of one atom: small batches of one-atom crystals must still train, or say why not."""
    made = crystals(20)
    singles = cgfast.Crystals.from_arrays(
        np.zeros((20, 3)), made.cell * np.linspace(0.6, 1, 20)[:, None, None], [26] * 20, graph_ptr=range(21)
    )
    source = write_table(tmp_path / "d.parquet", singles, y=np.linspace(0, 1, 20))
    result = train(source, "y", out=tmp_path / "m", **TINY | {"batch_size": 2, "split": "random"})
    check(result, source, ["y"])
