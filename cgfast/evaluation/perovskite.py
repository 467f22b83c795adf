"""Which site of an ABX3 perovskite is which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cgfast.elements import ELECTRONEGATIVITY
from cgfast.graph import build_graphs
from cgfast.neighbors import GraphSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cgfast.crystals import Crystals

ROLES = ("", "A", "B", "X")
NONE, A, B, X = range(4)
_N_ATOMS = 5
# Enough to reach an X from every cation: A has twelve around it, and at most eight B and six A closer than a second shell.
_SPEC = GraphSpec(cutoff=12.0, max_neighbors=40)


def site_roles(crystals: Crystals) -> NDArray[np.int8]:
    """(N,) A, B or X for the atoms of cells of five with the sites of a perovskite, NONE for all other atoms.

    X are the three most electronegative atoms (Pauling; they may be of several elements). Of the two others B, in the middle of
    the octahedron, is the one whose nearest X is nearer: in the ideal structure a / 2 against a / sqrt(2). No roles where the
    third and fourth atom are equally electronegative, or the two distances are the same to 1e-6 Å. The cell is not checked for
    being cubic: any crystal of the composition ABX3 with five atoms gets roles.
    """
    roles = np.zeros(crystals.n_atoms, np.int8)
    candidates = np.flatnonzero(np.diff(crystals.graph_ptr) == _N_ATOMS)
    if not len(candidates):
        return roles
    atoms = crystals.graph_ptr[candidates][:, None] + np.arange(_N_ATOMS)
    values = np.array(ELECTRONEGATIVITY)[crystals.atomic_numbers[atoms]]
    order = np.argsort(-values, axis=1, kind="stable")
    sorted_values = np.take_along_axis(values, order, axis=1)
    is_anion = np.zeros(atoms.shape, dtype=bool)
    np.put_along_axis(is_anion, order[:, :3], values=True, axis=1)
    nearest = _nearest_anion(crystals[candidates], is_anion.ravel()).reshape(atoms.shape)
    cations = np.sort(order[:, 3:], axis=1)
    distance = np.take_along_axis(nearest, cations, axis=1)
    clear = (sorted_values[:, 2] > sorted_values[:, 3]) & (np.abs(distance[:, 0] - distance[:, 1]) > 1e-6)
    clear &= np.isfinite(distance).all(axis=1)
    found = np.full(atoms.shape, X, np.int8)
    first_is_b = distance[:, 0] < distance[:, 1]
    np.put_along_axis(found, cations, np.where(first_is_b[:, None], [[B, A]], [[A, B]]).astype(np.int8), axis=1)
    roles[atoms[clear]] = found[clear]
    return roles


def _nearest_anion(crystals: Crystals, is_anion: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N,) distance of each atom to the nearest X, in Å; infinite where none is among its neighbours."""
    graph = build_graphs(crystals, _SPEC, threads=1)
    to_anion = is_anion[graph.source]
    nearest = np.full(crystals.n_atoms, np.inf)
    np.minimum.at(nearest, graph.target[to_anion], graph.distances[to_anion])
    return nearest
