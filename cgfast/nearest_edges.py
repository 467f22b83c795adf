"""The shortest edges of a graph: that of each atom, and the distance that is shortest in each crystal."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cgfast.graph import CrystalGraph

NONE = -1  # in place of the edge of an atom without neighbours


def nearest_edges(graph: CrystalGraph) -> NDArray[np.int64]:
    """(N,) the edge from the nearest neighbour of each atom, NONE for an atom without one inside the cutoff.

    graph: NumPy arrays, with distances. Of equally near neighbours the first in the graph's order. Edges that stand for a
    missing neighbour (`missing="pad-2018"`, longer than the cutoff) are none. Raises ValueError for a graph without distances.
    """
    distances = graph.distances
    if distances is None:
        msg = "graph: got one without distances, expected one that build_graphs() made"
        raise ValueError(msg)
    starts = graph.row_ptr[:-1]
    found = np.full(len(starts), NONE, np.int64)
    atoms = np.flatnonzero(graph.row_ptr[1:] > starts)
    if not len(atoms):
        return found
    first = starts[atoms]
    if graph.spec is None or graph.spec.max_neighbors is None:  # rows of k nearest are in order of distance, others are not
        first = _shortest_of_rows(distances, graph.row_ptr, first)
    found[atoms] = first
    if graph.spec is not None:
        found[atoms[distances[first] > graph.spec.cutoff]] = NONE
    return found


def only_nearest(graph: CrystalGraph) -> CrystalGraph:
    """A graph on any device as NumPy arrays, with those edges alone that nearest_edges() finds and no shifts or weights.

    Where rows are not in order of distance it has all edges. It is for the distances and elements of nearest neighbours: of a
    graph of 12 neighbours a tenth leaves the device.
    """
    few = replace(graph, shifts=None, edge_weight=None, edge_attr=None)
    if graph.spec is None or graph.spec.max_neighbors is None:
        return few.numpy()
    few = few.torch()
    starts = few.row_ptr[:-1]
    there = few.row_ptr[1:] > starts
    first = starts[there]
    row_ptr = few.row_ptr.new_zeros(len(few.row_ptr))
    row_ptr[1:] = there.cumsum(0)
    distances = None if few.distances is None else few.distances[first]
    return replace(few, edge_index=few.edge_index[:, first], row_ptr=row_ptr, distances=distances).numpy()


def _shortest_of_rows(
    distances: NDArray[np.floating], row_ptr: NDArray[np.int64], first: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The first of the shortest edges of each row that has any; `first`: the first edges of these rows."""
    shortest = np.minimum.reduceat(distances, first)
    counts = np.diff(row_ptr)
    edges = np.flatnonzero(distances == np.repeat(shortest, counts[counts > 0]))
    found: NDArray[np.int64] = edges[np.searchsorted(edges, first)]
    return found


def shortest_distances(graph: CrystalGraph, nearest: NDArray[np.int64]) -> NDArray[np.float64]:
    """(B,) Å, the shortest distance between two atoms (or an atom and its image) of each crystal; inf where there is none.

    nearest: what nearest_edges() gives for the graph.
    """
    of_atoms = np.full(len(nearest), np.inf)
    there = nearest != NONE
    of_atoms[there] = graph.distances[nearest[there]]
    starts = graph.graph_ptr[:-1]
    out = np.full(len(starts), np.inf)
    filled = graph.graph_ptr[1:] > starts
    if filled.any():
        out[filled] = np.minimum.reduceat(of_atoms, starts[filled])
    return out


def any_of_crystal(atoms: NDArray[np.bool_], graph_ptr: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(B,) whether some atom of each crystal is among those marked in `atoms`, (N,) bool."""
    out = np.zeros(len(graph_ptr) - 1, dtype=bool)
    out[np.searchsorted(graph_ptr, np.flatnonzero(atoms), side="right") - 1] = True
    return out
