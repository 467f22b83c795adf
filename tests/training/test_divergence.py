"""A loss that is no number any more: what was learnt until then stays, and nothing else."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("lightning")
pytest.importorskip("pyarrow")

import cgfast
from cgfast.training import resume, train
from cgfast.training.module import DivergedError, TrainingModule
from tests.training.runs import outcome
from tests.training.samples import TINY, crystals, some_values, write_table

if TYPE_CHECKING:
    from pathlib import Path

N = 40


@pytest.fixture
def table(tmp_path: Path) -> Path:
    made = crystals(N)
    return write_table(tmp_path / "data.parquet", made, y=some_values(made))


RECIPE = {"optimizer": "sgd", "loss": "mse", "schedule": "constant", "average": 0.0}
OPTIONS = TINY | RECIPE | {"learning_rate": 1e6, "epochs": 50}


def test_a_rate_far_too_high(table: Path, tmp_path: Path) -> None:
    said = r"the loss is not a number any more in .*epoch \d+: try a lower learning_rate than 1e\+06"
    with pytest.raises(DivergedError, match=said) as error:
        train(table, "y", out=tmp_path / "m", **OPTIONS)
    assert "\n" not in str(error.value)
    check_left(tmp_path / "m", error.value)


def check_left(folder: Path, error: ValueError) -> None:
    """With a whole epoch there is a model that says what it is, without one there is nothing."""
    if not folder.exists():
        assert "the best model" not in str(error)
        return
    assert str(error).endswith(f"; the best model until then is in {folder}")
    model = cgfast.load_model(folder)
    assert model.card["complete"] is False
    with (folder / "metrics.csv").open(newline="") as file:
        assert model.card["epochs"] == [len(list(csv.DictReader(file)))]
    assert np.isfinite(model.predict(crystals(N)).values).all()


def test_a_loss_that_breaks_late(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the third epoch: the folder holds the model of the first two, as if the run had been stopped there."""
    step = TrainingModule.training_step

    def breaks(module: TrainingModule, batch: Any, index: int) -> Any:
        if module.current_epoch == 2:
            raise DivergedError(module._diverged("this test"))
        return step(module, batch, index)

    monkeypatch.setattr(TrainingModule, "training_step", breaks)
    with pytest.raises(DivergedError, match=r"not a number any more in this test.*; the best model until then is in") as error:
        train(table, "y", out=tmp_path / "m", **TINY | {"epochs": 6})
    check_left(tmp_path / "m", error.value)
    assert cgfast.load_model(tmp_path / "m").card["epochs"] == [2]
    with pytest.raises(DivergedError):  # once more
        resume(tmp_path / "m")
    monkeypatch.undo()
    train(table, "y", out=tmp_path / "whole", **TINY | {"epochs": 6})
    resume(tmp_path / "m")
    assert outcome(tmp_path / "m") == outcome(tmp_path / "whole")


@pytest.mark.parametrize("there", [False, True])
def test_a_run_without_an_epoch_leaves_nothing(table: Path, tmp_path: Path, there: bool) -> None:
    changes = {"batch_size": 1000, "epochs": 1, "learning_rate": 1e37, "weight_decay": 0.0}
    if there:
        (tmp_path / "m").mkdir()
    with pytest.raises(DivergedError, match=r"or clip=1$"):
        train(table, "y", out=tmp_path / "m", **OPTIONS | changes)
    assert sorted(path.name for path in tmp_path.iterdir()) == (["data.parquet", "m"] if there else ["data.parquet"])
    assert not there or list((tmp_path / "m").iterdir()) == []
    train(table, "y", out=tmp_path / "m", **TINY)  # the same place serves again


def test_a_member_that_breaks(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = TrainingModule.training_step

    def breaks(module: TrainingModule, batch: Any, index: int) -> Any:
        if module.seed == 1:
            raise DivergedError(module._diverged("this test"))
        return step(module, batch, index)

    monkeypatch.setattr(TrainingModule, "training_step", breaks)
    with pytest.raises(DivergedError, match="the best model until then is in"):
        train(table, "y", out=tmp_path / "m", **TINY | {"seeds": 2, "epochs": 2})
    model = cgfast.load_model(tmp_path / "m")
    assert (len(model.networks), model.card["complete"]) == (1, False)


@pytest.mark.parametrize("average", [0.0, 0.9])
@pytest.mark.parametrize("loss", ["l1", "mse", "huber"])
@pytest.mark.parametrize("conv", ["CGConv", "CrystalGraphConv"])
def test_whatever_happens_it_is_said(table: Path, tmp_path: Path, average: float, loss: str, conv: str) -> None:
    """At a mad rate a run ends with a model of finite predictions or with one sentence, whatever breaks first."""
    changes = {"average": average, "loss": loss, "conv": conv, "learning_rate": 1e30, "epochs": 10, "readout": "head"}
    try:
        result = train(table, "y", out=tmp_path / "m", **OPTIONS | changes)
    except DivergedError as error:
        assert "try a lower learning_rate" in str(error)  # noqa: PT017
        check_left(tmp_path / "m", error)
    else:
        assert np.isfinite(result.model.predict(crystals(N)).values).all()


def test_clipping_helps(table: Path, tmp_path: Path) -> None:
    train(table, "y", out=tmp_path / "m", **OPTIONS | {"clip": 1e-9, "weight_decay": 0.0, "epochs": 3})


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_last_step_that_breaks_it(table: Path, tmp_path: Path, average: float) -> None:
    """The only loss is fine, what the step made of the weights is not."""
    changes = {"batch_size": 1000, "epochs": 1, "learning_rate": 1e37, "weight_decay": 0.0, "average": average}
    with pytest.raises(DivergedError, match=r"the loss is not a number any more in the validation of epoch 1"):
        train(table, "y", out=tmp_path / "m", **OPTIONS | changes)
    assert not (tmp_path / "m").exists()
