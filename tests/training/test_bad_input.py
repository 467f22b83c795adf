"""What cannot be trained is said in one sentence, before anything is written."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("lightning")
pytest.importorskip("pyarrow")

import cgfast
from cgfast.training import train
from tests.training.samples import TINY, crystals, labelled, some_values, write_folder, write_table

if TYPE_CHECKING:
    from pathlib import Path

N = 40


@pytest.fixture
def table(tmp_path: Path) -> Path:
    made = crystals(N)
    y = some_values(made)
    return write_table(
        tmp_path / "data.parquet",
        made,
        y=y,
        same=[2.5] * N,
        negative=-y,
        none=[None] * N,
        endless=[math.inf] * N,
        yes=[True] * N,
        three=["a", "b", "c", None] * (N // 4),
        three_numbers=[0, 1, 2, 3] * (N // 4),
        part=["train"] * N,
        typo=["train", "val", "test", "tset"] * (N // 4),
        lists=[[1.0]] * N,
    )


BAD: list[tuple[Any, dict[str, Any], str]] = [
    ("energy", {}, r"no column energy.* found.*y"),
    ("log10(energy)", {}, r"no column energy"),
    (["y", "energy"], {}, r"no column energy"),
    ("y", {"split": "column", "split_column": "split"}, r"no column split"),
    ("same", {}, r"target same: got the one value 2.5 in all \d+ training rows, expected something to learn"),
    (["y", "same"], {}, r"target same: got the one value"),
    ("yes", {}, r"target yes: got one class only \(yes\)"),
    ("y<100", {}, r"target y<100: got one class only \(y<100\)"),
    ("y<0", {}, r"target y<0: got one class only \(not y<0\)"),
    ("none", {}, r"data: none of 40 rows has a crystal with a label; the first: c0: no label"),
    ("log10(negative)", {}, r"data: none of 40 rows has a crystal with a label"),
    ("endless", {}, r"target endless: got 40 infinite values"),
    ("three", {}, r"target three: got a text column with 3 different values \('a', 'b', 'c'\), expected numbers or two"),
    ("three_numbers", {"task": "classification"}, r"target three_numbers: got 4 different numbers \(0, 1, 2, 3\)"),
    ("lists", {}, r"target lists: got a column of list"),
    ("y<", {}, r"target must be|target 'y<'"),
    ("y<=3", {}, r"target must be"),
    ("", {}, r"target: got ''"),
    ([], {}, r"target: got \[\]"),
    (["y", "y"], {}, r"target: got y twice"),
    (["a=y", "a=negative"], {}, r"target: got a twice"),
    (["a=y", "a_std=negative"], {}, r"columns of their own"),
    ("y", {"unit": ["eV", "K"]}, r"unit: got 2 units"),
    ("y", {"unit": 3}, r"unit: got 3"),
    ("y", {"split": "column", "split_column": "part"}, r"split: no row is left for val \(40 labelled rows\)"),
    ("y", {"split": "column", "split_column": "typo"}, r"split column typo: got 'tset', expected train, val or test"),
    ("y", {"split_column": "part"}, r"split_column: got 'part', expected a column together with split='column'"),
    ("y", {"split": "fold", "fold": "1/2"}, r"fold must be K/N with N of at least 3"),
    ("y", {"split": "fold", "fold": "4/3"}, r"fold must be K/N"),
    ("y", {"split": "fold", "fold": "0/3"}, r"fold must be K/N"),
    ("y", {"split": "fold", "fold": "1/1000"}, r"split: no row is left for"),
    ("y", {"fractions": (0.999, 0.001, 0.0)}, r"split: no row is left for val"),
    ("y", {"fractions": (1.0, 0.0, 0.0)}, r"fractions: got"),
    ("y", {"fractions": (0.8, 0.3, 0.1)}, r"fractions: got"),
    ("y", {"epochs": 0}, r"epochs: got 0"),
    ("y", {"learning_rate": math.nan}, r"learning_rate: got nan"),
    ("y", {"loss": "mae"}, r"loss: got 'mae', expected one of l1, mse, huber"),
    ("y", {"lr": 0.1}, r"options: got lr, expected some of"),
    ("y", {"preset": "slow"}, r"preset: got 'slow'"),
    ("y", {"task": "guess"}, r"task: got 'guess'"),
    ("y", {"readout": "site", "pooling": "max"}, r"pooling"),
    ("y", {"atom_init": "none.json"}, r"atom_init: there is no file"),
    ("y", {"card": {"when": object()}}, r"card"),
    ("y", {"format": "xyz"}, r"format"),
    ("y", {"on_disorder": "guess"}, r"on_disorder"),
    ("y", {"seed": -1}, r"seed: got -1"),
    ("y", {"processes": 2, "threads": 1}, r"processes: got 2"),
    ("y", {"schedule": "multistep"}, r"milestones: got \(\)"),
    ("y", {"epochs": None}, r"epochs: got None"),
    ("y", {"columns": "id"}, r"columns: got 'id', expected a mapping"),
    ("y", {"loggers": "csv"}, r"loggers: got 'csv', expected a logger of lightning"),
    ("y", {"loggers": [None]}, r"loggers: got None, expected a logger"),
    ("y", {"out": None}, r"out: got None, expected the name of a folder"),
    ("y", {"out": 3}, r"out: got 3"),
]


@pytest.mark.parametrize(("target", "changes", "said"), BAD)
@pytest.mark.parametrize("there", [False, True])
def test_nothing_is_written(table: Path, tmp_path: Path, target: Any, changes: dict, said: str, there: bool) -> None:
    if there:
        (tmp_path / "m").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=said) as error:
        train(table, target, **{"out": tmp_path / "m"} | TINY | changes)
    assert sorted(tmp_path.rglob("*")) == before
    assert "\n" not in str(error.value)


BY_COLUMN = {"split": "column", "split_column": "part"}
IN_MEMORY: list[tuple[Any, dict[str, Any], dict[str, Any], str]] = [
    ("z", {}, {}, r"target: got z, expected the labels that data has: y"),
    (["y", "z"], {}, {}, r"target: got y, z"),
    ("y", {"log10": True}, {}, r"target: got log10\(y\)"),
    ("y", BY_COLUMN, {}, r"split_column: got 'part'.* data has none"),
    ("y", BY_COLUMN, {"extra": {"p": ["train"] * N, "q": []}}, r"split_column: got 'part'.* p, q"),
    ("y", {"processes": 2, "threads": 2}, {}, r"processes: got 2 with crystals in memory"),
]


@pytest.mark.parametrize(("target", "changes", "fields", "said"), IN_MEMORY)
def test_nothing_is_written_for_crystals_in_memory(tmp_path: Path, target: Any, changes: dict, fields: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        train(labelled(N, **fields), target, out=tmp_path / "m", **TINY | changes)
    assert list(tmp_path.iterdir()) == []


def test_input_that_is_not_there(tmp_path: Path) -> None:
    for source in (tmp_path / "none.parquet", tmp_path, [], [tmp_path / "a", tmp_path / "b"]):
        with pytest.raises(ValueError, match=r".+") as error:
            train(source, "y", out=tmp_path / "m", **TINY)
        assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrap", [lambda made: made, lambda made: [made], list])
def test_crystals_without_labels(tmp_path: Path, wrap: Any) -> None:
    with pytest.raises(
        ValueError, match=r"data: got Crystals, expected a file or folder, several of them, or LabelledCrystals"
    ):
        train(wrap(crystals(10)), "y", out=tmp_path / "m", **TINY)


@pytest.mark.parametrize(
    ("data", "got"), [(3, "int"), (None, "NoneType"), ([None, "a"], "NoneType"), ([], "nothing"), (["a", b"b"], "bytes")]
)
def test_data_of_another_kind(tmp_path: Path, data: Any, got: str) -> None:
    with pytest.raises(ValueError, match=rf"data: got {got}, expected a file or folder"):
        train(data, "y", out=tmp_path / "m", **TINY)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_targets(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "d", "a\nb\n", "ab")
    with pytest.raises(ValueError, match=r"no column target\. Columns found: none"):
        train(source, "target", out=tmp_path / "m", **TINY)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    "contents", ["", "[]", "{}", '{"1": [1]}', '{"1": [1, 2], "2": [1]}', '{"2": [1]}', '{"1": ["x"]}', '{"1": 3}']
)
def test_element_features_that_are_none(table: Path, tmp_path: Path, contents: str) -> None:
    path = tmp_path / "atoms.json"
    path.write_text(contents)
    with pytest.raises(ValueError, match=r"atom_init|no row|none of 40 rows has a crystal"):
        train(table, "y", out=tmp_path / "m", atom_init=path, **TINY)
    assert not (tmp_path / "m").exists()


def test_elements_that_the_features_do_not_know(table: Path, tmp_path: Path) -> None:
    """Iron is beyond the table's twenty rows: its crystals are accounted for, the others train."""
    path = tmp_path / "atoms.json"
    path.write_text(json.dumps({str(z): [z / 10, 1.0] for z in range(1, 21)}))
    result = train(table, "y", out=tmp_path / "m", atom_init=path, **TINY | {"epochs": 1})
    made = crystals(N)
    iron = [k for k in range(N) if 26 in made[k].atomic_numbers]
    assert result.n_failures == len(iron) > 0
    lines = (tmp_path / "m" / "failures.csv").read_text().splitlines()[1:]
    assert [int(line.split(",")[1]) for line in lines] == iron


class TestPlaces:
    def test_no_folder_above(self, table: Path, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"out: the folder .*nowhere does not exist"):
            train(table, "y", out=tmp_path / "nowhere" / "m", **TINY)
        assert not (tmp_path / "nowhere").exists()

    def test_a_file(self, table: Path, tmp_path: Path) -> None:
        (tmp_path / "m").write_text("mine")
        with pytest.raises(ValueError, match=r"out: .*m is there already, expected a new or empty folder"):
            train(table, "y", out=tmp_path / "m", **TINY)
        assert (tmp_path / "m").read_text() == "mine"

    def test_a_folder_with_something(self, table: Path, tmp_path: Path) -> None:
        (tmp_path / "m").mkdir()
        (tmp_path / "m" / "thesis.tex").write_text("mine")
        with pytest.raises(ValueError, match=r"out: .*m is there already, expected a new or empty folder"):
            train(table, "y", out=tmp_path / "m", **TINY)
        assert [path.name for path in (tmp_path / "m").iterdir()] == ["thesis.tex"]

    def test_an_empty_folder_is_fine(self, table: Path, tmp_path: Path) -> None:
        (tmp_path / "m").mkdir()
        train(table, "y", out=tmp_path / "m", **TINY | {"epochs": 1})
        assert cgfast.load_model(tmp_path / "m").column == "y"

    def test_a_finished_model(self, table: Path, tmp_path: Path) -> None:
        train(table, "y", out=tmp_path / "m", **TINY | {"epochs": 1})
        before = (tmp_path / "m" / "model.safetensors").read_bytes()
        with pytest.raises(ValueError, match=r"or resume to go on with the run in"):
            train(table, "y", out=tmp_path / "m", **TINY | {"epochs": 1})
        assert (tmp_path / "m" / "model.safetensors").read_bytes() == before
