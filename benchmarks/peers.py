"""The same work done with other packages, the way their users write it.

A list builder takes one `Cell` and returns its `Edges`; graph functions take many and cut rows to the k
nearest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

if TYPE_CHECKING:
    from benchmarks.data import Cell


class Edges(NamedTuple):
    """Edges of one crystal: centre, neighbour, lattice shift of the neighbour, distance in Å."""

    target: np.ndarray
    source: np.ndarray
    shifts: np.ndarray
    distances: np.ndarray


ListBuilder = Callable[["Cell"], Edges]


def keep_nearest(edges: Edges, n_atoms: int, k: int) -> Edges:
    """The k nearest of a radius list: one lexsort, then a cut by rank within the row."""
    order = np.lexsort((edges.distances, edges.target))
    target = edges.target[order]
    first = np.searchsorted(target, np.arange(n_atoms, dtype=target.dtype))
    kept = order[np.arange(len(order)) - first[target] < k]
    return Edges(*(column[kept] for column in edges))


def nearest_graphs(builder: ListBuilder, cells: Sequence[Cell], k: int) -> list[Edges]:
    """k-nearest graphs out of any radius-list builder."""
    return [keep_nearest(builder(cell), len(cell.positions), k) for cell in cells]


def vesin(cutoff: float, threads: int) -> ListBuilder:
    """vesin, one calculator reused for all crystals."""
    package = pytest.importorskip("vesin", reason="the peer vesin is not installed")
    calculator = package.NeighborList(cutoff=cutoff, full_list=True, n_threads=threads)

    def build(cell: Cell) -> Edges:
        i, j, shifts, distances = calculator.compute(cell.positions, cell.cell, True, "ijSd")
        return Edges(i, j, shifts, distances)

    return build


def matscipy(cutoff: float) -> ListBuilder:
    """matscipy, which runs on one thread."""
    package = pytest.importorskip("matscipy.neighbours", reason="the peer matscipy is not installed")
    periodic = np.ones(3, dtype=bool)

    def build(cell: Cell) -> Edges:
        return Edges(*package.neighbour_list("ijSd", positions=cell.positions, cell=cell.cell, pbc=periodic, cutoff=cutoff))

    return build


def pymatgen_structures(cells: Sequence[Cell]) -> list[Any]:
    """Structures of pymatgen, made outside the timed part."""
    core = pytest.importorskip("pymatgen.core", reason="the peer pymatgen is not installed")
    return [core.Structure(core.Lattice(cell.cell), cell.numbers, cell.positions, coords_are_cartesian=True) for cell in cells]


def pymatgen_nearest(structures: Sequence[Any], cutoff: float, k: int) -> list[Edges]:
    """The array interface of pymatgen, then the same cut as for every other radius list."""
    graphs = []
    for structure in structures:
        edges = Edges(*structure.get_neighbor_list(cutoff))
        graphs.append(keep_nearest(edges, len(structure), k))
    return graphs


def cgcnn_2018_nearest(structures: Sequence[Any], cutoff: float, k: int) -> list[Edges]:
    """What the 2018 CGCNN code does: neighbour objects, sorted by distance in Python, the first k kept."""
    graphs = []
    for structure in structures:
        rows = [sorted(row, key=lambda n: n.nn_distance)[:k] for row in structure.get_all_neighbors(cutoff, include_index=True)]
        flat = [neighbor for row in rows for neighbor in row]
        graphs.append(
            Edges(
                np.repeat(np.arange(len(rows)), [len(row) for row in rows]),
                np.array([neighbor.index for neighbor in flat]),
                np.array([neighbor.image for neighbor in flat], dtype=np.int32),
                np.array([neighbor.nn_distance for neighbor in flat]),
            )
        )
    return graphs
