"""Models on every device: the numbers of the same model on the CPU in float64, and where things are."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from cgfast import build_graphs, load_model
from cgfast.models import Target

ENERGY = Target("formation energy", "eV/atom", "formation_energy_per_atom_eV")


def exact(model):
    """The same model on the CPU, in float64."""
    return replace(model, networks=tuple(copy.deepcopy(network).cpu().double() for network in model.networks))


@pytest.mark.parametrize("members", [1, 2])
def test_predictions(make_model, three_crystals, members, device):
    model = make_model(members=members)
    there = model.to(device)
    assert (there.device.type, model.device.type) == (device, "cpu")
    assert all(p.device.type == device for network in there.networks for p in network.parameters())
    found, expected = there.predict(three_crystals), exact(model).predict(three_crystals)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-4, atol=1e-5)
    if members > 1:
        np.testing.assert_allclose(found.std, expected.std, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("ties", ["canonical", "shell"])
def test_a_graph_goes_where_the_model_is(make_model, three_crystals, ties, device):
    model = make_model().with_ties(ties).to(device)
    expected = model.predict_columns(build_graphs(three_crystals, model.spec, device=device))
    assert isinstance(expected, np.ndarray)
    for graph in (build_graphs(three_crystals, model.spec), build_graphs(three_crystals, model.spec).torch()):
        np.testing.assert_array_equal(model.predict_columns(graph), expected)


def test_no_crystals(make_model, three_crystals, device):
    assert make_model().to(device).predict(three_crystals[:0]).values.shape == (0, 3)


def test_forces(make_model, three_crystals, device):
    model = make_model([ENERGY])
    found = model.to(device).energy_forces_stress(three_crystals)
    expected = exact(model).energy_forces_stress(three_crystals)
    np.testing.assert_allclose(found.energies, expected.energies, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.forces, expected.forces, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.stress, expected.stress, rtol=1e-3, atol=1e-4)


def test_loading_to_a_device_and_saving_from_there(saved, tmp_path, three_crystals, device):
    here, there = load_model(saved), load_model(saved, device=device)
    assert (here.device.type, there.device.type) == ("cpu", device)
    again = load_model(there.save(tmp_path / "again"))
    assert again.device.type == "cpu"
    for ours, theirs in zip(again.network.state_dict().values(), here.network.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    np.testing.assert_array_equal(again.predict(three_crystals).values, here.predict(three_crystals).values)


def test_to_the_same_place_is_the_same_model(make_model):
    model = make_model()
    assert model.to("cpu") is model
    assert model.to(torch.device("cpu")) is model


@pytest.mark.parametrize("name", ["gpu", 3.5, "cuda:99"])
def test_devices_that_are_none(make_model, saved, name):
    for function in (make_model().to, lambda device: load_model(saved, device=device)):
        with pytest.raises(ValueError, match=r"device has the value .*: expected a.* device"):
            function(name)


def test_auto_is_cuda_if_it_can_be(saved, monkeypatch):
    from cgfast._native import core

    usable = core().cuda_built() and torch.cuda.is_available()
    assert load_model(saved, device="auto").device.type == ("cuda" if usable else "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert load_model(saved, device="auto").device.type == "cpu"
