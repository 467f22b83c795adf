"""Nearest neighbours read off a graph, against all pairs and images written out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cgfast import Crystals, GraphSpec, build_graphs
from cgfast.graph import CrystalGraph
from cgfast.nearest_edges import NONE, any_of_crystal, nearest_edges, only_nearest, shortest_distances

SHIFTS = np.array(list(itertools.product(range(-3, 4), repeat=3)))


def random_crystals(n: int = 30) -> Crystals:
    """Sheared cells of 1 to 6 atoms; some cells so large that atoms are alone within a small cutoff."""
    random = np.random.default_rng(7)
    parts = []
    for _ in range(n):
        n_atoms = random.integers(1, 7)
        cell = np.eye(3) * random.uniform(3, 9) + random.normal(size=(3, 3)) * 0.4
        numbers = random.integers(1, 90, n_atoms)
        parts.append(Crystals.from_arrays(random.random((n_atoms, 3)) @ cell, cell, numbers))
    return Crystals.concatenate(parts)


def all_distances(crystal: Crystals) -> np.ndarray:
    """(n, n) shortest distance from each atom to each other one or its images; of an atom to itself, to its images."""
    xyz, cell = crystal.positions, crystal.cell[0]
    vectors = xyz[None, :, None] - xyz[:, None, None] + (SHIFTS @ cell)[None, None]
    found = np.linalg.norm(vectors, axis=-1)
    found[np.arange(len(xyz)), np.arange(len(xyz)), np.flatnonzero((SHIFTS == 0).all(axis=1))[0]] = np.inf
    return found.min(axis=2)


@pytest.mark.parametrize(
    "spec",
    [
        GraphSpec(8.0, 12),
        GraphSpec(4.0, None),
        GraphSpec(4.0, 3),
        GraphSpec(4.0, 12, missing="pad-2018"),
        GraphSpec(4, 6, "shell"),
    ],
    ids=["12 of 8 Å", "all of 4 Å", "3 of 4 Å", "padded", "shell"],
)
def test_the_nearest_neighbour_of_each_atom(spec: GraphSpec) -> None:
    crystals = random_crystals()
    graph = build_graphs(crystals, spec)
    edges = nearest_edges(graph)
    alone = 0
    for b, crystal in enumerate(crystals):
        first, last = crystals.graph_ptr[b : b + 2]
        distances = all_distances(crystal)
        for atom in range(first, last):
            expected = distances[atom - first].min()
            if expected > spec.cutoff:
                assert edges[atom] == NONE
                alone += 1
                continue
            assert graph.target[edges[atom]] == atom
            assert graph.distances[edges[atom]] == pytest.approx(expected, abs=1e-9)
            neighbor = graph.source[edges[atom]] - first
            assert distances[atom - first, neighbor] == pytest.approx(expected, abs=1e-9)
    assert alone or spec.cutoff > 4
    shortest = [all_distances(crystal).min() for crystal in crystals]
    expected = np.where(np.array(shortest) > spec.cutoff, np.inf, shortest)
    np.testing.assert_allclose(shortest_distances(graph, edges), expected, atol=1e-9)


def test_edges_of_ones_own_in_any_order() -> None:
    graph = CrystalGraph.from_edges([[1, 2, 1, 0], [0, 0, 0, 2]], [1, 6, 8, 26], distances=[3.0, 1.0, 2.0, 4.0])
    edges = nearest_edges(graph)
    assert [NONE if e == NONE else graph.distances[e] for e in edges] == [1.0, NONE, 4.0, NONE]


def test_nothing_at_all_and_crystals_without_atoms() -> None:
    empty = CrystalGraph.from_edges(np.empty((2, 0), int), [], graph_ptr=[0], distances=[])
    assert nearest_edges(empty).shape == (0,)
    assert shortest_distances(empty, nearest_edges(empty)).shape == (0,)
    gaps = CrystalGraph.from_edges([[1], [0]], [1, 1, 1], graph_ptr=[0, 0, 2, 2, 3, 3], distances=[0.7])
    assert shortest_distances(gaps, nearest_edges(gaps)).tolist() == [np.inf, 0.7, np.inf, np.inf, np.inf]
    assert any_of_crystal(np.array([False, True, True]), gaps.graph_ptr).tolist() == [False, True, False, True, False]


def test_coincident_atoms_are_at_zero() -> None:
    crystals = Crystals.from_arrays([[0.0, 0, 0], [0, 0, 0], [2, 2, 2]], np.eye(3) * 5, [6, 6, 8])
    graph = build_graphs(crystals)
    assert shortest_distances(graph, nearest_edges(graph)).tolist() == [0.0]


def test_without_distances_is_refused() -> None:
    graph = CrystalGraph.from_edges([[1], [0]], [1, 1])
    with pytest.raises(ValueError, match="graph: got one without distances"):
        nearest_edges(graph)


@pytest.mark.parametrize("spec", [GraphSpec(6.0, 8), GraphSpec(3.0, 12), GraphSpec(4.0, None)])
def test_the_nearest_edges_alone_say_the_same(spec: GraphSpec, device: str) -> None:
    crystals = random_crystals()
    whole = build_graphs(crystals, spec)
    nearest = nearest_edges(whole)
    few = only_nearest(build_graphs(crystals, spec, device=device))
    assert not few.is_torch
    assert few.n_edges == (whole.n_edges if spec.max_neighbors is None else np.count_nonzero(nearest != NONE))
    found = nearest_edges(few)
    there = nearest != NONE
    np.testing.assert_array_equal(found != NONE, there)
    np.testing.assert_array_equal(few.source[found[there]], whole.source[nearest[there]])
    np.testing.assert_array_equal(few.target[found[there]], np.flatnonzero(there))
    np.testing.assert_array_equal(shortest_distances(few, found), shortest_distances(whole, nearest))
