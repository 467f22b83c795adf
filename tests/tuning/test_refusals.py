"""What a study refuses, in one sentence and with nothing written."""

from __future__ import annotations

import fcntl
import math
import sys
from typing import TYPE_CHECKING, Any

import pytest

for module in ("lightning", "torchmetrics", "optuna", "plotly", "pyarrow"):
    pytest.importorskip(module, reason="tuning needs the extra train")
tuning = pytest.importorskip("cgfast.tuning")

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cgfast.tuning import TuningResult

COLUMN = "mean_number_eV"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"trials": 0}, "trials: got 0"),
        ({"trials": 2.5}, "trials: got 2.5"),
        ({"keep": 0}, "keep: got 0"),
        ({"timeout": 0}, "timeout: got 0"),
        ({"timeout": math.nan}, "timeout: got nan"),
        ({"space": {"n_convs": "1..2"}}, "space: got 'n_convs'"),
        ({"space": {"n_conv": "2..1"}}, "is empty"),
        ({"space": {"n_conv": "0..1"}}, "n_conv: got 0"),
        ({"n_conv": 2}, "n_conv: got a value and a search"),
        ({"seeds": 2}, "seeds: got 2, expected 1"),
        ({"processes": 2, "threads": 2}, "processes: got 2, expected 1"),
        ({"epochs": 0}, "epochs: got 0"),
        ({"epoch": 3}, "options: got epoch"),
        ({"preset": "best"}, "preset: got 'best'"),
        ({"target": "nothing"}, "nothing"),
        ({"fractions": (1.0, 0.0, 0.0)}, "fractions: got"),
        ({"out": "none/study"}, "does not exist"),
    ],
)
def test_bad_input_leaves_nothing(table: Path, tmp_path: Path, changes: dict[str, Any], sentence: str, small: Any) -> None:
    out = tmp_path / changes.get("out", "study")
    with pytest.raises(ValueError, match=sentence):
        small(table, out, **{name: value for name, value in changes.items() if name != "out"})
    assert list(tmp_path.iterdir()) == []


def test_other_studies_are_refused(
    study: tuple[TuningResult, Path], table: Path, labels: list[float], write: Any, small: Any
) -> None:
    _, out = study
    before = {entry: entry.read_bytes() for entry in out.rglob("*") if entry.is_file()}
    wrong = list(labels)
    wrong[3] += 1
    for data, changes, sentence in (
        (write(wrong), {}, "begun with other data"),
        (table, {"seed": 1}, "begun with another split"),
        (table, {"split": "random"}, "begun with another split"),
        (table, {"epochs": 4}, "epochs: got 4, but .* has 3"),
        (
            table,
            {"space": {"cutoff": "4|5", "learning_rate": "0.001..0.05:log", "n_conv": "1..3"}},
            r"n_conv: got 1\.\.3, but .* has 1\.\.2",
        ),
        (table, {"space": {"n_conv": "1..2"}}, "cutoff: got"),
        (table, {"prune": False}, "prune: got False"),
        (table, {"unit": "K"}, "unit: got K, but .* has eV"),
        (table, {"trials": 3}, "trials: got 3, but 4 are done"),
    ):
        with pytest.raises(ValueError, match=sentence):
            small(data, out, **{"trials": 4, **changes})
    assert {entry: entry.read_bytes() for entry in out.rglob("*") if entry.is_file()} == before


def test_what_is_no_folder(table: Path, small: Any) -> None:
    with pytest.raises(ValueError, match="out: got None, expected the name of a folder"):
        small(table, None)
    with pytest.raises(ValueError, match="folder: got 3, expected the name of a folder"):
        tuning.resume(3)


def test_folders_that_hold_no_study(table: Path, tmp_path: Path, small: Any) -> None:
    with pytest.raises(ValueError, match="holds no study"):
        tuning.resume(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no study"):
        tuning.resume(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ValueError, match="is there already"):
        small(table, tmp_path / "full")
    (tmp_path / "full" / "study.sqlite3").write_text("not a database, but text of some length" * 100, encoding="utf-8")
    for call in (tuning.resume, lambda out: small(table, out)):
        with pytest.raises(ValueError, match="cannot be read as a study"):
            call(tmp_path / "full")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "study.sqlite3").touch()
    with pytest.raises(ValueError, match="cannot be read as a study"):
        tuning.resume(tmp_path / "empty")
    assert (tmp_path / "empty" / "study.sqlite3").stat().st_size == 0


def test_one_at_a_time(study: tuple[TuningResult, Path], table: Path, small: Any) -> None:
    _, out = study
    with (out / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="another process is tuning in"):
            small(table, out, trials=5)


def test_folders_with_odd_names(table: Path, tmp_path: Path, small: Any) -> None:
    out = tmp_path / "a b%20?{x}#é"
    assert small(table, out, trials=1, epochs=1).n_done == 1
    assert tuning.resume(out, trials=2).n_done == 2
    assert (out / "study.sqlite3").is_file()


@pytest.mark.parametrize("package", ["optuna", "plotly"])
def test_missing_packages(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, small: Any) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    calls: tuple[Callable[[], Any], ...] = (lambda: small(table, tmp_path / "study"), lambda: tuning.resume(tmp_path / "study"))
    for call in calls:
        with pytest.raises(ImportError, match=rf"the package '{package}' .* pip install \"cgfast\[train\]\""):
            call()
    assert not (tmp_path / "study").exists()


def test_optuna_is_silent_and_left_as_it_was(
    study: tuple[TuningResult, Path], table: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], small: Any
) -> None:
    import optuna

    del study
    level = optuna.logging.get_verbosity()
    small(table, tmp_path / "study", trials=2, epochs=1)
    assert optuna.logging.get_verbosity() == level
    assert capfd.readouterr() == ("", "")
