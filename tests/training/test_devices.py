"""Training on a device: the losses of the CPU, and a model on the CPU that predicts what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("lightning")
pytest.importorskip("pyarrow")

import torch

import cgfast
from cgfast.training import train
from tests.training.runs import check
from tests.training.samples import TINY, crystals, some_values, write_table

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    made = crystals(60)
    y = some_values(made)
    return write_table(tmp_path / "data.parquet", made, {"y": "eV"}, y=y, big=y > np.median(y))


@pytest.mark.parametrize("conv", ["CGConv", "CrystalGraphConv"])
@pytest.mark.parametrize("ties", ["canonical", "shell"])
def test_train(table: Path, tmp_path: Path, conv: str, ties: str, device: str) -> None:
    options = TINY | {"conv": conv, "ties": ties, "epochs": 3, "precision": "64"}
    result = train(table, ["y", "big"], out=tmp_path / "m", device=device, **options)
    check(result, table, ["y", "big"])
    assert result.model.device.type == "cpu"
    assert cgfast.load_model(tmp_path / "m").card["options"]["device"] == device
    expected = train(table, ["y", "big"], out=tmp_path / "cpu", **options)
    for ours, theirs in zip(result.history, expected.history, strict=True):
        for name in ("train_loss", "val_score"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-5)


def test_a_device_that_is_not_there(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device has the value 'cuda': expected a device that torch sees here"):
        train(table, "y", out=tmp_path / "m", device="cuda", **TINY)
    assert not (tmp_path / "m").exists()


def test_several_processes_are_for_the_cpu(table: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="processes: got 2, expected 1 together with device='cuda'"):
        train(table, "y", out=tmp_path / "m", device="cuda", processes=2, **TINY | {"threads": 2})
