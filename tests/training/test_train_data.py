"""train() of classes and numbers, of several targets, of real data, and of data with holes."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("lightning")
pytest.importorskip("pyarrow")


import cgfast
from cgfast.io.labelled import read_labelled
from cgfast.training import train
from tests.training.runs import check, parts_of
from tests.training.samples import SYMBOLS, TINY, crystals, labelled, slice_table, some_values, write_folder, write_table

if TYPE_CHECKING:
    from pathlib import Path

HEAT = "heat_all_eV_per_cell"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    made = crystals(60)
    y = some_values(made)
    word = np.where(y > 2.2, "up", "down")
    return write_table(tmp_path / "data.parquet", made, {"y": "eV"}, y=y, big=y > np.median(y), word=word)


class TestClasses:
    @pytest.mark.parametrize(
        ("label", "column"), [("big", "big_probability"), ("word", "up_probability"), ("up=y>2.2", "up_probability")]
    )
    @pytest.mark.parametrize("conv", ["CGConv", "CrystalGraphConv"])
    def test_one(self, table: Path, tmp_path: Path, label: str, column: str, conv: str) -> None:
        result = train(table, label, out=tmp_path / "m", **TINY | {"conv": conv, "readout": "head", "epochs": 12})
        assert list(result.metrics) == [column]
        check(result, table, [label.removeprefix("up=")])
        probability = result.model.predict(crystals(60)).values
        assert ((probability > 0) & (probability < 1)).all()
        assert np.ptp(probability) > 0

    @pytest.mark.parametrize("readout", ["atom", "site"])
    def test_readouts(self, table: Path, tmp_path: Path, readout: str) -> None:
        result = train(table, "big", out=tmp_path / "m", **TINY | {"readout": readout})
        check(result, table, ["big"])

    def test_weights(self, tmp_path: Path) -> None:
        """Nine of ten are of one class: balanced weights move the mean probability towards a half."""
        made = crystals(120)
        rare = some_values(made) > np.quantile(some_values(made), 0.9)
        source = write_table(tmp_path / "d.parquet", made, rare=rare)
        means = {}
        for kind in ("none", "balanced"):
            options = TINY | {"class_weights": kind, "readout": "head", "epochs": 5, "split": "random", "average": 0.0}
            means[kind] = train(source, "rare", out=tmp_path / kind, **options).model.predict(made).values.mean()
        assert means["none"] + 0.1 < means["balanced"]

    def test_numbers_as_classes(self, tmp_path: Path) -> None:
        made = crystals(40)
        source = write_table(tmp_path / "d.parquet", made, n=(some_values(made) > 2.2).astype(int))
        as_numbers = train(source, "n", out=tmp_path / "a", **TINY | {"epochs": 1})
        as_classes = train(source, "n", out=tmp_path / "b", **TINY | {"epochs": 1, "task": "classification"})
        assert as_numbers.model.classes is None
        assert as_classes.model.classes == ("not n", "n")


class TestSeveralTargets:
    def test_missing_labels(self, tmp_path: Path) -> None:
        made = crystals(60)
        y = some_values(made)
        rng = np.random.default_rng(0)
        k = np.where(rng.random(60) < 0.5, None, 10**y)
        big = np.where(rng.random(60) < 0.5, None, y > 2.2)
        k[7] = big[7] = None
        source = write_table(tmp_path / "d.parquet", made, {"k": "GPa"}, y=y, k=k.tolist(), big=big.tolist())
        labels = ["log10(k)", "big"]
        result = train(source, ["log10(k)", "is_big=big"], out=tmp_path / "m", **TINY | {"epochs": 12, "split": "random"})
        check(result, source, labels)
        neither = int(sum(a is None and b is None for a, b in zip(k, big, strict=True)))
        assert result.n_failures == neither > 0
        assert (tmp_path / "m" / "failures.csv").read_text().count(",no label\n") == neither
        assert [(c.name, c.unit) for c in result.model.columns] == [("log10_k", "log10(GPa)"), ("is_big_probability", "1")]

    def test_a_target_without_labels_in_val_and_test(self, tmp_path: Path) -> None:
        values = np.full((40, 2), np.nan)
        values[:, 0] = labelled(40).values[:, 0]
        values[:20, 1] = values[:20, 0] ** 2
        extra = {"part": ["train"] * 30 + ["val"] * 5 + ["test"] * 5}
        data = labelled(
            40, values=values, labels=("y", "z"), units=("", ""), classes=(None, None), binary=(False, False), extra=extra
        )
        result = train(data, ["y", "z"], out=tmp_path / "m", **TINY | {"split": "column", "split_column": "part"})
        assert result.metrics["z"] == {"n": 0, "mae": None, "rmse": None, "r2": None, "max_error": None}
        assert result.metrics["y"]["n"] == 5
        assert cgfast.load_model(tmp_path / "m").card["metrics"]["z"]["mae"] is None
        assert {name for name in result.history[0] if name.startswith("val_")} == {"val_score", "val_y_mae"}
        (note,) = [note for note in result.notes if "target" in note]
        assert note == "target z: the validation part has no label of it, so that it has no say in which epoch is best"
        assert cgfast.load_model(tmp_path / "m").card["notes"] == list(result.notes)

    def test_gap_and_metal(self, data: Path, tmp_path: Path) -> None:
        source = slice_table(data / "mp_cgcnn_36k.parquet", tmp_path / "d.parquet", range(0, 30000, 200))
        targets = ["band_gap_eV", "metal=band_gap_eV<0.001"]
        result = train(source, targets, out=tmp_path / "m", **TINY | {"batch_size": 32})
        check(result, source, ["band_gap_eV", "band_gap_eV<0.001"])
        assert [(c.name, c.unit) for c in result.model.columns] == [("band_gap_eV", "eV"), ("metal_probability", "1")]
        assert result.model.task == "mixed"


def test_perov5(data: Path, tmp_path: Path) -> None:
    """More than half of the rows have no label: they are not lost."""
    source = slice_table(data / "perov5.parquet", tmp_path / "d.parquet", slice(0, None, 20))
    result = train(source, HEAT, out=tmp_path / "m", **TINY | {"batch_size": 32, "epochs": 6})
    losses = [row["train_loss"] for row in result.history]
    assert losses[-1] < 0.8 * losses[0]
    check(result, source, [HEAT])
    read = read_labelled(source, [HEAT])
    assert result.n_failures == np.isnan(read.values).sum() > 400
    assert result.model.unit == "eV/cell"


def test_a_split_that_others_made(data: Path, tmp_path: Path) -> None:
    source = slice_table(data / "mp_cgcnn_36k.parquet", tmp_path / "d.parquet", slice(0, None, 150))
    label, column = "formation_energy_per_atom_eV", "megnet2018_split"
    result = train(source, label, out=tmp_path / "m", **TINY | {"split_column": column, "split": "column", "batch_size": 32})
    read = read_labelled(source, [label], extra=[column])
    words = {int(row): word or "" for row, word in zip(read.rows, read.extra[column], strict=True)}
    assert parts_of(result) == words
    assert {"train", "val", "test"} <= set(words.values())
    check(result, source, [label])


def test_a_split_without_test_is_measured_on_val(tmp_path: Path, table: Path) -> None:
    result = train(table, "y", out=tmp_path / "m", **TINY | {"fractions": (0.7, 0.3, 0.0)})
    assert result.part == "val"
    check(result, table, ["y"])


def test_notes(table: Path, tmp_path: Path) -> None:
    grouped = train(table, "y", out=tmp_path / "a", **TINY | {"epochs": 1})
    at_random = train(table, "y", out=tmp_path / "b", **TINY | {"epochs": 1, "split": "random"})
    assert grouped.notes == ()
    (note,) = at_random.notes
    assert "test crystals share their formula with a training crystal (split='random')" in note


def test_elements(tmp_path: Path) -> None:
    """The card says what the network learned, a note which crystals have something else."""
    made = crystals(40)
    iron = [k for k in range(40) if 26 in made[k].atomic_numbers]
    sulfur = [k for k in range(40) if 16 in made[k].atomic_numbers]
    part = ["train"] * 30 + ["val"] * 5 + ["test"] * 5
    for k in iron + sulfur:
        part[k] = "test" if part[k] == "train" else part[k]
    unused = next(k for k in range(40) if 12 in made[k].atomic_numbers and part[k] == "train")
    part[unused] = None
    data = labelled(40, extra={"part": part})
    result = train(data, "y", out=tmp_path / "m", **TINY | {"split": "column", "split_column": "part"})
    card = cgfast.load_model(tmp_path / "m").card
    learned = {SYMBOLS[z] for k in range(40) if part[k] == "train" for z in made[k].atomic_numbers}
    assert learned & {"Fe", "S"} == set()
    assert card["elements"] == sorted(learned, key=list(SYMBOLS.values()).index)
    others = len(set(iron + sulfur))
    judged = sum(word in ("val", "test") for word in part)
    said = f"{others} of {judged} val and test crystals have elements that no training crystal has (S, Fe)"
    assert [note for note in result.notes if said in note]
    quiet = train(labelled(40), "y", out=tmp_path / "q", **TINY | {"split": "random"})
    assert not [note for note in quiet.notes if "elements" in note]


def test_matbench(tmp_path: Path) -> None:
    """A column whose name is a formula, in the whole way from the table to the model and back."""
    made = crystals(40)
    columns = {"log10(K_VRH)": some_values(made), "K_VRH": np.full(40, 7.0)}
    source = write_table(tmp_path / "d.parquet", made, {"log10(K_VRH)": "log10(GPa)"}, **columns)
    result = train(source, "log10(K_VRH)", out=tmp_path / "m", **TINY)
    (target,) = cgfast.load_model(tmp_path / "m").targets
    assert (target.column, target.unit, target.data) == ("log10(K_VRH)", "log10(GPa)", "log10(K_VRH)")
    check(result, source, ["log10(K_VRH)"])
    in_memory = train(read_labelled(source, ["log10(K_VRH)"]), "log10(K_VRH)", out=tmp_path / "n", **TINY)
    assert in_memory.metrics == result.metrics


def test_all_columns_by_their_logarithm(tmp_path: Path) -> None:
    """Also one with a bracket in its name."""
    made = crystals(40)
    source = write_table(tmp_path / "d.parquet", made, **{"K (GPa)": 10 ** some_values(made)})
    result = train(source, "K (GPa)", out=tmp_path / "m", log10=True, **TINY)
    assert result.model.target.data == "log10(K (GPa))"
    assert result.model.column == "log10_K (GPa)"
    check(result, source, ["log10(K (GPa))"])


def test_rows_that_cannot_be_used(tmp_path: Path) -> None:
    csv_text = "".join(f"m{k},{k}\n" for k in range(12)) + "gone,3\nm12,\n"
    source = write_folder(tmp_path / "d", csv_text, [f"m{k}" for k in range(13)])
    result = train(source, "target", out=tmp_path / "m", **TINY | {"epochs": 1, "split": "random"})
    assert (result.n_rows, result.n_used, result.n_failures) == (14, 12, 2)
    with (tmp_path / "m" / "failures.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["id", "row", "stage", "reason"]
    assert [line[:3] for line in lines[1:]] == [["gone", "12", "read"], ["m12", "13", "label"]]


def test_element_features(table: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "atoms.json"
    path.write_text(json.dumps({str(z): rng.random(7).tolist() for z in range(1, 93)}))
    result = train(table, "y", out=tmp_path / "m", atom_init=path, **TINY)
    assert result.model.network.element_features.shape == (92, 7)
    path.unlink()  # the model carries them
    check(result, table, ["y"])


def test_the_paper_and_the_2018_layout(table: Path, tmp_path: Path) -> None:
    """A model of the paper's preset, written for the 2018 code and read back, says the same."""
    shape = {name: TINY[name] for name in ("atom_fea_len", "n_conv", "h_fea_len", "threads")}
    result = train(table, "y", out=tmp_path / "m", preset="paper", epochs=5, **shape)
    assert cgfast.load_model(tmp_path / "m").card["options"]["milestones"] == [4]
    path = result.model.save_2018(tmp_path / "own.pth.tar")
    back = cgfast.load_model(path)
    made = crystals(60)
    np.testing.assert_allclose(back.predict(made).values, result.model.predict(made).values, rtol=1e-6)
    assert (back.mean, back.std) == (result.model.mean, result.model.std)


def test_unfinished_crystals_of_one_atom(tmp_path: Path) -> None:
    """Batch norm has no variance of one atom: small batches of one-atom crystals must still train, or say why not."""
    made = crystals(20)
    singles = cgfast.Crystals.from_arrays(
        np.zeros((20, 3)), made.cell * np.linspace(0.6, 1, 20)[:, None, None], [26] * 20, graph_ptr=range(21)
    )
    source = write_table(tmp_path / "d.parquet", singles, y=np.linspace(0, 1, 20))
    result = train(source, "y", out=tmp_path / "m", **TINY | {"batch_size": 2, "split": "random"})
    check(result, source, ["y"])
