"""energy_forces_stress as a call: what it takes, returns, leaves alone and refuses."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from cgfast import Crystals, GraphSpec, build_graphs
from cgfast.models import PropertyModel, forces
from cgfast.models.catalogue import Target
from cgfast.models.forces import energy_and_gradients
from cgfast.nn import CGCNN, GaussianBasis

ENERGY = Target("energy per atom", "eV/atom", "energy_eV")


@pytest.fixture(autouse=True)
def one_thread():
    """Many small calls: on few cores torch's threads would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def seeded_model(target: Target = ENERGY, targets: tuple[Target, ...] = (), **options) -> PropertyModel:
    torch.manual_seed(1)
    network = CGCNN(atom_fea_len=8, n_conv=2, h_fea_len=8, basis=GaussianBasis(), **options)
    targets = targets or (target,)
    numbers = {"mean": (0.5,) * len(targets), "std": (3.0,) * len(targets)}
    return PropertyModel("seeded", targets, (network,), GraphSpec(), **numbers, sha256="", source="")


def generated(n: int = 6, seed: int = 0) -> Crystals:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 6, n)
    cells = np.eye(3) * rng.uniform(3, 5, (n, 1, 1)) + rng.normal(size=(n, 3, 3)) * 0.3
    graph_ptr = np.concatenate([[0], np.cumsum(counts)])
    positions = np.concatenate([rng.random((k, 3)) @ cell for k, cell in zip(counts, cells, strict=True)])
    ids = [f"crystal-{k}" for k in range(n)]
    return Crystals.from_arrays(positions, cells, rng.integers(1, 90, len(positions)), graph_ptr=graph_ptr, ids=ids)


def same(one: forces.EnergyForcesStress, other: forces.EnergyForcesStress) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("energies", "forces", "stress"))


def test_result():
    crystals, model = generated(), seeded_model()
    found = model.energy_forces_stress(crystals)
    assert len(found) == 6
    assert found.ids.tolist() == crystals.ids.tolist()
    assert np.array_equal(found.graph_ptr, crystals.graph_ptr)
    shapes = {"energies": (6,), "forces": (crystals.n_atoms, 3), "stress": (6, 3, 3)}
    for name, shape in shapes.items():
        array = getattr(found, name)
        assert (array.shape, array.dtype) == (shape, np.float64), name
        assert np.isfinite(array).all(), name
    np.testing.assert_allclose(found.energies, model.predict(crystals).values * np.diff(crystals.graph_ptr), rtol=1e-5)
    for b, one in enumerate(crystals):
        alone = model.energy_forces_stress(one)
        np.testing.assert_allclose(
            alone.forces, found.forces[found.graph_ptr[b] : found.graph_ptr[b + 1]], rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(alone.stress[0], found.stress[b], rtol=1e-4, atol=1e-6)


def test_energy_of_a_cell():
    per_atom, per_cell = seeded_model(), seeded_model(Target("Total energy", "eV", "energy_eV"))
    crystals = generated()
    counts = np.diff(crystals.graph_ptr)
    ours, other = per_cell.energy_forces_stress(crystals), per_atom.energy_forces_stress(crystals)
    np.testing.assert_allclose(ours.energies * counts, other.energies, rtol=1e-6)
    np.testing.assert_allclose(ours.forces * np.repeat(counts, counts)[:, None], other.forces, rtol=1e-5, atol=1e-6)


def test_structures_and_atoms():
    ase, pymatgen = pytest.importorskip("ase"), pytest.importorskip("pymatgen.core")
    crystals, model = generated(), seeded_model()
    expected = model.energy_forces_stress(crystals)
    for objects in (crystals.to_ase(), crystals.to_pymatgen()):
        assert isinstance(objects[0], ase.Atoms | pymatgen.Structure)
        found = model.energy_forces_stress(objects)
        np.testing.assert_allclose(found.forces, expected.forces, rtol=1e-4, atol=1e-5)
        alone = model.energy_forces_stress(objects[1])
        assert alone.forces.shape == (len(objects[1]), 3)
        np.testing.assert_allclose(alone.energies, expected.energies[1:2], rtol=1e-5)


def test_no_crystals():
    found = seeded_model().energy_forces_stress(generated()[:0])
    assert (found.energies.shape, found.forces.shape, found.stress.shape) == ((0,), (0, 3), (0, 3, 3))
    assert found.graph_ptr.tolist() == [0]


def test_batches_and_threads(monkeypatch):
    crystals, model = generated(30), seeded_model()
    whole = model.energy_forces_stress(crystals, dtype=torch.float64)
    monkeypatch.setattr(forces, "BATCH_ATOMS", 20)
    parts = [model.energy_forces_stress(crystals, dtype=torch.float64, threads=n) for n in (1, 2, 3)]
    assert same(parts[0], parts[1])
    assert same(parts[0], parts[2])
    for name in ("energies", "forces", "stress"):
        np.testing.assert_allclose(getattr(parts[0], name), getattr(whole, name), rtol=1e-9, atol=1e-11)


def test_dtype():
    crystals, model = generated(), seeded_model()
    double = model.energy_forces_stress(crystals, dtype=torch.float64)
    single = model.energy_forces_stress(crystals)
    assert same(single, model.energy_forces_stress(crystals, dtype=torch.float32))
    assert not same(single, double)
    np.testing.assert_allclose(single.forces, double.forces, atol=1e-4 * np.abs(double.forces).max())
    wide = replace(model, networks=(seeded_model().network.double(),))
    assert same(wide.energy_forces_stress(crystals), double)
    for bad in (torch.float16, torch.int64, "float64", float):
        with pytest.raises(ValueError, match="dtype"):
            model.energy_forces_stress(crystals, dtype=bad)


def test_the_network_stays_as_it_is():
    crystals, model = generated(), seeded_model()
    network = model.network.train()
    next(network.parameters()).requires_grad_(requires_grad=False)
    wanted = [p.requires_grad for p in network.parameters()]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    model.energy_forces_stress(crystals, dtype=torch.float64)
    assert network.training
    assert [p.requires_grad for p in network.parameters()] == wanted
    assert all(p.grad is None and p.dtype == torch.float32 for p in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_modes_without_gradients(mode):
    crystals = generated()
    expected = seeded_model().energy_forces_stress(crystals)
    with mode():
        model = seeded_model()
        assert same(model.energy_forces_stress(crystals), expected)
    assert same(model.energy_forces_stress(crystals), expected)


@pytest.mark.parametrize(
    "target",
    [
        Target("band gap (non-metals)", "eV", "band_gap_eV"),
        Target("Fermi energy", "eV", "fermi_energy_eV"),
        Target("energy", "kJ/mol", "energy"),
        Target("bulk modulus", "log10(GPa)", "log10_bulk_modulus_GPa"),
    ],
    ids=lambda target: target.property,
)
def test_a_target_that_is_no_energy(target):
    with pytest.raises(ValueError, match=r"must predict an energy.*eV/atom"):
        seeded_model(target).energy_forces_stress(generated())


def test_a_classifier():
    model = seeded_model(Target("is a metal", "eV/atom", "metal", ("no", "yes")), classification=True)
    with pytest.raises(ValueError, match="must predict an energy"):
        model.energy_forces_stress(generated())


def test_bad_crystals_are_named():
    crystals, model = generated(), seeded_model()
    crystals.atomic_numbers[crystals.graph_ptr[4]] = 101
    with pytest.raises(ValueError, match=r"crystal 4 .id crystal-4.*101"):
        model.energy_forces_stress(crystals)
    crystals.positions[crystals.graph_ptr[2], 1] = np.nan
    with pytest.raises(ValueError, match=r"crystal 2 .id crystal-2.*1 more"):
        model.energy_forces_stress(crystals)
    with pytest.raises(ValueError, match="x must be"):
        model.energy_forces_stress("NaCl.cif")


def tensors() -> tuple[Crystals, dict]:
    crystals = generated()
    graph = build_graphs(crystals, GraphSpec()).torch()
    network = seeded_model().network.eval()
    return crystals, {
        "network": network,
        "graph": graph,
        "positions": torch.tensor(crystals.positions),
        "cell": torch.tensor(crystals.cell),
    }


def test_tensors_in_other_dtypes_and_numpy_graphs():
    crystals, arguments = tensors()
    expected = energy_and_gradients(**arguments)
    again = energy_and_gradients(**{**arguments, "graph": build_graphs(crystals, GraphSpec())})
    assert torch.equal(again.forces, expected.forces)
    single = energy_and_gradients(**{**arguments, "positions": arguments["positions"].float()})
    assert single.forces.dtype == torch.float64
    torch.testing.assert_close(single.forces, expected.forces, rtol=1e-3, atol=1e-3)
    assert not expected.energies.requires_grad
    assert not expected.forces.requires_grad


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_tensors_in_modes_without_gradients(mode):
    _, arguments = tensors()
    expected = energy_and_gradients(**arguments)
    with mode():
        found = energy_and_gradients(**arguments)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_one_cell_as_a_matrix_and_none_at_all():
    crystals, arguments = tensors()
    one = crystals[3]
    graph, positions = build_graphs(one, GraphSpec()), torch.tensor(one.positions)
    a, b = (energy_and_gradients(arguments["network"], graph, positions, torch.tensor(c)) for c in (one.cell, one.cell[0]))
    assert torch.equal(a.strain, b.strain)
    free = Crystals.from_arrays(one.positions, None, one.atomic_numbers)
    found = energy_and_gradients(arguments["network"], build_graphs(free, GraphSpec()), positions)
    virial = -torch.einsum("ni,nj->ij", positions, found.forces)
    torch.testing.assert_close(found.strain[0], virial, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"positions": torch.zeros(3, 3)}, "positions"),
        ({"positions": torch.zeros(17, 3, dtype=torch.int64)}, "positions"),
        ({"cell": torch.zeros(3, 3)}, "cell"),
        ({"cell": torch.zeros(2, 3, 3)}, "cell"),
        ({"network": lambda graph: graph.distances}, "network must return shape"),
        ({"network": lambda graph: torch.zeros(6) + len(graph.distances)}, "network must depend on graph.distances"),
        ({"network": lambda _: torch.zeros(6, requires_grad=True)}, "network must depend on graph.distances"),
    ],
)
def test_bad_tensors(change, match):
    crystals, arguments = tensors()
    assert crystals.n_atoms == 17
    with pytest.raises(ValueError, match=match):
        energy_and_gradients(**{**arguments, **change})


def test_graphs_without_geometry():
    _, arguments = tensors()
    graph = arguments["graph"]
    for change, match in (({"edge_attr": torch.zeros(graph.n_edges, 41)}, "edge_attr"), ({"shifts": None}, "shifts")):
        with pytest.raises(ValueError, match=match):
            energy_and_gradients(**{**arguments, "graph": replace(graph, **change)})


def test_an_ensemble_gives_the_means_of_its_members():
    crystals, first = generated(), seeded_model()
    members = [replace(first, networks=(scaled(first.network, factor),)) for factor in (1.0, 1.5, -0.5)]
    ensemble = replace(first, networks=tuple(member.network for member in members))
    for dtype in (None, torch.float64):
        found = ensemble.energy_forces_stress(crystals, dtype=dtype)
        alone = [member.energy_forces_stress(crystals, dtype=dtype) for member in members]
        assert not np.allclose(alone[0].forces, alone[1].forces)
        for name in ("energies", "forces", "stress"):
            expected = np.mean([getattr(one, name) for one in alone], axis=0)
            np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-4, atol=1e-5, err_msg=name)
    per_atom = ensemble.predict(crystals).values
    np.testing.assert_allclose(found.energies, per_atom * np.diff(crystals.graph_ptr), rtol=1e-4)


def scaled(network: CGCNN, factor: float) -> CGCNN:
    """A copy whose output is `factor` times as steep."""
    copied = copy.deepcopy(network)
    with torch.no_grad():
        copied.fc_out.weight *= factor
    return copied


def test_a_model_of_more_than_an_energy_has_no_forces():
    target = Target("band gap", "eV", "gap_eV")
    model = seeded_model(n_out=2, targets=(ENERGY, target))
    with pytest.raises(ValueError, match="target of seeded has no single answer for several targets: energy_eV, gap_eV"):
        model.energy_forces_stress(generated())


def test_an_energy_network_with_the_layer_of_pyg_has_forces():
    crystals, model = generated(), seeded_model(conv="CGConv")
    found = model.energy_forces_stress(crystals, dtype=torch.float64)
    step = 1e-4
    for sign, atom in ((1, 0), (-1, 3)):
        shift = np.zeros((crystals.n_atoms, 3))
        shift[atom, 1] = sign * step
        ends = [replace(crystals, positions=crystals.positions + s * shift) for s in (1, -1)]
        energies = [model.energy_forces_stress(end, dtype=torch.float64).energies.sum() for end in ends]
        slope = (energies[0] - energies[1]) / (2 * sign * step)
        assert found.forces[atom, 1] == pytest.approx(-slope, rel=1e-4, abs=1e-6)
