"""What must hold for any crystal, on crystals that Hypothesis thinks up."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import cgfast

from . import oracle
from .checks import (
    as_edges,
    assert_equal_lists,
    assert_no_pair_twice,
    assert_same_nearest,
    assert_same_neighborhoods,
    assert_same_radius,
    keys,
    neighborhoods,
)
from .crystals import rotation

hypothesis = pytest.importorskip("hypothesis", reason="these tests draw their crystals with Hypothesis")
st = hypothesis.strategies

reproducible = hypothesis.settings(
    derandomize=True,
    deadline=None,
    max_examples=60,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.filter_too_much],
)
CLEAR = 1e-6  # Å: how far every distance must be from a threshold, for the answer not to hang on rounding


class Crystal(NamedTuple):
    """A drawn crystal and how to search it."""

    positions: np.ndarray
    cell: np.ndarray
    pbc: tuple[bool, bool, bool]
    numbers: np.ndarray
    cutoff: float
    seed: int

    @property
    def search(self) -> tuple[np.ndarray, np.ndarray, tuple[bool, bool, bool], float]:
        """The positional arguments of neighbor_list."""
        return self.positions, self.cell, self.pbc, self.cutoff


# Coordinates on a coarse grid make ties, coincident atoms and atoms on faces; fine ones the general case.
coarse = st.integers(-8, 16).map(lambda i: i / 8)
fine = st.floats(-3.0, 3.0, allow_subnormal=False, width=32)


@st.composite
def crystals(draw: hypothesis.strategies.DrawFn, *, periodic: bool = False, max_atoms: int = 7) -> Crystal:
    """Draw a crystal of any handedness, skew and periodicity, with a cutoff clear of every distance."""
    lengths = np.array(draw(st.tuples(*[st.sampled_from([1.5, 2.5, 4.0, 6.25])] * 3)))
    skew = np.array(draw(st.tuples(*[st.sampled_from([0.0, 0.5, -0.5, 0.3, 1.75])] * 3)))
    matrix = np.array([[1.0, 0.0, 0.0], [skew[0], 1.0, 0.0], [skew[1], skew[2], 1.0]]) * lengths[:, None]
    if draw(st.booleans()):
        matrix = matrix[[1, 0, 2]]
    seed = draw(st.integers(0, 2**16))
    if draw(st.booleans()):
        matrix = matrix @ rotation(seed)
    n = draw(st.integers(1, max_atoms))
    coordinate = draw(st.sampled_from([coarse, fine]))
    fractional = np.array(draw(st.lists(st.tuples(*[coordinate] * 3), min_size=n, max_size=n)))
    pbc = (True, True, True) if periodic else draw(st.tuples(*[st.booleans()] * 3))
    numbers = np.array(draw(st.lists(st.integers(1, 4), min_size=n, max_size=n)))
    cutoff = draw(st.sampled_from([0.7, 2.0, 3.3, 4.9]))
    distances = oracle.radius(fractional @ matrix, matrix, pbc, cutoff + 0.1).distances
    while np.any(np.abs(distances - cutoff) < 2 * CLEAR):
        cutoff += 5 * CLEAR
    return Crystal(fractional @ matrix, matrix, pbc, numbers, cutoff, seed)


def radius(crystal: Crystal) -> oracle.Edges:
    """Compute the radius list."""
    return as_edges(cgfast.neighbor_list(*crystal.search))


def shell(crystal: Crystal, k: int) -> oracle.Edges:
    """Compute the weighted k-nearest graph."""
    return as_edges(cgfast.neighbor_list(*crystal.search, max_neighbors=k, ties="shell"))


def clear_shells(crystal: Crystal, k: int, tolerance: float = 1e-3) -> bool:
    """Whether no neighbour is on the very edge of being tied, so that rounding cannot move it in or out."""
    full = oracle.radius(*crystal.search)
    for a, b in oracle.spans(full.row_ptr):
        row = np.sort(full.distances[a:b])
        if len(row) >= k and np.any(np.abs(np.abs(row - row[k - 1]) - tolerance) < CLEAR):
            return False
    return True


@reproducible
@hypothesis.given(crystals())
def test_brute_force(crystal: Crystal) -> None:
    """Radius lists equal the oracle's."""
    assert_same_radius(cgfast.neighbor_list(*crystal.search), *crystal.search)


@reproducible
@hypothesis.given(crystals(), st.integers(1, 30), st.sampled_from(["canonical", "shell"]))
def test_brute_force_nearest(crystal: Crystal, k: int, ties: str) -> None:
    """K-nearest lists equal the oracle's, weights included."""
    for missing in ("drop", "pad-2018"):
        result = cgfast.neighbor_list(*crystal.search, max_neighbors=k, ties=ties, missing=missing)
        assert_same_nearest(result, *crystal.search, k, ties=ties, missing=missing)


@reproducible
@hypothesis.given(crystals())
def test_reverse_edges_and_no_pair_twice(crystal: Crystal) -> None:
    """Every edge of a radius list comes once, and so does its reverse."""
    edges = radius(crystal)
    assert_no_pair_twice(edges)
    forward = keys(edges)
    backward = np.column_stack([edges.source, edges.target, -edges.shifts])
    order = np.lexsort(backward.T[::-1])
    assert np.array_equal(backward[order], forward)
    np.testing.assert_allclose(edges.distances[order], edges.distances, rtol=0, atol=1e-12)


@reproducible
@hypothesis.given(crystals(), st.integers(0, 2**16))
def test_rotation_and_reflection(crystal: Crystal, seed: int) -> None:
    """The graph of a rotated or mirrored crystal is the same graph."""
    want = radius(crystal)
    for turn in (rotation(seed), -rotation(seed)):
        turned = crystal._replace(positions=crystal.positions @ turn, cell=crystal.cell @ turn)
        got = radius(turned)
        assert_equal_lists(got, want, crystal.cutoff)
        np.testing.assert_allclose(got.distances, want.distances, rtol=0, atol=1e-11)


@reproducible
@hypothesis.given(crystals(), st.tuples(*[st.floats(-1e3, 1e3)] * 3))
def test_translation(crystal: Crystal, vector: tuple[float, float, float]) -> None:
    """The graph of a crystal moved as a whole is the same graph, shifts included."""
    want = radius(crystal)
    got = radius(crystal._replace(positions=crystal.positions + np.array(vector)))
    assert_equal_lists(got, want, crystal.cutoff)
    np.testing.assert_allclose(got.distances, want.distances, rtol=0, atol=1e-10)


@reproducible
@hypothesis.given(crystals(), st.integers(0, 2**16), st.sampled_from([1, 20, 10_000]))
def test_wrapping(crystal: Crystal, seed: int, reach: int) -> None:
    """Atoms moved by lattice vectors keep their neighbours; the shifts follow."""
    jumps = np.random.default_rng(seed).integers(-reach, reach + 1, size=crystal.positions.shape)
    jumps *= np.array(crystal.pbc)
    before = radius(crystal)
    after = radius(crystal._replace(positions=crystal.positions + jumps @ crystal.cell))
    moved = before._replace(shifts=before.shifts + jumps[before.target] - jumps[before.source])
    assert_equal_lists(after, moved, crystal.cutoff)


@reproducible
@hypothesis.given(crystals(), st.integers(1, 20))
def test_permutation(crystal: Crystal, k: int) -> None:
    """The order of the atoms is of no account to radius lists and shells."""
    hypothesis.assume(clear_shells(crystal, k))
    order = np.random.default_rng(crystal.seed).permutation(len(crystal.positions))
    other = crystal._replace(positions=crystal.positions[order], numbers=crystal.numbers[order])
    for search in (radius, lambda c: shell(c, k)):
        want = neighborhoods(search(crystal), crystal.numbers)
        assert_same_neighborhoods(neighborhoods(search(other), other.numbers), [want[i] for i in order], 1e-9)


@reproducible
@hypothesis.given(crystals(periodic=True, max_atoms=5), st.integers(1, 20), st.tuples(*[st.integers(1, 3)] * 3))
def test_supercell(crystal: Crystal, k: int, repeats: tuple[int, int, int]) -> None:
    """An atom has the same neighbourhood in the cell and in every supercell."""
    hypothesis.assume(clear_shells(crystal, k))
    positions, cell = oracle.supercell(crystal.positions, crystal.cell, repeats)
    count = int(np.prod(repeats))
    big = crystal._replace(positions=positions, cell=cell, numbers=np.tile(crystal.numbers, count))
    want = oracle.supercell_edges(radius(crystal), len(crystal.positions), repeats)
    assert_equal_lists(radius(big), want, crystal.cutoff)
    small = neighborhoods(shell(crystal, k), crystal.numbers)
    assert_same_neighborhoods(neighborhoods(shell(big, k), big.numbers), small * count)


@reproducible
@hypothesis.given(crystals(periodic=True), st.integers(1, 20), st.lists(st.integers(-2, 2), min_size=6, max_size=6))
def test_choice_of_lattice_vectors(crystal: Crystal, k: int, steps: list[int]) -> None:
    """Any basis of the same lattice gives the same neighbourhoods."""
    hypothesis.assume(clear_shells(crystal, k))
    lower, upper = np.eye(3, dtype=int), np.eye(3, dtype=int)
    lower[[1, 2, 2], [0, 0, 1]] = steps[:3]
    upper[[0, 0, 1], [1, 2, 2]] = steps[3:]
    other = crystal._replace(cell=(lower @ upper) @ crystal.cell)
    for search in (radius, lambda c: shell(c, k)):
        want = neighborhoods(search(crystal), crystal.numbers)
        assert_same_neighborhoods(neighborhoods(search(other), crystal.numbers), want)


# Not shrunk: a failure with hundreds of atoms is as telling, and the oracle is slow.
@hypothesis.settings(reproducible, max_examples=25, phases=[hypothesis.Phase.generate])
@hypothesis.given(st.integers(0, 2**16), st.integers(200, 700), st.tuples(*[st.booleans()] * 3), st.floats(0.8, 6.0))
def test_large_cells(seed: int, n: int, pbc: tuple[bool, bool, bool], cutoff: float) -> None:
    """Random cells of hundreds of atoms, against the oracle, in every periodicity."""
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(4.0, 25.0, 3)) @ (np.eye(3) + np.tril(rng.uniform(-1.5, 1.5, (3, 3)), -1))
    cell = cell @ rotation(seed)
    positions = rng.uniform(-1.0, 1.5, (n, 3)) @ cell
    distances = oracle.radius(positions, cell, pbc, cutoff + 1e-9)
    got = as_edges(cgfast.neighbor_list(positions, cell, pbc, cutoff))
    assert_equal_lists(got, distances, cutoff)


@reproducible
@hypothesis.given(st.lists(crystals(max_atoms=4), min_size=1, max_size=6), st.integers(1, 12))
def test_batches(parts: list[Crystal], k: int) -> None:
    """A batch is its crystals side by side."""
    graph_ptr = np.concatenate([[0], np.cumsum([len(part.positions) for part in parts])])
    together = (
        np.concatenate([part.positions for part in parts]),
        np.stack([part.cell for part in parts]),
        np.array([part.pbc for part in parts]),
        3.0,
    )
    for options in ({}, {"max_neighbors": k}, {"max_neighbors": k, "ties": "shell", "missing": "pad-2018"}):
        whole = as_edges(cgfast.neighbor_list(*together, graph_ptr=graph_ptr, **options))
        singles = []
        for part, start in zip(parts, graph_ptr[:-1], strict=True):
            one = as_edges(cgfast.neighbor_list(part.positions, part.cell, part.pbc, 3.0, **options))
            singles.append(one._replace(target=one.target + start, source=one.source + start))
        want = oracle.join(singles)
        assert np.array_equal(keys(whole), keys(want))
        assert np.array_equal(whole.distances, want.distances)
        assert (whole.weight is None) == (want.weight is None)
        assert whole.weight is None or np.array_equal(whole.weight, want.weight)
