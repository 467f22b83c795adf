"""Lightning's loggers hear of every epoch what metrics.csv has of it."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("lightning")
pytest.importorskip("pyarrow")

from lightning.pytorch.loggers import CSVLogger, Logger

from cgfast.training import finetune, resume, train
from tests.training.runs import outcome, stop_at
from tests.training.samples import TINY, crystals, some_values, write_table

if TYPE_CHECKING:
    from pathlib import Path


class Notebook(Logger):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.rows: list[tuple[int | None, dict[str, float]]] = []
        self.options: list[dict[str, Any]] = []

    @property
    def name(self) -> str:
        return "notebook"

    @property
    def version(self) -> int:
        return 0

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append((step, dict(metrics)))

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        self.options.append(dict(params))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    made = crystals(40)
    y = some_values(made)
    return write_table(tmp_path / "data.parquet", made, {"y": "eV"}, y=y, z=y**2)


def test_every_epoch(table: Path, tmp_path: Path) -> None:
    first, second = Notebook(), Notebook()
    result = train(table, ["y", "z"], out=tmp_path / "m", loggers=[first, second], **TINY)
    assert first.rows == second.rows == [(k + 1, row) for k, row in enumerate(result.history)]
    assert {"val_y_mae", "val_z_mae", "train_loss", "learning_rate"} < set(first.rows[0][1])
    assert len(first.options) == 1
    assert first.options[0]["atom_fea_len"] == 8
    train(table, ["y", "z"], out=tmp_path / "silent", **TINY)
    assert outcome(tmp_path / "silent") == outcome(tmp_path / "m")
    assert "notebook" not in (tmp_path / "m" / "run.json").read_text().lower()


def test_one_that_writes(table: Path, tmp_path: Path) -> None:
    result = train(table, "y", out=tmp_path / "m", loggers=CSVLogger(tmp_path / "logs", name="a", version="b"), **TINY)
    with (tmp_path / "logs" / "a" / "b" / "metrics.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [float(line["val_y_mae"]) for line in lines] == [row["val_y_mae"] for row in result.history]
    assert [int(line["step"]) for line in lines] == [1, 2, 3, 4]


def test_going_on(table: Path, tmp_path: Path) -> None:
    """The epoch that was cut had been told, and is told again."""
    before, after = Notebook(), Notebook()
    with pytest.raises(KeyboardInterrupt):
        train(table, "y", out=tmp_path / "m", loggers=before, on_epoch=stop_at(2), **TINY)
    resume(tmp_path / "m", loggers=after)
    assert [step for step, _ in before.rows] == [1, 2]
    assert [step for step, _ in after.rows] == [2, 3, 4]


def test_members(table: Path, tmp_path: Path) -> None:
    notes = Notebook()
    train(table, "y", out=tmp_path / "m", loggers=notes, **TINY | {"seeds": 2, "epochs": 2})
    heard = [(step, next(iter(row)).split("/")[0]) for step, row in notes.rows]
    assert heard == [(1, "member_0"), (2, "member_0"), (1, "member_1"), (2, "member_1")]
    assert len(notes.options) == 1


def test_finetune_and_processes(table: Path, tmp_path: Path) -> None:
    """Of several processes only the first tells."""
    train(table, "y", out=tmp_path / "m", **TINY)
    notes = Notebook()
    result = finetune(
        tmp_path / "m", table, out=tmp_path / "f", loggers=[notes], epochs=2, batch_size=8, threads=2, processes=2
    )
    assert notes.rows == [(k + 1, row) for k, row in enumerate(result.history)]
