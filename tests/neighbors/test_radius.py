"""Radius lists against brute force, on every kind of crystal that has gone wrong somewhere."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

import cgfast

from . import oracle
from .checks import (
    as_edges,
    assert_distances,
    assert_equal_lists,
    assert_no_pair_twice,
    assert_same_radius,
    keys,
)
from .crystals import CASES, Batch, Case, batches, lattice, random_crystal, rotation

BATCHES = batches()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nasty_crystal(case: Case) -> None:
    """Every case equals brute force: edges, order, shifts, distances."""
    assert_same_radius(cgfast.neighbor_list(*case.search), *case.search)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_sorted_by_distance(case: Case) -> None:
    """`sort="distance"` holds the same edges in (target, rounded distance, source, shift) order."""
    plain = as_edges(cgfast.neighbor_list(*case.search))
    got = as_edges(cgfast.neighbor_list(*case.search, sort="distance"))
    assert np.array_equal(keys(got), keys(oracle.by_distance(plain)))
    assert np.array_equal(got.distances, oracle.by_distance(plain).distances)
    assert np.array_equal(got.row_ptr, plain.row_ptr)


@pytest.mark.parametrize("name", BATCHES)
def test_batch(name: str) -> None:
    """A crystal in a batch is searched as if it were alone."""
    positions, cell, pbc, graph_ptr = BATCHES[name]
    got = as_edges(cgfast.neighbor_list(positions, cell, pbc, 5.0, graph_ptr=graph_ptr))
    want = oracle.batch(oracle.radius, positions, cell, pbc, graph_ptr, 5.0 + 1e-9)
    assert_equal_lists(got, want, 5.0)
    np.testing.assert_array_equal(
        np.searchsorted(graph_ptr, got.source, side="right"),
        np.searchsorted(graph_ptr, got.target, side="right"),
    )


@pytest.mark.parametrize("name", ["everything-small", "one-outlier", "empty-crystals-between"])
def test_batch_equals_single_crystals(name: str) -> None:
    """The very bits of a batch are those of its crystals searched one by one."""
    positions, cell, pbc, graph_ptr = BATCHES[name]
    got = as_edges(cgfast.neighbor_list(positions, cell, pbc, 4.5, graph_ptr=graph_ptr))
    parts = []
    for b, (start, stop) in enumerate(itertools.pairwise(graph_ptr)):
        one = as_edges(cgfast.neighbor_list(positions[start:stop], cell[b], pbc[b], 4.5))
        parts.append(one._replace(target=one.target + start, source=one.source + start))
    want = oracle.join(parts)
    assert np.array_equal(keys(got), keys(want))
    assert np.array_equal(got.distances, want.distances)


@pytest.mark.parametrize(
    ("cutoff", "counts"),
    [(3.0, 6), (np.nextafter(3.0, 0.0), 0), (3.0 * np.sqrt(2.0) + 1e-12, 18), (9.0, 122)],
)
def test_cutoff_is_inclusive(cutoff: float, counts: int) -> None:
    """A neighbour at exactly the cutoff counts; one bit less and it does not."""
    assert cgfast.neighbor_list(np.zeros((1, 3)), 3.0 * np.eye(3), True, cutoff).n_edges == counts


def test_close_to_the_cutoff() -> None:
    """Pairs 1e-7 Å inside the cutoff are found, pairs 1e-7 Å outside are not, in either path."""
    directions = np.random.default_rng(0).normal(size=(300, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    for offset, expected in ((-1e-7, 300), (1e-7, 0)):
        around = np.concatenate([np.zeros((1, 3)), directions * (5.0 + offset)]) + 20.0
        for cell in (40.0 * np.eye(3), 40.0 * rotation(3), 12.0 * np.eye(3)):
            row = cgfast.neighbor_list(around, cell, True, 5.0)
            within = row.distances[: row.row_ptr[1]]
            assert np.count_nonzero(np.abs(within - 5.0) < 1e-6) == expected


@pytest.mark.parametrize(
    ("name", "cutoff", "coordination"),
    [
        ("sc", 1.2, [6]),
        ("fcc", 0.8, [12]),
        ("fcc-conventional", 0.8, [12] * 4),
        ("bcc", 1.05, [14]),
        ("hcp", 1.1, [12, 12]),
        ("rocksalt", 0.55, [6, 6]),
        ("diamond", 0.5, [4, 4]),
        ("cscl", 0.9, [8, 8]),
        ("perovskite", 0.55, [0, 6, 2, 2, 2]),
    ],
)
@pytest.mark.parametrize("turn", [None, 1, 2])
def test_coordination_numbers(name: str, cutoff: float, coordination: list[int], turn: int | None) -> None:
    """Textbook coordination numbers, also for a rotated cell and atoms moved over a face."""
    positions, cell, _ = lattice(name, 4.0)
    if turn is not None:
        positions, cell = positions @ rotation(turn) - [4e-52, 0.1, 7.0], cell @ rotation(turn)
    result = cgfast.neighbor_list(positions, cell, True, 4.0 * cutoff)
    assert np.diff(result.row_ptr).tolist() == coordination


def test_number_of_images() -> None:
    """A 4 Å cell with a 6 Å cutoff needs images two cells away (others have found 56 of 64 edges)."""
    positions = np.array([[0.0, 0.0, 0.0], [2.0, 2.0, 2.0], [3.9, 0.1, 0.1]])
    assert_same_radius(cgfast.neighbor_list(positions, 4.0 * np.eye(3), True, 6.0), positions, 4.0 * np.eye(3), True, 6.0)
    assert np.abs(cgfast.neighbor_list(positions, 4.0 * np.eye(3), True, 6.0).shifts).max() == 2


@pytest.mark.parametrize("repeats", [(2, 3, 1), (6, 5, 7), (1, 1, 40)])
@pytest.mark.parametrize("name", ["perovskite", "hcp", "diamond", "fcc"])
def test_large_cells_agree_with_small_ones(name: str, repeats: tuple[int, int, int]) -> None:
    """The cell list on a supercell gives what image enumeration gives on the small cell."""
    positions, cell, _ = lattice(name, 3.9)
    cell = cell @ rotation(4)
    positions = positions @ rotation(4)
    small = as_edges(cgfast.neighbor_list(positions, cell, True, 5.0))
    assert_equal_lists(small, oracle.radius(positions, cell, True, 5.0 + 1e-9), 5.0)
    big_positions, big_cell = oracle.supercell(positions, cell, repeats)
    large = as_edges(cgfast.neighbor_list(big_positions, big_cell, True, 5.0))
    want = oracle.supercell_edges(small, len(positions), repeats)
    assert_equal_lists(large, want, 5.0)
    np.testing.assert_allclose(large.distances, want.distances, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 7, 33, 130, 520])
@pytest.mark.parametrize("pbc", [True, (True, True, False), False])
def test_sizes_around_the_switch(n: int, pbc: bool | tuple[bool, bool, bool]) -> None:
    """From one atom to hundreds, wherever the search changes from one path to the other."""
    cell = np.array([[9.0, 0.0, 0.0], [3.0, 8.0, 0.0], [-2.0, 1.0, 10.0]])
    positions = random_crystal(n, n, cell, 1.5)
    for cutoff in (1.0, 3.1, 5.2):
        result = cgfast.neighbor_list(positions, cell, pbc, cutoff)
        assert_same_radius(result, positions, cell, pbc, cutoff)


def test_no_edges_keeps_the_number_of_atoms() -> None:
    """The number of rows comes from the input, not from the largest index found."""
    result = cgfast.neighbor_list(np.arange(12.0).reshape(4, 3) * 50, None, False, 1.0)
    assert result.n_edges == 0
    assert result.row_ptr.tolist() == [0] * 5


def test_a_far_image_of_itself_only() -> None:
    """One atom far outside a primitive cell has its images for neighbours, and never itself."""
    for origin in (0.0, 0.1, -7.3, 1e3, 1e6):
        result = cgfast.neighbor_list(np.full((1, 3), origin), lattice("fcc", 3.6)[1], True, 2.6)
        assert result.n_edges == 12
        assert not (np.asarray(result.shifts) == 0).all(axis=1).any()
        np.testing.assert_allclose(result.distances, 3.6 / np.sqrt(2.0), rtol=1e-9)


def test_cutoff_far_larger_than_a_molecule() -> None:
    """Without periodic axes, an enormous cutoff finds every pair."""
    positions = np.random.default_rng(5).normal(size=(40, 3))
    for options in ({}, {"sort": "distance"}, {"max_neighbors": 39}, {"max_neighbors": 1000, "ties": "shell"}):
        assert cgfast.neighbor_list(positions, None, False, 5000.0, **options).n_edges == 40 * 39


def test_many_images_do_not_overflow() -> None:
    """Atoms times images of this batch, 1.7 million each, go beyond 2^31; the search needs twelve of them."""
    n = 3000
    positions = np.full((n, 3), 0.25)
    cells = np.tile(0.5 * np.eye(3), (n, 1, 1))
    result = cgfast.neighbor_list(positions, cells, True, 30.0, graph_ptr=np.arange(n + 1), max_neighbors=12)
    assert np.diff(result.row_ptr).tolist() == [12] * n
    assert np.array_equal(result.shifts, np.tile(result.shifts[:12], (n, 1)))


def test_vacuum_is_cheap() -> None:
    """A grid with one entry per cutoff-sized box would need 10^22 of them here."""
    positions = np.random.default_rng(6).normal(scale=30.0, size=(3000, 3))
    start = time.perf_counter()
    got = as_edges(cgfast.neighbor_list(positions, 1e8 * np.eye(3), True, 4.0))
    assert time.perf_counter() - start < 5.0
    assert_equal_lists(got, oracle.radius(positions, None, False, 4.0 + 1e-9), 4.0)


def test_an_outlier_costs_only_itself() -> None:
    """One huge or dense crystal does not change what the other crystals of a batch cost."""
    positions, cell, numbers = lattice("perovskite", 3.9)
    n = 400
    small: Batch = (
        np.tile(positions, (n, 1)),
        np.tile(cell, (n, 1, 1)),
        np.ones((n, 3), bool),
        np.arange(n + 1) * len(numbers),
    )
    huge = random_crystal(7, 4000, 40.0 * np.eye(3))
    both: Batch = (
        np.concatenate([huge, small[0]]),
        np.concatenate([40.0 * np.eye(3)[None], small[1]]),
        np.ones((n + 1, 3), bool),
        np.concatenate([[0], small[3] + len(huge)]),
    )

    def seconds(batch: Batch) -> float:
        start = time.perf_counter()
        cgfast.neighbor_list(*batch[:3], 6.0, graph_ptr=batch[3], threads=1)
        return time.perf_counter() - start

    alone = (huge, 40.0 * np.eye(3)[None], np.ones((1, 3), bool), np.array([0, len(huge)]))
    apart = min(seconds(small) + seconds(alone) for _ in range(3))
    assert min(seconds(both) for _ in range(3)) < 3.0 * apart + 0.1


def test_dense_rows() -> None:
    """1,499 neighbours each, where a guess from the mean density of the cell would allow for none."""
    positions = random_crystal(8, 1500, np.eye(3)) + 50.0
    result = cgfast.neighbor_list(positions, 100.0 * np.eye(3), True, 2.0)
    assert np.diff(result.row_ptr).tolist() == [1499] * 1500
    assert_no_pair_twice(as_edges(result))


@pytest.mark.parametrize("pbc", [True, (True, False, True), (False, True, False)])
def test_reverse_edges(pbc: bool | tuple[bool, bool, bool]) -> None:
    """(i, j, S) is in a radius list exactly when (j, i, -S) is, at the same distance to the last bit."""
    cell = np.array([[6.0, 0.0, 0.0], [2.0, 7.0, 0.0], [-2.0, 1.0, 5.0]])
    for n in (5, 300):
        edges = as_edges(cgfast.neighbor_list(random_crystal(n, n, cell, 4.0), cell, pbc, 3.0))
        reverse = np.lexsort((*-edges.shifts.T[::-1], edges.target, edges.source))
        assert np.array_equal(keys(edges)[reverse][:, [1, 0]], keys(edges)[:, :2])
        assert np.array_equal(-edges.shifts[reverse], edges.shifts)
        np.testing.assert_allclose(edges.distances[reverse], edges.distances, rtol=0, atol=1e-13)


def test_open_axes_are_not_crossed() -> None:
    """Atoms on either side of an open face are neighbours through the inside only, at their true distance."""
    positions = np.array([[0.5, 0.5, 0.2], [0.5, 0.5, 3.8], [0.5, 0.5, 9.0]])
    result = cgfast.neighbor_list(positions, np.diag([30.0, 30.0, 4.0]), (True, True, False), 6.0)
    assert np.array_equal(result.edge_index, [[1, 0, 2, 1], [0, 1, 1, 2]])
    np.testing.assert_allclose(result.distances, [3.6, 3.6, 5.2, 5.2])
    assert not np.asarray(result.shifts).any()


def test_shifts_refer_to_the_given_positions() -> None:
    """Moving an atom by lattice vectors changes the shifts of its edges by as much, and nothing else."""
    cell = np.array([[5.0, 0.0, 0.0], [1.0, 5.5, 0.0], [0.4, -0.8, 6.0]])
    positions = random_crystal(9, 6, cell)
    jumps = np.random.default_rng(10).integers(-50, 51, size=(6, 3))
    before = as_edges(cgfast.neighbor_list(positions, cell, True, 5.0))
    after = as_edges(cgfast.neighbor_list(positions + jumps @ cell, cell, True, 5.0))
    moved = before.shifts + jumps[before.target] - jumps[before.source]
    want = before._replace(shifts=moved)
    assert_equal_lists(after, want, 5.0)
    assert_distances(after, positions + jumps @ cell, cell, True)
