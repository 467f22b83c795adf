"""ASE's neighbour list, computed by cgfast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cgfast.elements import SYMBOLS
from cgfast.neighbors import neighbor_list as search

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    PairCutoffs = dict[tuple[str | int, str | int], float]

__all__ = ["neighbor_list"]

QUANTITIES = "ijdDS"


def neighbor_list(
    quantities: str,
    a: Any,  # noqa: ANN401 - an ase.Atoms; typed so that ASE need not be installed
    cutoff: float | PairCutoffs | ArrayLike,
    self_interaction: bool = False,  # noqa: FBT001, FBT002 - ASE's signature
    max_nbins: float = 1e6,  # noqa: ARG001 - ASE's signature
) -> Any:  # noqa: ANN401 - one array, or a tuple of them
    """Find the pairs of atoms closer than a cutoff, as ``ase.neighborlist.neighbor_list`` does.

    quantities: what to return, any of "i" (first atom), "j" (second atom), "d" (distance, Å), "D" (vector from i to j, Å)
    and "S" (lattice shift of j), in any order. a: an ``ase.Atoms`` of N atoms, any mixture of periodic and open axes;
    atoms may lie outside the cell. cutoff: one number (Å); or a dictionary of cutoffs by pair of elements, such as
    ``{("C", "H"): 1.3, (6, 6): 1.85}``, where pairs not named are no neighbours; or N radii, with which atoms are
    neighbours when their spheres overlap. self_interaction: whether every atom is its own neighbour at distance zero.
    max_nbins: taken for the sake of the signature; the search here needs no such limit.

    Returns a tuple with one array per quantity, or the array itself if there is only one: i, j (E,) int64, d (E,)
    float64, D (E, 3) float64, S (E, 3) int64, with D = positions[j] - positions[i] + S @ cell. As in ASE a distance equal
    to the cutoff is too far. Pairs come in (i, j, S) order, the same on every run; ASE promises the order of i only.

    Raises ValueError for an unknown quantity or chemical symbol, a cutoff that is not a number or has the wrong length,
    positions or a cell that are not finite, and a periodic axis without a lattice vector (ASE assumes 1 Å there).
    """
    unknown = sorted(set(quantities) - set(QUANTITIES))
    if unknown:
        message = f"quantities must be made of the letters {QUANTITIES!r}; got {quantities!r}"
        raise ValueError(message)
    # One conversion each: Atoms.positions, .cell and .pbc are properties, and may hold any dtype.
    positions = np.asarray(a.positions, dtype=np.float64).reshape(-1, 3)
    cell = np.asarray(a.cell, dtype=np.float64)
    limit = _largest_cutoff(cutoff, len(positions))
    i, j, shifts = _candidates(positions, cell, np.asarray(a.pbc, dtype=bool), limit, self_interaction)

    vectors = positions[j] - positions[i] + shifts.dot(cell)
    distances = np.sqrt(np.sum(vectors * vectors, axis=1))
    near = distances < np.minimum(limit, _pair_cutoffs(cutoff, np.asarray(a.numbers), i, j))
    found = {"i": i, "j": j, "d": distances, "D": vectors, "S": shifts}
    answers = tuple(found[quantity][near] for quantity in quantities)
    return answers[0] if len(answers) == 1 else answers


def _largest_cutoff(cutoff: Any, n_atoms: int) -> float:  # noqa: ANN401 - the union above
    """Return the distance (Å) beyond which no pair can count."""
    if isinstance(cutoff, dict):
        values = np.array(list(cutoff.values()), dtype=np.float64)
        limit = float(values.max(initial=0.0))
    else:
        values = np.asarray(cutoff, dtype=np.float64)
        if values.ndim and values.shape != (n_atoms,):
            message = f"cutoff must be a number, a dictionary or {n_atoms} radii; got shape {values.shape}"
            raise ValueError(message)
        limit = float(2.0 * values.max(initial=0.0)) if values.ndim else float(values)
    if np.isnan(values).any():
        message = f"cutoff must not hold NaN; got {cutoff!r}"
        raise ValueError(message)
    return limit


def _candidates(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    pbc: NDArray[np.bool_],
    limit: float,
    self_interaction: bool,  # noqa: FBT001
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return (i, j, S) of every pair within `limit`, in that order, and perhaps of a few beyond it."""
    n_atoms = len(positions)
    own = np.arange(n_atoms) if self_interaction else np.zeros(0, dtype=np.int64)
    if n_atoms == 0 or limit <= 0.0:
        return own, own, np.zeros((len(own), 3), dtype=np.int64)
    largest = float(np.abs(positions).max())
    if not pbc.any():
        limit = min(limit, 4.0 * largest + 1.0)  # finds every pair: ASE accepts even an infinite cutoff here
    # ASE's formula has the last word on a pair at the cutoff: search further, by more than rounding.
    pairs = search(positions, cell, pbc, limit + 1e-14 * (largest + limit))
    i = np.concatenate([own, pairs.target])
    j = np.concatenate([own, pairs.source])
    shifts = np.concatenate([np.zeros((len(own), 3), dtype=np.int64), pairs.shifts.astype(np.int64)])
    if len(own):
        order = np.lexsort((shifts[:, 2], shifts[:, 1], shifts[:, 0], j, i))
        i, j, shifts = i[order], j[order], shifts[order]
    return i, j, shifts


def _pair_cutoffs(
    cutoff: Any,  # noqa: ANN401 - the union above
    numbers: NDArray[np.int64],
    i: NDArray[np.int64],
    j: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the cutoff (Å) of every pair."""
    if not isinstance(cutoff, dict):
        radii = np.asarray(cutoff, dtype=np.float64)
        return radii[i] + radii[j] if radii.ndim else np.full(len(i), float(radii))
    limits = np.zeros(len(i))
    first, second = numbers[i], numbers[j]
    for (one, other), value in cutoff.items():  # a later entry for the same pair wins, as in ASE
        z1, z2 = _atomic_number(one), _atomic_number(other)
        limits[((first == z1) & (second == z2)) | ((first == z2) & (second == z1))] = value
    return limits


def _atomic_number(element: str | int) -> int:
    """Return Z of an element given as its symbol or as Z."""
    if not isinstance(element, str):
        return int(element)
    if element not in SYMBOLS:
        message = f"cutoff names the element {element!r}; expected a chemical symbol or an atomic number"
        raise ValueError(message)
    return SYMBOLS.index(element)
