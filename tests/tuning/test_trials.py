"""Trials that cannot be trained, and what all trials share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

for module in ("lightning", "torchmetrics", "optuna", "plotly", "pyarrow"):
    pytest.importorskip(module, reason="tuning needs the extra train")
tuning = pytest.importorskip("cgfast.tuning")

if TYPE_CHECKING:
    from pathlib import Path

COLUMN = "mean_number_eV"


@pytest.fixture
def break_wide(monkeypatch: pytest.MonkeyPatch) -> Any:
    """break_wide(error): trainings with n_conv=2 end with this error."""
    from cgfast.tuning import trials

    run_plan = trials.run_plan

    def break_with(error: Exception | None, cause: Exception | None = None) -> None:
        def run(plan: Any, *arguments: Any, **named: Any) -> Any:
            if plan.options.n_conv == 2 and error is not None:
                raise error from cause
            return run_plan(plan, *arguments, **named)

        monkeypatch.setattr(trials, "run_plan", run)

    return break_with


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("Expected more than 1 value per channel"), "Expected more than 1 value per channel"),
        (ZeroDivisionError("float division by zero"), "ZeroDivisionError: float division by zero"),
    ],
)
def test_a_trial_that_cannot_train_does_not_end_the_study(
    table: Path, tmp_path: Path, break_wide: Any, error: Exception, reason: str, small: Any
) -> None:
    break_wide(error)
    result = small(table, tmp_path / "study", trials=3, space={"n_conv": [1, 2]}, epochs=1)
    assert result.n_done == 3
    found = {row.options["n_conv"]: (row.state, row.reason) for row in result.trials}
    assert found == {1: ("complete", ""), 2: ("impossible", reason)}


def test_a_diverged_trial_does_not_name_a_model_that_will_be_gone(
    table: Path, tmp_path: Path, break_wide: Any, small: Any
) -> None:
    from cgfast.training.module import DivergedError

    first = DivergedError("the loss is not a number")
    break_wide(DivergedError(f"{first}; the best model until then is in trials/000"), first)
    result = small(table, tmp_path / "study", trials=3, space={"n_conv": [1, 2]}, epochs=1)
    assert {row.reason for row in result.trials if row.state == "diverged"} == {str(first)}


def test_a_disk_that_is_full_is_no_fault_of_the_options(table: Path, tmp_path: Path, break_wide: Any, small: Any) -> None:
    break_wide(ValueError("x cannot be written: No space left on device"), OSError(28, "No space left on device"))
    space = {"n_conv": [2]}
    with pytest.raises(ValueError, match="No space left"):
        small(table, tmp_path / "study", trials=1, space=space, epochs=1)
    break_wide(None)
    result = small(table, tmp_path / "study", trials=1, space=space, epochs=1)
    assert [(row.state, row.options) for row in result.trials] == [("complete", {"n_conv": 2})]


def test_batches_of_one_atom(table: Path, tmp_path: Path, small: Any) -> None:
    """Some crystals have one atom, of which a batch norm knows no spread."""
    result = small(table, tmp_path / "study", trials=6, space={"batch_atoms": [1, 60]}, epochs=1, n_conv=1)
    states = {row.options["batch_atoms"]: row.state for row in result.trials}
    assert states == {1: "impossible", 60: "complete"}


def test_none_is_a_value(table: Path, tmp_path: Path, small: Any) -> None:
    result = small(table, tmp_path / "study", trials=1, epochs=1, max_neighbors=None)
    assert result.options.max_neighbors is None
    assert result.model.spec.max_neighbors is None


def test_other_element_features_are_another_study(table: Path, tmp_path: Path, small: Any) -> None:
    features = {str(z): [z / 100, 1.0] for z in range(1, 101)}
    for name, changed in (("a.json", {}), ("copy.json", {}), ("b.json", {"1": [0.5, 1.0]})):
        (tmp_path / name).write_text(json.dumps(features | changed), encoding="utf-8")
    more = {"space": {"n_conv": "1..2"}, "epochs": 1}
    small(table, tmp_path / "study", trials=1, atom_init=tmp_path / "a.json", **more)
    for place in (tmp_path / "b.json", None):
        with pytest.raises(ValueError, match=r"atom_init: the study in .* was begun with other element features"):
            small(table, tmp_path / "study", trials=2, atom_init=place, **more)
    assert small(table, tmp_path / "study", trials=2, atom_init=tmp_path / "copy.json", **more).n_done == 2
    (tmp_path / "a.json").write_bytes((tmp_path / "b.json").read_bytes())
    with pytest.raises(ValueError, match="other element features"):
        tuning.resume(tmp_path / "study", trials=3)
