"""What is wrong with a crystal's geometry, for a whole batch at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["complete_cell", "find_problems"]

# Below these a crystal is an artefact of a broken file, and its neighbour list would have millions of
# entries.
MIN_THICKNESS = 0.01  # Å between the faces of a cell
MIN_VOLUME_PER_ATOM = 0.1  # Å³; hydrogen at 500 GPa has about 1
MIN_RELATIVE_VOLUME = 1e-9  # of the box with the same edges: what rounding leaves of a flat cell is 1e-16
MAX_COORDINATE = 1e8  # Å; beyond it float64 no longer resolves a bond to 1e-8 Å


def complete_cell(cell: NDArray[np.float64], pbc: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The (3, 3) cell with every open axis replaced by a unit vector normal to the periodic ones."""
    rows = [k for k in range(3) if pbc[k]]
    out = np.array(cell, dtype=np.float64)
    if len(rows) == 3:
        return out
    if not rows:
        return np.eye(3)
    if len(rows) == 1:
        first = out[rows[0]]
        away = np.eye(3)[np.argmin(np.abs(first))]
        i, j = (rows[0] + 1) % 3, (rows[0] + 2) % 3
        out[i] = _unit(np.cross(away, first))
        out[j] = _unit(np.cross(first, out[i]))
        return out
    k = 3 - sum(rows)
    out[k] = _unit(np.cross(out[(k + 1) % 3], out[(k + 2) % 3]))
    return out


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector


def find_problems(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    pbc: NDArray[np.bool_],
    atomic_numbers: NDArray[np.int32],
    graph_ptr: NDArray[np.int64],
    max_atomic_number: int,
) -> dict[int, str]:
    """Index -> reason for the crystals that cannot be used; arguments as in `Crystals`."""
    found: dict[int, str] = {}
    counts = np.diff(graph_ptr)
    for b in np.flatnonzero(counts == 0):
        found[int(b)] = "no atoms: expected at least one"
    _check_atoms(found, positions, atomic_numbers, graph_ptr, max_atomic_number)
    _check_cells(found, cell, pbc, counts)
    return dict(sorted(found.items()))


def _crystal_of(atom: int, graph_ptr: NDArray[np.int64]) -> int:
    return int(np.searchsorted(graph_ptr, atom, side="right")) - 1


def _check_atoms(
    found: dict[int, str],
    positions: NDArray[np.float64],
    atomic_numbers: NDArray[np.int32],
    graph_ptr: NDArray[np.int64],
    max_atomic_number: int,
) -> None:
    """First bad atom of each crystal. Written so that NaN fails the comparison."""
    bad = np.flatnonzero(~(np.abs(positions) <= MAX_COORDINATE).all(axis=1))
    for atom in bad[::-1].tolist():
        b = _crystal_of(atom, graph_ptr)
        at = _numbers(positions[atom])
        found[b] = f"position of atom {atom - int(graph_ptr[b])} is {at}: expected finite numbers below 1e8 Å"
    bad = np.flatnonzero((atomic_numbers < 1) | (atomic_numbers > max_atomic_number))
    for atom in bad[::-1].tolist():
        b = _crystal_of(atom, graph_ptr)
        z = int(atomic_numbers[atom])
        found[b] = f"atomic number of atom {atom - int(graph_ptr[b])} is {z}: expected 1 to {max_atomic_number}"


def _numbers(values: NDArray[Any]) -> str:
    return "[" + ", ".join(f"{v:.6g}" for v in values) + "]"


def _check_cells(found: dict[int, str], cell: NDArray[np.float64], pbc: NDArray[np.bool_], counts: NDArray[np.int64]) -> None:
    full = cell
    open_cells = np.flatnonzero(~pbc.all(axis=1))
    finite = np.asarray((np.abs(cell) <= MAX_COORDINATE).all(axis=2))
    if open_cells.size:
        finite = finite | ~pbc  # rows of open axes are ignored, whatever they hold
        full = cell.copy()
        for b in open_cells.tolist():
            full[b] = complete_cell(cell[b], pbc[b]) if finite[b].all() else np.eye(3)
    usable = np.asarray(finite.all(axis=1))
    for b in np.flatnonzero(~usable).tolist():
        k = int(np.flatnonzero(~finite[b])[0])
        found.setdefault(b, f"lattice vector {'abc'[k]} is {_numbers(cell[b, k])}: expected finite numbers below 1e8 Å")
    safe = full if usable.all() else np.where(usable[:, None, None], full, np.eye(3))
    a, b_, c = safe[:, 0], safe[:, 1], safe[:, 2]
    faces = np.stack([np.cross(b_, c), np.cross(c, a), np.cross(a, b_)], axis=1)
    volume = np.abs(np.einsum("bi,bi->b", a, faces[:, 0]))
    lengths = np.linalg.norm(safe, axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        thickness = volume[:, None] / np.linalg.norm(faces, axis=2)
        flat = ~(volume > MIN_RELATIVE_VOLUME * lengths.prod(axis=1))
    thin = ~(thickness >= MIN_THICKNESS) & pbc
    dense = (volume < MIN_VOLUME_PER_ATOM * counts) & pbc.all(axis=1)
    for b in np.flatnonzero((flat | thin.any(axis=1) | dense) & usable).tolist():
        if b in found:
            continue
        if flat[b]:
            found[b] = "the cell has no volume: its periodic lattice vectors are zero or depend on each other"
        elif thin[b].any():
            k = int(np.flatnonzero(thin[b])[0])
            found[b] = f"the cell is {thickness[b, k]:.3g} Å thick along {'abc'[k]}: expected at least {MIN_THICKNESS} Å"
        else:
            each = volume[b] / counts[b]
            found[b] = f"{each:.3g} Å³ of cell an atom: expected at least {MIN_VOLUME_PER_ATOM} Å³"
