"""What finetune() refuses: labels that are not the model's, options that are, and models that cannot be started from."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("lightning")
pytest.importorskip("pyarrow")
pytest.importorskip("typer")

from typer import testing

import cgfast
from cgfast import cli
from cgfast.io.labelled import read_labelled
from cgfast.training import finetune, train
from tests.training.runs import check
from tests.training.samples import TINY, crystals, some_values, write_table

if TYPE_CHECKING:
    from pathlib import Path

RECIPE: dict[str, Any] = {"epochs": 1, "batch_size": 8, "threads": 1}
MADE = crystals(40)
Y = some_values(MADE)
WORDS = np.where(np.median(Y) < Y, "wide", "none")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("finetune")


def model_of(folder: Path, target: str, unit: str = "eV", **changes: Any) -> Path:
    """A model of one of the columns, trained when it is first asked for."""
    place = folder / (f"{target}-{unit}" + "".join(map(str, changes.values()))).replace("/", "-")
    if not place.exists():
        ok = np.where(np.median(Y) < Y, "yes", "no")
        source = write_table(folder / "first.parquet", MADE, {"y": unit}, y=Y, word=WORDS, ok=ok)
        train(source, target, out=place, **TINY | {"epochs": 1} | changes)
    return place


def data(tmp_path: Path, units: dict[str, str] | None = None, **columns: Any) -> Path:
    return write_table(tmp_path / "data.parquet", MADE, units, **columns)


def refused(said: str, out: Path, *arguments: Any, **options: Any) -> None:
    before = sorted(out.parent.rglob("*"))
    with pytest.raises(ValueError, match=said) as error:
        finetune(*arguments, out=out, **RECIPE | options)
    assert "\n" not in str(error.value)
    assert sorted(out.parent.rglob("*")) == before


class TestLabels:
    def test_the_same_classes(self, folder: Path, tmp_path: Path) -> None:
        """What a word means is the model's, whatever order the new table would give its words."""
        start = model_of(folder, "word")
        source = data(tmp_path, word=WORDS)
        result = finetune(start, source, out=tmp_path / "f", **RECIPE)
        assert result.model.classes == cgfast.load_model(start).classes == ("none", "wide")
        check(result, source, ["word"])

    def test_other_words(self, folder: Path, tmp_path: Path) -> None:
        start = model_of(folder, "word")
        source = data(tmp_path, word=np.where(WORDS == "wide", "broad", "none"))
        refused("target word: got 'broad', expected 'none' or 'wide'", tmp_path / "f", start, source)
        in_memory = read_labelled(source, ["word"])
        refused("target: word has the classes broad and none, expected none and wide", tmp_path / "f", start, in_memory)

    def test_answers(self, folder: Path, tmp_path: Path) -> None:
        start = model_of(folder, "ok")
        source = data(tmp_path, ok=np.where(np.median(Y) < Y, "TRUE", "no"))
        check(finetune(start, source, out=tmp_path / "f", **RECIPE), source, ["ok"])

    def test_text_for_numbers(self, folder: Path, tmp_path: Path) -> None:
        start = model_of(folder, "y")
        said = r"target: y is text \(none and wide\), expected numbers: y-eV predicts y; or name the target to learn it anew"
        refused(said, tmp_path / "f", start, data(tmp_path, y=WORDS))

    def test_numbers_for_classes(self, folder: Path, tmp_path: Path) -> None:
        start = model_of(folder, "word")
        refused(r"target: word holds .*, expected 0 and 1 for none and wide", tmp_path / "f", start, data(tmp_path, word=Y))
        source = data(tmp_path, word=(WORDS == "wide").astype(int))
        result = finetune(start, source, out=tmp_path / "f", **RECIPE)
        assert result.model.classes == ("none", "wide")

    def test_another_unit(self, folder: Path, tmp_path: Path) -> None:
        start = model_of(folder, "y")
        source = data(tmp_path, {"y": "meV"}, y=1000 * Y)
        refused("unit: y is in meV, but y-eV predicts y in eV; expected the same", tmp_path / "f", start, source)
        refused("unit: y is in meV", tmp_path / "f", start, data(tmp_path, y=1000 * Y), unit="meV")
        # The word of the user stands above that of the file.
        result = finetune(start, data(tmp_path, {"y": "meV"}, y=Y), out=tmp_path / "f", unit="eV", **RECIPE)
        assert result.model.unit == "eV"
        learned = finetune(start, source, "y", out=tmp_path / "g", **RECIPE)
        assert learned.model.unit == "meV"

    @pytest.mark.parametrize("unit", ["GPa", ""])
    def test_units_of_logarithms(self, folder: Path, tmp_path: Path, unit: str) -> None:
        start = model_of(folder, "log10(y)", unit)
        result = finetune(start, data(tmp_path, {"y": "GPa"}, y=Y), out=tmp_path / "f", **RECIPE)
        assert result.model.unit == ("log10(GPa)" if unit else "unit of its training data")
        if unit:
            refused(r"unit: log10\(y\) is in log10\(Pa\)", tmp_path / "g", start, data(tmp_path, {"y": "Pa"}, y=Y))

    def test_no_such_column(self, folder: Path, tmp_path: Path) -> None:
        refused("no column y", tmp_path / "f", model_of(folder, "y"), data(tmp_path, z=Y))

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"log10": True}, "log10: got True without a target"),
            ({"task": "classification"}, "task: got 'classification' without a target"),
            ({"unit": ["eV", "K"]}, "unit: got 2 units, expected one for each of 1 targets"),
        ],
    )
    def test_what_needs_a_target(self, folder: Path, tmp_path: Path, options: dict[str, Any], said: str) -> None:
        refused(said, tmp_path / "f", model_of(folder, "y"), data(tmp_path, y=Y), **options)


@pytest.mark.parametrize(
    "options",
    [
        {"conv": "CGConv"},
        {"n_conv": 2},
        {"atom_fea_len": 8},
        {"readout": "head"},
        {"cutoff": 5.0},
        {"max_neighbors": None},
        {"ties": "shell"},
        {"missing": "drop"},
        {"step": 0.5},
    ],
)
def test_options_of_the_network(folder: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    (name,) = options
    said = f"{name}: the network and its graphs are those of y-eV, expected options of the recipe"
    refused(said, tmp_path / "f", model_of(folder, "y"), data(tmp_path, y=Y), **options)


def test_options_of_the_recipe(folder: Path, tmp_path: Path) -> None:
    source = data(tmp_path, y=Y)
    for options, said in (
        ({"epochs": 0}, "epochs: got 0"),
        ({"lr": 1}, "options: got lr"),
        ({"epochs": None}, "epochs: got None"),
    ):
        refused(said, tmp_path / "f", model_of(folder, "y"), source, **options)
    result = finetune(model_of(folder, "y"), source, out=tmp_path / "f", threads=1, epochs=1)
    card = cgfast.load_model(tmp_path / "f").card
    assert (card["options"]["learning_rate"], card["options"]["batch_size"]) == (0.002, 32)
    assert result.model.network.architecture() == cgfast.load_model(model_of(folder, "y")).network.architecture()


class TestModels:
    def test_an_ensemble(self, folder: Path, tmp_path: Path) -> None:
        said = r"model: got y-eV2, an ensemble of 2, expected a single network to start from"
        refused(said, tmp_path / "f", model_of(folder, "y", seeds=2), data(tmp_path, y=Y))

    @pytest.mark.parametrize("model", [3, None, b"x"])
    def test_no_model(self, tmp_path: Path, model: Any) -> None:
        refused("model: got .*, expected a name, a path or a loaded model", tmp_path / "f", model, data(tmp_path, y=Y))

    def test_an_unknown_name(self, tmp_path: Path) -> None:
        refused("model: there is no model 'cgfast/none'", tmp_path / "f", "cgfast/none", data(tmp_path, y=Y))

    @pytest.mark.parametrize("out", [None, 3])
    def test_no_place(self, folder: Path, tmp_path: Path, out: Any) -> None:
        with pytest.raises(ValueError, match="out: got"):
            finetune(model_of(folder, "y"), data(tmp_path, y=Y), out=out, **RECIPE)

    def test_a_model_in_memory(self, tmp_path: Path) -> None:
        """It is found again by its file."""
        source = data(tmp_path, y=Y)
        made = train(source, "y", out=tmp_path / "m", **TINY | {"epochs": 1})
        result = finetune(made.model, source, out=tmp_path / "f", **RECIPE)
        start = json.loads((tmp_path / "f" / "run.json").read_text())["plan"]["start"]
        assert (start["model"], start["sha256"]) == (str(tmp_path / "m"), made.model.sha256)
        by_name = finetune(tmp_path / "m", source, out=tmp_path / "g", **RECIPE)
        assert result.metrics == by_name.metrics

    @pytest.mark.parametrize("change", [{"mean": (5.0,)}, {"ties": "shell"}, {"weights": 1.0}])
    def test_a_model_in_memory_that_was_changed(self, folder: Path, tmp_path: Path, change: dict[str, Any]) -> None:
        model = cgfast.load_model(model_of(folder, "y"))
        if "mean" in change:
            model = dataclasses.replace(model, **change)
        elif "ties" in change:
            model = model.with_ties(change["ties"])
        else:
            model.network.fc_out.bias.data += change["weights"]
        refused("model: got y-eV in memory, which is not what .* holds; save", tmp_path / "f", model, data(tmp_path, y=Y))


def run(*arguments: object, code: int = 0) -> Any:
    result = testing.CliRunner().invoke(cli.app, ["finetune", *map(str, arguments)])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def test_the_command(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    source = data(tmp_path, {"z": "K"}, z=Y)
    recipe = ["--epochs", 2, "--batch-size", 8, "--threads", 2, "--processes", 2, "--precision", "64", "--seed", 3]
    schedule = ["--schedule", "multistep", "--milestones", 1, "--gamma", 0.5, "--optimizer", "sgd", "--momentum", 0.5]
    result = run(model_of(folder, "y"), source, "-t", "z", "-o", tmp_path / "f", "--freeze", *recipe, *schedule)
    assert "note: the head starts anew: y-eV predicts y, not z" in result.stderr
    assert "40 rows in: 40 used" in result.stdout
    options = json.loads((tmp_path / "f" / "run.json").read_text())["plan"]["options"]
    expected = {
        "precision": "64",
        "processes": 2,
        "milestones": [1],
        "gamma": 0.5,
        "momentum": 0.5,
        "seed": 3,
        "max_neighbors": 6,
    }
    assert {name: options[name] for name in expected} == expected
    said = run(model_of(folder, "y"), data(tmp_path, y=WORDS), "-o", tmp_path / "g", code=2).stderr
    assert said.startswith("error: target: y is text")
