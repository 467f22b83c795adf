"""Studies that are interrupted, and go on as if nothing had been."""

from __future__ import annotations

import csv
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

for module in ("lightning", "torchmetrics", "optuna", "plotly", "pyarrow"):
    pytest.importorskip(module, reason="tuning needs the extra train")
models = pytest.importorskip("cgfast.models")
tuning = pytest.importorskip("cgfast.tuning")

if TYPE_CHECKING:
    from pathlib import Path

    from cgfast.tuning import TuningResult

COLUMN = "mean_number_eV"


def ends(result: TuningResult) -> list[Any]:
    """What must be the same in two studies that are."""
    return [(row.state, row.score, row.best_epoch, row.options, row.errors) for row in result.trials]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class Killed(BaseException):
    """What nobody expects."""


def test_goes_on_and_changes_nothing_before(study: tuple[TuningResult, Path], table: Path, tmp_path: Path, small: Any) -> None:
    result, _ = study
    out = tmp_path / "study"
    assert ends(small(table, out, trials=2)) == ends(result)[:2]
    seen: list[tuple[int, int, int]] = []
    longer = tuning.resume(
        out, trials=4, on_trial=lambda report: seen.append((report.trial.number, report.done, report.trials))
    )
    assert ends(longer) == ends(result)
    assert seen == [(2, 3, 4), (3, 4, 4)]
    again = tuning.resume(out)  # nothing left to do
    assert (ends(again), again.n_trials) == (ends(result), 4)
    assert again.model.sha256 == result.model.sha256


@pytest.mark.parametrize("error", [Killed, KeyboardInterrupt])
@pytest.mark.parametrize("epoch", [1, 2])
def test_an_interrupted_study_ends_like_one_that_never_stopped(
    study: tuple[TuningResult, Path], table: Path, tmp_path: Path, error: type[BaseException], epoch: int, small: Any
) -> None:
    result, _ = study
    out = tmp_path / "study"
    trials = []

    def stop(report: Any) -> None:
        if len(trials) == 2 and report.epoch == epoch:
            raise error

    with pytest.raises(error):
        small(table, out, trials=4, keep=2, on_trial=trials.append, on_epoch=stop)
    assert models.load_model(out / "best").sha256  # what there is can be used
    assert len(rows_of(out / "trials.csv")) == 2
    epochs: list[int] = []
    longer = small(table, out, trials=4, keep=2, on_epoch=lambda report: epochs.append(report.epoch))
    assert ends(longer) == ends(result)
    assert longer.model.sha256 == result.model.sha256
    assert epochs == [*range(epoch, 4), 1, 2, 3]  # epochs that are done are not done again
    assert [row.number for row in longer.trials] == [0, 1, 3, 4]
    assert {entry.name for entry in (out / "trials").iterdir()} == {"000", "001", "003", "004"}


def test_time_is_up_in_the_middle_of_a_trial(
    study: tuple[TuningResult, Path], table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: Any
) -> None:
    result, _ = study
    out, now, trials = tmp_path / "study", [0.0], []

    def watch(report: Any) -> None:
        if len(trials) == 1 and report.epoch == 2:
            now[0] = math.inf

    with monkeypatch.context() as patch:
        patch.setattr("cgfast.tuning.trials.time", SimpleNamespace(monotonic=lambda: now[0]))
        short = small(table, out, trials=4, timeout=1000.0, on_trial=trials.append, on_epoch=watch)
    assert ends(short) == ends(result)[:1]
    assert (short.n_done, short.n_trials) == (1, 4)
    epochs: list[int] = []
    longer = tuning.resume(out, keep=2, on_epoch=lambda report: epochs.append(report.epoch))
    assert ends(longer) == ends(result)
    assert epochs[:2] == [2, 3]


def test_no_time_is_enough_for_one_trial(table: Path, tmp_path: Path, small: Any) -> None:
    assert small(table, tmp_path / "study", timeout=1e-9).n_done == 1


def test_the_seed_decides(study: tuple[TuningResult, Path], table: Path, tmp_path: Path, small: Any) -> None:
    result, _ = study
    other = small(table, tmp_path / "study", trials=2, seed=1)
    assert other.trials[1].options != result.trials[1].options
    assert other.options.seed == 1
