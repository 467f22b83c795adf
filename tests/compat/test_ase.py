"""`cgfast.compat.ase.neighbor_list` against ASE's own."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from cgfast.compat.ase import neighbor_list

ase = pytest.importorskip("ase", reason="ASE is the oracle here")
build = pytest.importorskip("ase.build")
original = pytest.importorskip("ase.neighborlist").neighbor_list


def both(atoms: Any, cutoff: Any, **options: Any) -> list[tuple[np.ndarray, ...]]:
    """Run ours and theirs, both sorted by (i, j, S)."""
    answers = []
    for function in (neighbor_list, original):
        i, j, d, vectors, shifts = function("ijdDS", atoms, cutoff, **options)
        assert np.all(np.diff(i) >= 0)
        order = np.lexsort((*shifts.T[::-1], j, i))
        answers.append((i[order], j[order], d[order], vectors[order], shifts[order]))
    return answers


def assert_same(atoms: Any, cutoff: Any, **options: Any) -> int:
    """Demand ASE's pairs, dtypes and numbers; return how many pairs there are."""
    ours, theirs = both(atoms, cutoff, **options)
    for name, mine, other in zip("ijdDS", ours, theirs, strict=True):
        assert mine.shape == other.shape, f"{name}: {mine.shape} pairs, ASE has {other.shape}"
        assert mine.dtype == other.dtype, name
        if name in "ijS":
            np.testing.assert_array_equal(mine, other, err_msg=name)
        else:
            np.testing.assert_allclose(mine, other, rtol=0, atol=1e-12, err_msg=name)
    return len(ours[0])


def rattled(seed: int, pbc: Any) -> Any:
    """Make a skewed cell of three elements with atoms outside of it."""
    rng = np.random.default_rng(seed)
    cell = np.array([[4.0, 0.0, 0.0], [1.5, 5.0, 0.0], [-2.0, 1.0, 4.5]]) @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return ase.Atoms("C4H6O2", positions=rng.uniform(-1.0, 2.0, (12, 3)) @ cell, cell=cell, pbc=pbc)


@pytest.mark.parametrize("self_interaction", [False, True])
@pytest.mark.parametrize("pbc", list(itertools.product([False, True], repeat=3)), ids=str)
def test_mixed_boundaries(pbc: tuple[bool, ...], self_interaction: bool) -> None:
    """Every periodicity, with and without an atom being its own neighbour."""
    for seed, cutoff in ((0, 0.9), (1, 3.0), (2, 6.5)):
        assert_same(rattled(seed, pbc), cutoff, self_interaction=self_interaction)


@pytest.mark.parametrize(
    "atoms",
    [
        build.bulk("Cu"),
        build.bulk("Cu", cubic=True) * (3, 2, 1),
        build.bulk("Mg"),
        build.bulk("NaCl", "rocksalt", a=5.64),
        build.fcc111("Al", (2, 2, 3), vacuum=8.0),
        build.fcc111("Al", (2, 2, 3)),
        build.molecule("CH3CH2OH"),
        build.molecule("C60", vacuum=4.0),
        build.nanotube(4, 0),
        build.graphene(),
        ase.Atoms("H2", positions=[[0, 0, 0], [0, 0, 0]]),
        ase.Atoms("H", cell=[2, 2, 2], pbc=True),
    ],
    ids=str,
)
def test_ases_own_structures(atoms: Any) -> None:
    """Bulk, surfaces, molecules, tubes: cells with zero vectors included."""
    for cutoff in (1.2, 3.0, 5.1):
        for self_interaction in (False, True):
            assert_same(atoms, cutoff, self_interaction=self_interaction)


def test_a_pair_at_the_cutoff_is_too_far() -> None:
    """ASE keeps d < cutoff, cgfast's own lists d <= cutoff."""
    atoms = ase.Atoms("Po", cell=[3, 3, 3], pbc=True)
    assert assert_same(atoms, 3.0) == 0
    assert assert_same(atoms, np.nextafter(3.0, 4.0)) == 6


def test_quantities() -> None:
    """Any letters in any order; a single letter returns the array itself."""
    atoms = rattled(3, True)
    i, j, d, vectors, shifts = neighbor_list("ijdDS", atoms, 3.0)
    whole = {"i": i, "j": j, "d": d, "D": vectors, "S": shifts}
    for letters in ("i", "S", "dd", "Sij", "DSjid", "jd"):
        found = neighbor_list(letters, atoms, 3.0)
        if len(letters) == 1:
            found = (found,)
        assert isinstance(found, tuple)
        for letter, array in zip(letters, found, strict=True):
            np.testing.assert_array_equal(array, whole[letter])
    np.testing.assert_allclose(vectors, atoms.positions[j] - atoms.positions[i] + shifts @ atoms.cell.array)


@pytest.mark.parametrize(
    "cutoff",
    [
        {("C", "H"): 2.0, ("C", "C"): 2.6},
        {("H", "C"): 2.0, (6, 6): 2.6, (8, "H"): 3.1},
        {("C", "H"): 2.0, ("H", "C"): 3.0},
        {(1, 1): 4.4},
        {("Fe", "Fe"): 3.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("self_interaction", [False, True])
def test_cutoffs_by_pair_of_elements(cutoff: dict[Any, float], self_interaction: bool) -> None:
    """Symbols or numbers, either order, the last entry wins, and pairs not named are no neighbours."""
    for pbc in (True, (True, False, True), False):
        assert_same(rattled(4, pbc), cutoff, self_interaction=self_interaction)


@pytest.mark.parametrize("self_interaction", [False, True])
def test_radii_by_atom(self_interaction: bool) -> None:
    """Overlapping spheres, from an array, a list or ASE's natural cutoffs."""
    natural = pytest.importorskip("ase.neighborlist").natural_cutoffs
    for pbc in (True, (False, True, True), False):
        atoms = rattled(5, pbc)
        radii = np.random.default_rng(6).uniform(0.0, 2.0, len(atoms))
        for cutoff in (radii, radii.tolist(), natural(atoms, mult=1.3)):
            assert_same(atoms, cutoff, self_interaction=self_interaction)


def test_no_atoms_and_no_pairs() -> None:
    """Shapes and dtypes of empty answers."""
    assert assert_same(ase.Atoms(), 3.0) == 0
    assert assert_same(ase.Atoms(cell=[1, 1, 1], pbc=True), 3.0) == 0
    assert assert_same(rattled(7, True), 1e-3) == 0
    for cutoff in (0.0, -1.0):
        assert assert_same(rattled(7, True), cutoff) == 0
        assert assert_same(rattled(7, True), cutoff, self_interaction=True) == 0
    assert neighbor_list("S", ase.Atoms(), 3.0).shape == (0, 3)


def test_infinite_cutoff_of_a_molecule() -> None:
    """Every pair."""
    atoms = build.molecule("CH4")
    for cutoff in (1e5, 1e30, np.inf):
        assert len(neighbor_list("i", atoms, cutoff)) == 20
        assert len(neighbor_list("i", atoms, cutoff, self_interaction=True)) == 25


def test_large_cell() -> None:
    """Enough atoms for the cell list."""
    atoms = build.bulk("Cu", cubic=True) * (6, 6, 6)
    atoms.rattle(0.2, seed=8)
    atoms.positions += 100.0
    assert assert_same(atoms, 4.0) > 10_000


@pytest.mark.parametrize(
    ("quantities", "cutoff", "match"),
    [
        ("ijx", 3.0, "quantities"),
        ("ij", [1.0, 2.0], "cutoff"),
        ("ij", np.nan, "cutoff"),
        ("ij", np.inf, "cutoff"),
        ("ij", {("C", "Qq"): 3.0}, "Qq"),
    ],
)
def test_bad_input(quantities: str, cutoff: Any, match: str) -> None:
    """A sentence that names the argument."""
    with pytest.raises(ValueError, match=match):
        neighbor_list(quantities, rattled(9, True), cutoff)


def test_periodic_axis_without_a_vector() -> None:
    """ASE assumes a period of 1 Å; here it is an error."""
    with pytest.raises(ValueError, match="cell"):
        neighbor_list("ij", ase.Atoms("H2", positions=np.eye(3)[:2], pbc=True), 3.0)
