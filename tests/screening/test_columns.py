"""Column names: plain, prefixed on collision, never twice."""

from __future__ import annotations

import pytest

from cgfast.screening.columns import kept_columns, prediction_columns


def test_plain_and_prefixed(make_model) -> None:
    models = [make_model("a", column="x"), make_model("b", column="x"), make_model("c", column="y")]
    assert prediction_columns(models) == ["a.x", "b.x", "y"]
    assert prediction_columns([make_model("a", column="flags")]) == ["a.flags"]


def test_same_name_other_weights(make_model) -> None:
    first, second = make_model("a"), make_model("a")
    first.sha256, second.sha256 = "1" * 64, "2" * 64
    assert prediction_columns([first, second]) == ["a@11111111.mean_z", "a@22222222.mean_z"]


def test_the_same_model_twice_is_refused(make_model) -> None:
    with pytest.raises(ValueError, match="a is given twice"):
        prediction_columns([make_model("a"), make_model("a")])


def test_kept_columns_give_way() -> None:
    assert kept_columns(["x"], ["id", "x", "flags", "e"]) == ["input.id", "input.x", "input.flags", "e"]
