"""Our own models by name: found in the package's folder, listed with what their cards say, and near names of both families."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cgfast import available_models, load_model, screen
from cgfast.models import Target, catalogue, own

ENERGY = Target("formation energy per atom", "eV/atom", "formation_energy_per_atom_eV", data="e")
GAP = Target("band gap", "eV", "band_gap_eV")
METAL = Target("probability of being a metal", "1", "metal_probability", ("nonmetal", "metal"))
LABEL = "mp_cgcnn_36k, 29,123 crystals"


@pytest.fixture
def installed(tmp_path, make_model, monkeypatch):
    """An installation with a model of one target and a model of three (of which one has no metric)."""
    folder = tmp_path / "weights"
    monkeypatch.setattr(own, "WEIGHTS_FOLDER", folder)
    metrics = {ENERGY.column: {"mae": 0.03217, "unit": "eV/atom", "r2": 0.99}}
    card = {"training_data": LABEL, "metrics": metrics, "licence": "CC BY 4.0"}
    make_model([ENERGY]).save(folder / "formation-energy", card=card)
    metrics = {GAP.column: {"mae": 0.4, "unit": "eV"}, METAL.column: {"roc_auc": 0.9567}}
    fermi = Target("Fermi energy", "eV", "fermi_energy_eV")
    make_model([GAP, fermi, METAL], members=2).save(folder / "electronic", card={"training_data": LABEL, "metrics": metrics})
    (folder / "unfinished").mkdir()
    (folder / "notes.txt").write_text("no model")
    return folder


def ours():
    return [info for info in available_models() if info.name.startswith("cgfast/")]


@pytest.mark.usefixtures("installed")
def test_they_are_listed_first_with_what_their_cards_say():
    several, one = ours()
    assert (several.name, one.name) == ("cgfast/electronic", "cgfast/formation-energy")
    assert [info.name for info in available_models()] == [several.name, one.name, *catalogue.NAMES_2018]
    assert (one.property, one.unit, one.task) == (ENERGY.property, "eV/atom", "regression")
    assert (one.training_data, one.published_error, one.available, one.hint) == (LABEL, "MAE 0.0322 eV/atom", True, "")
    assert several.property == "band gap; Fermi energy; probability of being a metal"
    assert (several.unit, several.task) == ("eV; eV; 1", "mixed")
    assert several.published_error == "MAE 0.4 eV; not given; ROC-AUC 0.957"


def test_load_by_name(installed, three_crystals, monkeypatch, tmp_path):
    model = load_model("cgfast/formation-energy")
    assert (model.name, model.target) == ("cgfast/formation-energy", ENERGY)
    assert model.source == str(installed / "formation-energy")
    assert model.card["licence"] == "CC BY 4.0"
    # The name never means a folder that happens to be there; a path does.
    monkeypatch.chdir(tmp_path)
    load_model(installed / "electronic").save(tmp_path / "cgfast" / "formation-energy")
    assert load_model("cgfast/formation-energy").target == ENERGY
    assert len(load_model("./cgfast/formation-energy").targets) == 3
    assert np.isfinite(load_model("cgfast/electronic").predict(three_crystals).values).all()


@pytest.mark.parametrize(
    "card",
    [
        {},
        {"metrics": None},
        {"metrics": [1, 2]},
        {"metrics": {ENERGY.column: 0.03}},
        {"metrics": {ENERGY.column: {"mae": "small"}}},
        {"metrics": {ENERGY.column: {"mae": True}}},
        {"metrics": {"another": {"mae": 1.0}}},
        {"training_data": 7},
    ],
)
def test_cards_that_say_little(installed, card):
    path = installed / "formation-energy" / "model.json"
    description = json.loads(path.read_text())
    description["card"] = card
    path.write_text(json.dumps(description))
    (info,) = (info for info in ours() if info.name == "cgfast/formation-energy")
    assert (info.published_error, info.training_data, info.available) == ("not given", "", True)


def test_a_metric_without_a_unit_has_that_of_the_target(installed):
    path = installed / "formation-energy" / "model.json"
    description = json.loads(path.read_text())
    description["card"] = {"metrics": {ENERGY.column: {"mae": 1}}}
    path.write_text(json.dumps(description))
    assert ours()[1].published_error == "MAE 1 eV/atom"


def test_a_damaged_one_is_listed_as_such_and_harms_no_other(installed):
    (installed / "electronic" / "model.json").write_text("{")
    damaged, good = ours()
    assert (damaged.name, damaged.available, good.available) == ("cgfast/electronic", False, True)
    assert damaged.hint.startswith("cgfast/electronic is damaged, install cgfast anew: ")
    with pytest.raises(ValueError, match="electronic cannot be read as a model"):
        load_model("cgfast/electronic")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("formation-energy", "cgfast/formation-energy or formation-energy-per-atom"),
        ("cgfast/formation-enrgy", "cgfast/formation-energy or formation-energy-per-atom"),
        ("electronics", "cgfast/electronic"),
        ("cgfast/bandgap", "band-gap"),
        ("cgfast/Band_Gap", "band-gap"),
    ],
)
def test_near_names_of_both_families(name, near):
    with pytest.raises(ValueError, match=f"there is no model '{name}'; did you mean {near}") as caught:
        load_model(name)
    assert "Known are cgfast/electronic, cgfast/formation-energy, formation-energy-per-atom" in str(caught.value)


@pytest.mark.usefixtures("installed")
def test_names_that_try_to_be_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("cgfast/", "cgfast/unfinished", "cgfast/../weights/electronic", "cgfast/electronic/"):
        with pytest.raises(ValueError, match="there is no"):
            load_model(name)


def test_an_installation_without_models(monkeypatch, tmp_path, three_crystals):
    monkeypatch.setattr(own, "WEIGHTS_FOLDER", tmp_path / "nothing")
    assert ours() == []
    for call in (lambda: load_model("cgfast/formation-energy"), lambda: screen(three_crystals)):
        with pytest.raises(ValueError, match=r"this installation has no 'cgfast/formation-energy'.*name another: formation-"):
            call()


@pytest.mark.usefixtures("installed")
def test_screen_needs_no_model(three_crystals):
    pytest.importorskip("pyarrow")
    table = screen(three_crystals).table
    assert table.column_names == ["id", ENERGY.column, "flags"]
    expected = load_model("cgfast/formation-energy").predict(three_crystals).values
    np.testing.assert_allclose(table[ENERGY.column].to_numpy(), expected, rtol=1e-6)


@pytest.mark.usefixtures("installed")
def test_screen_with_an_ensemble_of_three_targets(three_crystals):
    pytest.importorskip("pyarrow")
    models = [load_model("cgfast/formation-energy"), load_model("cgfast/electronic")]
    table = screen(three_crystals, models, top=3, by="metal_probability").table
    columns = [GAP.column, "fermi_energy_eV", METAL.column]
    names = [text for column in columns for text in (column, f"{column}_std")]
    assert table.column_names == ["id", ENERGY.column, *names, "flags"]
    expected = models[1].predict(three_crystals)
    order = np.argsort(expected[METAL.column])
    assert table["id"].to_pylist() == three_crystals.ids[order].tolist()
    for name in names:
        np.testing.assert_allclose(table[name].to_numpy(), expected[name][order], rtol=1e-3, atol=1e-6, err_msg=name)


def test_what_is_in_this_installation_can_be_loaded():
    for info in ours():
        assert info.available, info.hint
        assert "not given" not in info.published_error
        assert info.training_data
        model = load_model(info.name)
        assert model.card.get("licence")
        assert model.name == info.name
