"""True k-nearest lists against brute force."""

from __future__ import annotations

import functools
import itertools
import time

import numpy as np
import pytest

import cgfast

from . import oracle
from .checks import (
    as_edges,
    assert_distances,
    assert_no_pair_twice,
    assert_same_nearest,
    assert_trimmed,
    keys,
)
from .crystals import CASES, Case, batches, lattice, random_crystal, rotation

BATCHES = batches()
COUNTS = (1, 4, 12, 60)


@functools.cache
def everything(name: str) -> oracle.Edges:
    """The oracle's radius list of a case, sorted by distance, with a little more than its cutoff."""
    case = next(case for case in CASES if case.name == name)
    return oracle.by_distance(oracle.radius(*case.geometry, case.cutoff + 1e-9))


@pytest.mark.parametrize("missing", ["drop", "pad-2018"])
@pytest.mark.parametrize("ties", ["canonical", "shell"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nasty_crystal(case: Case, ties: str, missing: str) -> None:
    """Every case, for few and for many neighbours, equals brute force edge by edge."""
    full = everything(case.name)
    for k in COUNTS:
        result = cgfast.neighbor_list(*case.search, max_neighbors=k, ties=ties, missing=missing)
        got = as_edges(result)
        undecidable = assert_trimmed(got, full, case.cutoff, k, ties=ties, missing=missing)
        assert undecidable <= 0.02 * len(case.positions) + 1
        if missing == "drop":
            assert_no_pair_twice(got)
            assert_distances(got, *case.geometry)


@pytest.mark.parametrize("missing", ["drop", "pad-2018"])
@pytest.mark.parametrize("ties", ["canonical", "shell"])
@pytest.mark.parametrize("name", BATCHES)
def test_batch(name: str, ties: str, missing: str) -> None:
    """A crystal in a batch is searched as if it were alone; padding points to its own first atom."""
    positions, cell, pbc, graph_ptr = BATCHES[name]
    result = cgfast.neighbor_list(positions, cell, pbc, 6.0, max_neighbors=12, ties=ties, missing=missing, graph_ptr=graph_ptr)
    got = as_edges(result)
    for b, (start, stop) in enumerate(itertools.pairwise(graph_ptr)):
        mine = oracle.take(got, np.arange(got.row_ptr[start], got.row_ptr[stop]))
        mine = mine._replace(
            target=mine.target - start,
            source=mine.source - start,
            row_ptr=got.row_ptr[start : stop + 1] - got.row_ptr[start],
        )
        full = oracle.by_distance(oracle.radius(positions[start:stop], cell[b], pbc[b], 6.0 + 1e-9))
        assert_trimmed(mine, full, 6.0, 12, ties=ties, missing=missing)
    assert len(got.row_ptr) == graph_ptr[-1] + 1


@pytest.mark.parametrize("k", [1, 2, 12, 13, 100])
def test_equals_the_start_of_a_sorted_radius_list(k: int) -> None:
    """The k nearest are the first k of the full list sorted by distance, bit for bit."""
    cell = np.array([[11.0, 0.0, 0.0], [4.0, 10.0, 0.0], [-3.0, 2.0, 12.0]])
    for n in (1, 3, 40, 600):
        positions = random_crystal(n, n, cell, 1.7)
        full = as_edges(cgfast.neighbor_list(positions, cell, True, 6.0, sort="distance"))
        got = as_edges(cgfast.neighbor_list(positions, cell, True, 6.0, max_neighbors=k))
        want = oracle.join([oracle.take(full, np.arange(a, min(a + k, b))) for a, b in oracle.spans(full.row_ptr)])
        assert np.array_equal(keys(got), keys(want))
        assert np.array_equal(got.distances, want.distances)


def test_row_lengths() -> None:
    """Exactly k edges an atom where there are k inside the cutoff."""
    positions, cell, _ = lattice("perovskite", 3.9)
    result = cgfast.neighbor_list(positions, cell, True, 8.0, max_neighbors=12)
    assert np.diff(result.row_ptr).tolist() == [12] * 5
    assert result.edge_weight is None


def test_fewer_than_k() -> None:
    """A diatomic gas: one neighbour inside the cutoff, dropped or padded as the 2018 code did."""
    positions = np.array([[10.0, 10.0, 10.0], [10.0, 10.0, 11.1], [30.0, 30.0, 30.0]])
    cell = 60.0 * np.eye(3)
    short = cgfast.neighbor_list(positions, cell, True, 8.0, max_neighbors=4)
    assert np.diff(short.row_ptr).tolist() == [1, 1, 0]
    assert short.few.tolist() == [3]
    padded = cgfast.neighbor_list(positions, cell, True, 8.0, max_neighbors=4, missing="pad-2018")
    assert np.diff(padded.row_ptr).tolist() == [4, 4, 4]
    assert padded.few.tolist() == [3]
    assert padded.source.tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    assert padded.distances.tolist() == pytest.approx([1.1, 9, 9, 9, 1.1, 9, 9, 9, 9, 9, 9, 9])
    assert not np.asarray(padded.shifts).any()


def test_padding_points_into_the_own_crystal() -> None:
    """The first atom that padding refers to is the crystal's, not the batch's."""
    positions, cell, pbc, graph_ptr = BATCHES["gases"]
    result = cgfast.neighbor_list(positions, cell, pbc, 2.0, max_neighbors=3, missing="pad-2018", graph_ptr=graph_ptr)
    assert np.diff(result.row_ptr).tolist() == [3] * len(positions)
    padding = result.distances == 3.0
    first = graph_ptr[np.searchsorted(graph_ptr, result.target[padding], side="right") - 1]
    assert np.array_equal(result.source[padding], first)
    assert np.count_nonzero(padding) > 500


@pytest.mark.parametrize("ties", ["canonical", "shell"])
def test_cutoff_does_not_matter_beyond_the_kth(ties: str) -> None:
    """With k neighbours well inside, a larger cutoff changes neither the answer nor, much, the time."""
    for n in (4, 700):
        cell = (15.0 if n > 100 else 3.0) * np.eye(3) @ rotation(n)
        positions = random_crystal(n, n, cell)
        near = as_edges(cgfast.neighbor_list(positions, cell, True, 8.0, max_neighbors=12, ties=ties))
        start = time.perf_counter()
        far = as_edges(cgfast.neighbor_list(positions, cell, True, 500.0, max_neighbors=12, ties=ties))
        assert time.perf_counter() - start < 2.0
        assert np.array_equal(keys(near), keys(far))
        assert np.array_equal(near.distances, far.distances)


def test_clusters_in_vacuum() -> None:
    """The radius that holds k atoms at the mean density is far from the truth here, both ways."""
    rng = np.random.default_rng(0)
    lumps = np.concatenate([rng.normal(scale=0.5, size=(25, 3)) + corner for corner in rng.uniform(0, 300, (8, 3))])
    lone = rng.uniform(0, 300, (40, 3))
    positions = np.concatenate([lumps, lone])
    for k in (5, 24, 25, 30):
        result = cgfast.neighbor_list(positions, 300.0 * np.eye(3), True, 60.0, max_neighbors=k)
        assert_same_nearest(result, positions, 300.0 * np.eye(3), True, 60.0, k)


def test_slab_and_open_systems() -> None:
    """No density can be had from the volume of a cell that is open, dummy or absent."""
    rng = np.random.default_rng(1)
    positions = rng.normal(scale=4.0, size=(200, 3))
    for cell, pbc in (
        (None, False),
        (np.eye(3), False),
        (1e-3 * np.eye(3), False),
        (1e9 * np.eye(3), False),
        (np.diag([20.0, 20.0, 1e-3]), (True, True, False)),
        (np.diag([20.0, 20.0, 1e9]), (True, True, False)),
        (np.diag([0.0, 20.0, 0.0]), (False, True, False)),
    ):
        for ties in ("canonical", "shell"):
            result = cgfast.neighbor_list(positions, cell, pbc, 9.0, max_neighbors=12, ties=ties)
            assert_same_nearest(result, positions, cell, pbc, 9.0, 12, ties=ties)


@pytest.mark.parametrize("k", [1, 11, 12, 13])
def test_more_coincident_atoms_than_k(k: int) -> None:
    """Rows full of zero distances are cut in source order, and never hold the atom itself."""
    positions = np.concatenate([np.zeros((13, 3)), [[1.0, 0.0, 0.0]]])
    for cell, pbc in ((None, False), (5.0 * np.eye(3), True)):
        result = cgfast.neighbor_list(positions, cell, pbc, 6.0, max_neighbors=k)
        assert_same_nearest(result, positions, cell, pbc, 6.0, k)
        assert not (np.asarray(result.source) == np.asarray(result.target))[: 12 * k].any() or k == 13


def test_all_neighbors_when_k_is_huge() -> None:
    """A k larger than the number of neighbours gives the whole sorted radius list."""
    positions, cell, _ = lattice("hcp", 3.2)
    full = cgfast.neighbor_list(positions, cell, True, 7.0, sort="distance")
    for ties in ("canonical", "shell"):
        result = cgfast.neighbor_list(positions, cell, True, 7.0, max_neighbors=10**6, ties=ties)
        assert np.array_equal(result.edge_index, full.edge_index)
        assert np.array_equal(result.shifts, full.shifts)
        assert result.edge_weight is None or np.all(result.edge_weight == 1.0)


def test_build_graphs_is_the_same_search() -> None:
    """`build_graphs` on `Crystals` gives the edges of `neighbor_list` on their arrays."""
    positions, cell, pbc, graph_ptr = BATCHES["everything-small"]
    numbers = np.ones(len(positions), np.int64)
    crystals = cgfast.Crystals.from_arrays(positions, cell, numbers, pbc=pbc, graph_ptr=graph_ptr)
    for k, ties, missing in (
        (None, "canonical", "drop"),
        (12, "shell", "drop"),
        (12, "canonical", "pad-2018"),
    ):
        spec = cgfast.GraphSpec(5.0, k, ties, missing=missing)
        graph = cgfast.build_graphs(crystals, spec)
        want = cgfast.neighbor_list(positions, cell, pbc, 5.0, max_neighbors=k, ties=ties, missing=missing, graph_ptr=graph_ptr)
        for name in ("edge_index", "shifts", "distances", "row_ptr", "edge_weight"):
            np.testing.assert_array_equal(getattr(graph, name), getattr(want, name), err_msg=name)
        assert np.array_equal(graph.graph_ptr, graph_ptr)
        assert np.array_equal(graph.atomic_numbers, numbers)
