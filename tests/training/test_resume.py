"""A run that was stopped and went on ends with the bits of one that never stopped."""

from __future__ import annotations

import csv
import os
import shutil
import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("lightning")
pytest.importorskip("pyarrow")

import torch

import cgfast
from cgfast.training import resume, train
from tests.training.runs import outcome, stop_at
from tests.training.samples import TINY, crystals, labelled, some_values, write_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SGD = {"optimizer": "sgd", "learning_rate": 0.02, "average": 0.0}
RECIPES: dict[str, dict[str, Any]] = {
    "onecycle": {},
    "cosine": {"schedule": "cosine"},
    "constant, clipped": {"schedule": "constant", "clip": 0.1},
    "multistep": SGD | {"schedule": "multistep", "milestones": (2, 4)},
    "plateau": SGD | {"schedule": "plateau", "epochs": 16, "learning_rate": 1e-6},  # never better: the rate falls after 6
    "averaged": {"average": 0.9},
    "not averaged": {"average": 0.0},
    "dropout": {"conv": "CrystalGraphConv", "readout": "head", "task": "classification"},
    "dropout, averaged": {"conv": "CGConv", "readout": "head", "task": "classification", "average": 0.9},
    "stopped early": SGD | {"patience": 4, "epochs": 50, "learning_rate": 1e-12, "schedule": "constant"},
    "by edges": {"batch_edges": 90},
    "double": {"precision": "64"},
    "shell": {"ties": "shell"},
}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    made = crystals(50)
    y = some_values(made)
    return write_table(tmp_path / "data.parquet", made, {"y": "eV"}, y=y, big=y > np.median(y))


def never_again(report: Any) -> None:
    pytest.fail(f"epoch {report.epoch} was trained again")


@pytest.mark.parametrize("recipe", RECIPES)
def test_same_bits(table: Path, tmp_path: Path, recipe: str) -> None:
    options = TINY | {"epochs": 6} | RECIPES[recipe]
    label = "big" if options.get("task") == "classification" else "y"
    whole = train(table, label, out=tmp_path / "whole", **options)
    stops = sorted({2, 3, len(whole.history) - 4, len(whole.history)})
    with pytest.raises(KeyboardInterrupt):
        train(table, label, out=tmp_path / "cut", on_epoch=stop_at(stops[0]), **options)
    for epoch in stops[1:]:
        with pytest.raises(KeyboardInterrupt):
            resume(tmp_path / "cut", on_epoch=stop_at(epoch))
    found = resume(tmp_path / "cut")
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")
    assert found.metrics == whole.metrics
    assert [row["learning_rate"] for row in found.history] == [row["learning_rate"] for row in whole.history]
    assert len({row["learning_rate"] for row in whole.history}) > 1 or "constant" in str(options.get("schedule"))


def test_a_stop_before_anything_is_saved(table: Path, tmp_path: Path) -> None:
    train(table, "y", out=tmp_path / "whole", **TINY)
    with pytest.raises(KeyboardInterrupt):
        train(table, "y", out=tmp_path / "cut", on_epoch=stop_at(1), **TINY)
    assert not (tmp_path / "cut" / "model.json").exists()
    resume(tmp_path / "cut")
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Python's own handling of SIGINT, which a process that a shell starts in the background ignores."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_real_signal(table: Path, tmp_path: Path) -> None:
    """SIGINT in this process, in the middle of an epoch and at its end."""
    before = signal.getsignal(signal.SIGINT)
    train(table, "y", out=tmp_path / "whole", **TINY)
    with pytest.raises(KeyboardInterrupt):
        train(table, "y", out=tmp_path / "cut", on_epoch=stop_at(2, how=lambda: os.kill(os.getpid(), signal.SIGINT)), **TINY)
    assert signal.getsignal(signal.SIGINT) is before
    resume(tmp_path / "cut")
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")


def test_what_a_stopped_run_leaves_is_a_model(table: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(table, "y", out=tmp_path / "cut", on_epoch=stop_at(4), **TINY | {"epochs": 20})
    model = cgfast.load_model(tmp_path / "cut")
    assert model.card["complete"] is False
    assert model.card["epochs"] == [3] or model.card["epochs"] == [4]
    assert np.isfinite(model.predict(crystals(5)).values).all()
    assert model.card["metrics"]["y"]["mae"] > 0


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_complete_run_is_read(table: Path, tmp_path: Path, seeds: int) -> None:
    """Nothing but its folder is needed, and nothing is written."""
    whole = train(table, "y", out=tmp_path / "m", **TINY | {"seeds": seeds, "split": "random"})
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "m").rglob("*") if path.is_file()}
    table.unlink()
    again = resume(tmp_path / "m", on_epoch=never_again)
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in before} == before
    assert (again.metrics, again.history, again.part) == (whole.metrics, whole.history, whole.part)
    assert (again.n_rows, again.n_used, again.n_failures) == (whole.n_rows, whole.n_used, whole.n_failures)
    assert again.notes == whole.notes
    assert "share their formula" in again.notes[0]
    assert again.model.sha256 == whole.model.sha256
    made = crystals(5)
    np.testing.assert_array_equal(again.model.predict(made).values, whole.model.predict(made).values)


@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
def test_a_complete_run_whose_model_was_damaged(table: Path, tmp_path: Path, name: str) -> None:
    """The checkpoints still know it."""
    train(table, "y", out=tmp_path / "m", **TINY)
    before = outcome(tmp_path / "m")
    (tmp_path / "m" / name).write_bytes(b"")
    resume(tmp_path / "m", on_epoch=never_again)
    assert outcome(tmp_path / "m") == before


def test_a_kill_between_the_last_epoch_and_the_end(table: Path, tmp_path: Path) -> None:
    """A run that its patience ended is not trained further, although epochs are left."""
    options = TINY | SGD | {"patience": 3, "epochs": 50, "learning_rate": 1e-12, "schedule": "constant"}
    for place in ("whole", "cut"):
        assert len(train(table, "y", out=tmp_path / place, **options).history) < 50
    for name in ("checkpoints/done", "model.json", "model.safetensors"):  # what is written behind the last checkpoint
        (tmp_path / "cut" / name).unlink()
    found = resume(tmp_path / "cut", on_epoch=never_again)
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")
    assert len(found.history) < 50
    assert (tmp_path / "cut" / "checkpoints" / "done").is_file()


def test_from_another_folder(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths in the plan do not depend on where one is."""
    train(table, "y", out=tmp_path / "whole", **TINY)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train("data.parquet", "y", out="cut", on_epoch=stop_at(2), **TINY)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    resume("../cut")
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")


def test_a_run_may_be_moved(table: Path, tmp_path: Path) -> None:
    train(table, "y", out=tmp_path / "whole", **TINY)
    with pytest.raises(KeyboardInterrupt):
        train(table, "y", out=tmp_path / "cut", on_epoch=stop_at(3), **TINY)
    shutil.move(tmp_path / "cut", tmp_path / "moved")
    resume(tmp_path / "moved")
    assert outcome(tmp_path / "moved") == outcome(tmp_path / "whole")


def test_text_classes_questions_and_logarithms(tmp_path: Path) -> None:
    """A resumed run reads its labels as the first one did."""
    made = crystals(50)
    y = some_values(made)
    kind, ok = np.where(y > 2.2, "x", "a"), np.where(y > 2.1, "yes", "no")
    source = write_table(tmp_path / "d.parquet", made, {"y": "eV"}, y=y, kind=kind, ok=ok)
    targets = ["kind", "ok", "wide=y>2.15", "log10(y)"]
    train(source, targets, out=tmp_path / "whole", **TINY)
    with pytest.raises(KeyboardInterrupt):
        train(source, targets, out=tmp_path / "cut", on_epoch=stop_at(2), **TINY)
    resume(tmp_path / "cut")
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")


def test_crystals_in_memory(tmp_path: Path) -> None:
    data = labelled(50)
    train(data, "y", out=tmp_path / "whole", **TINY)
    with pytest.raises(KeyboardInterrupt):
        train(data, "y", out=tmp_path / "cut", on_epoch=stop_at(2), **TINY)
    with pytest.raises(ValueError, match=r"data: the run .*was given crystals in memory, expected them again"):
        resume(tmp_path / "cut")
    resume(tmp_path / "cut", data=data)
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")


class TestEnsemble:
    OPTIONS = TINY | {"seeds": 3, "epochs": 3}

    def test_members(self, table: Path, tmp_path: Path) -> None:
        result = train(table, "y", out=tmp_path / "m", **self.OPTIONS)
        model = cgfast.load_model(tmp_path / "m")
        assert [column.name for column in model.columns] == ["y", "y_std"]
        states = [network.state_dict() for network in model.networks]
        assert len(states) == 3
        for one, other in ((0, 1), (1, 2), (0, 2)):
            assert not torch.equal(states[one]["embedding.weight"], states[other]["embedding.weight"])
        alone = train(table, "y", out=tmp_path / "one", **TINY | {"epochs": 3})
        for name, value in alone.model.network.state_dict().items():
            assert torch.equal(states[0][name], value)  # the first member is the single model of that seed
        found = result.model.predict(crystals(50))
        assert (found.std > 0).all()
        truth = some_values(crystals(50))
        with (tmp_path / "m" / "split.csv").open(newline="") as file:
            test = [int(line["row"]) for line in csv.DictReader(file) if line["part"] == "test"]
        assert result.metrics["y"]["mae"] == pytest.approx(np.abs(found.values - truth)[test].mean(), rel=1e-5)
        assert model.card["epochs"] == [3, 3, 3]

    @pytest.mark.parametrize(("epoch", "member"), [(2, 0), (3, 0), (1, 1), (2, 1), (3, 2)])
    def test_stops(self, table: Path, tmp_path: Path, epoch: int, member: int) -> None:
        train(table, "y", out=tmp_path / "whole", **self.OPTIONS)
        with pytest.raises(KeyboardInterrupt):
            train(table, "y", out=tmp_path / "cut", on_epoch=stop_at(epoch, member), **self.OPTIONS)
        if member:
            model = cgfast.load_model(tmp_path / "cut")  # of the members so far
            assert model.card["complete"] is False
            assert len(model.networks) in (member, member + 1)
        told = []
        resume(tmp_path / "cut", on_epoch=told.append)
        assert (told[0].member, told[0].epoch) == (member, epoch)  # nothing is trained twice but the epoch that was cut
        assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")
