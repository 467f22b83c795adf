"""What a search space says, against expectations written by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cgfast.training.options import TrainOptions
from cgfast.tuning.space import (
    DEFAULT_SPACE,
    FIXED,
    Choices,
    Range,
    check_space,
    default_space,
    parse_assignments,
    parse_option,
    parse_space,
    read_space,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "said", "expected"),
    [
        ("learning_rate", "0.001..0.05:log", Range(0.001, 0.05, log=True)),
        ("learning_rate", "1e-3 .. 5e-2 : log", Range(0.001, 0.05, log=True)),
        ("learning_rate", {"low": 0.001, "high": 0.05, "log": True}, Range(0.001, 0.05, log=True)),
        ("learning_rate", [0.01, 0.02], Choices((0.01, 0.02))),
        ("n_conv", "2..6", Range(2, 6)),
        ("n_conv", {"low": 2, "high": 6}, Range(2, 6)),
        ("n_conv", "4", Choices((4,))),
        ("h_fea_len", "32..128:step=32", Range(32, 128, step=32)),
        ("h_fea_len", "16..256:log", Range(16, 256, log=True)),
        ("atom_fea_len", "32|64|96", Choices((32, 64, 96))),
        ("cutoff", "5..9:step=0.1", Range(5.0, 9.0, step=0.1)),
        ("cutoff", "5..9", Range(5.0, 9.0)),
        ("conv", "CGConv|CrystalGraphConv", Choices(("CGConv", "CrystalGraphConv"))),
        ("max_neighbors", "8|12|none", Choices((8, 12, None))),
        ("max_neighbors", [8, None], Choices((8, None))),
        ("patience", "5..20", Range(5, 20)),
        ("precision", [32, 64], Choices(("32", "64"))),
        ("weight_decay", "0..0.1", Range(0.0, 0.1)),
    ],
)
def test_values(name: str, said: Any, expected: Range | Choices) -> None:
    found = parse_space({name: said})[name]
    assert found == expected
    if isinstance(expected, Range):
        assert isinstance(found, Range)
        assert type(found.low) is type(expected.low)
        assert type(found.high) is type(expected.high)
    # What is written to the database means the same.
    assert parse_space({name: str(found)})[name] == found


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        ({"n_convs": "2..6"}, "got 'n_convs', expected one of .*n_conv"),
        ({}, "no option to search"),
        ({"n_conv": "6..2"}, "the range 6..2 is empty"),
        ({"n_conv": "2..2"}, "the range 2..2 is empty"),
        ({"weight_decay": "0..0.1:log"}, "by logarithm, expected numbers above 0"),
        ({"learning_rate": "-1..0.1:log"}, "by logarithm, expected numbers above 0"),
        ({"n_conv": "2..6.5"}, "n_conv: got '6.5', expected a whole number"),
        ({"n_conv": "two..6"}, "n_conv: got 'two', expected a whole number"),
        ({"n_conv": "2|x"}, "n_conv: got 'x', expected a whole number"),
        ({"n_conv": "2|2"}, "each once"),
        ({"n_conv": "2|none"}, "n_conv: got 'none', expected a whole number"),
        ({"n_conv": []}, "expected one or more"),
        ({"n_conv": True}, "expected text like"),
        ({"n_conv": [True]}, "got True, expected a whole number"),
        ({"n_conv": "2..6:linear"}, "got 'linear' behind a range"),
        ({"n_conv": "2..6:step="}, "got 'step=' behind a range"),
        ({"n_conv": "2..6:step=3"}, "a step that leads from low to high"),
        ({"n_conv": "2..6:step=0"}, "a step that leads from low to high"),
        ({"learning_rate": "0.001..0.05:log:step=0.001"}, "without log"),
        ({"learning_rate": "nan..0.05"}, "got 'nan', expected a number"),
        ({"learning_rate": "0.1..inf"}, "got 'inf', expected a number"),
        ({"n_conv": {"low": 2}}, "a range with low, expected low and high"),
        ({"n_conv": {"low": 2, "high": 6, "steps": 1}}, "a range with high, low, steps"),
        ({"n_conv": {"low": 2, "high": 6, "log": "yes"}}, "got log='yes'"),
        ({"conv": "A..B"}, "conv: got a range, expected choices"),
        ({"split": "grouped|random"}, "split cannot be searched: .*same rows"),
        ({"epochs": "10..20"}, "epochs cannot be searched: .*epoch by epoch"),
        ({"seeds": "1..2"}, "seeds cannot be searched"),
    ],
)
def test_refused(space: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_space(space)


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        ({"conv": "CGConv|GCN"}, "conv: got 'GCN'"),
        ({"n_conv": "0..3"}, "n_conv: got 0"),
        ({"average": "0.9..1.0"}, "average: got 1.0"),
        ({"ties": "shell|canonical"}, None),
    ],
)
def test_values_that_a_training_refuses(space: dict[str, str], sentence: str | None) -> None:
    parsed = parse_space(space)
    if sentence is None:
        check_space(parsed, TrainOptions())
        return
    with pytest.raises(ValueError, match=sentence):
        check_space(parsed, TrainOptions())


def test_every_option_is_either_searched_or_refused_with_a_reason() -> None:
    for name, value in TrainOptions().to_dict().items():
        if name in FIXED:
            continue
        assert parse_space({name: [value]})[name].ends() == (value,)


def test_no_neighbors_means_all() -> None:
    assert parse_option("max_neighbors", "0") is None
    assert parse_option("max_neighbors", "none") is None
    assert parse_option("max_neighbors", "8") == 8


def test_membership() -> None:
    assert 0.3 in Range(0.1, 0.5, step=0.1)  # 0.1 + 2 * 0.1 is not 0.3 in floats
    assert 0.35 not in Range(0.1, 0.5, step=0.1)
    assert 64 in Range(32, 128, step=32)
    assert 65 not in Range(32, 128, step=32)
    assert 0.5 not in Range(0, 2)
    assert True not in Range(0, 2)
    assert None not in Range(0, 2)
    assert None in Choices((None, 2))


def test_default_space() -> None:
    assert set(default_space(TrainOptions(), [])) == {"atom_fea_len", "n_conv", "h_fea_len", "learning_rate", "cutoff"}
    assert set(default_space(TrainOptions(), ["n_conv", "seed"])) == {"atom_fea_len", "h_fea_len", "learning_rate", "cutoff"}
    assert "h_fea_len" not in default_space(TrainOptions(readout="site"), [])
    check_space(default_space(TrainOptions(), []), TrainOptions())
    with pytest.raises(ValueError, match="expected one that is left to search"):
        default_space(TrainOptions(), list(DEFAULT_SPACE))


def test_the_default_space_has_the_preset() -> None:
    options = TrainOptions()
    for name, values in default_space(options, []).items():
        assert getattr(options, name) in values


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "space.json"
    file.write_text(json.dumps({"n_conv": "2..6", "cutoff": [5, 6]}), encoding="utf-8")
    assert parse_space(read_space(file)) == {"cutoff": Choices((5.0, 6.0)), "n_conv": Range(2, 6)}
    for text, sentence in (("[1]", "holds list, expected an object"), ("{", "cannot be read as JSON")):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=sentence):
            read_space(file)
    with pytest.raises(ValueError, match="No such file"):
        read_space(tmp_path / "none.json")


def test_assignments() -> None:
    assert parse_assignments(["n-conv=2..6", "conv = A|B"], "--search") == {"n_conv": "2..6", "conv": "A|B"}
    for texts, sentence in ((["n_conv"], "expected NAME=VALUE"), (["n_conv="], "NAME=VALUE"), (["a=1", "a=2"], "got a twice")):
        with pytest.raises(ValueError, match=sentence):
            parse_assignments(texts, "--search")


def test_single_options() -> None:
    assert parse_option("fractions", "0.7,0.15, 0.15") == (0.7, 0.15, 0.15)
    assert parse_option("milestones", "10,20") == (10, 20)
    assert parse_option("max_neighbors", "none") is None
    assert parse_option("fold", "1/5") == "1/5"
    assert parse_option("batch_size", "64") == 64
    with pytest.raises(ValueError, match="got 'batch', expected one of"):
        parse_option("batch", "64")
    with pytest.raises(ValueError, match="batch_size: got 'x', expected a whole number"):
        parse_option("batch_size", "x")
