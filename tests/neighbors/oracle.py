"""Brute-force neighbour lists in NumPy: slow, short, and written without a look at the native code.

Definitions (float64 throughout):

* the vector of the edge (i, j, S) is ``r = positions[j] - positions[i] + S @ cell``; target i, source j;
* open axes carry no shift; the lattice vectors stored for them are ignored;
* an atom is not its own neighbour at shift zero; nothing else is left out, whatever its distance;
* a neighbour has ``|r| <= cutoff``.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import ArrayLike, NDArray

BIN = 1e-6  # Å: distances in the same bin count as equal when neighbours are put in order
PAIRS_AT_ONCE = 200_000


class Edges(NamedTuple):
    """A neighbour list: E edges sorted by target, `row_ptr` marks the rows."""

    target: NDArray[np.int64]
    source: NDArray[np.int64]
    shifts: NDArray[np.int64]
    distances: NDArray[np.float64]
    row_ptr: NDArray[np.int64]
    weight: NDArray[np.float64] | None = None


def inputs(
    positions: ArrayLike, cell: ArrayLike | None, pbc: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Bring one crystal into standard form: float64 positions, a (3, 3) cell, three booleans."""
    xyz = np.array(positions, dtype=np.float64).reshape(-1, 3)
    matrix = np.zeros((3, 3)) if cell is None else np.array(cell, dtype=np.float64).reshape(3, 3)
    return xyz, matrix, np.broadcast_to(np.array(pbc, dtype=bool), (3,)).copy()


def complete_cell(cell: NDArray[np.float64], pbc: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Replace the rows of open axes by unit vectors normal to the periodic rows and to each other."""
    full = np.zeros((3, 3))
    full[pbc] = cell[pbc]
    # The right singular vectors past the rank span what is normal to the periodic lattice vectors.
    normals = np.linalg.svd(cell[pbc])[2][int(pbc.sum()) :] if pbc.any() else np.eye(3)
    full[~pbc] = normals
    return full


def search(
    positions: ArrayLike, cell: ArrayLike | None, pbc: ArrayLike, cutoff: float
) -> Iterator[tuple[NDArray[np.int64], ...]]:
    """Yield (target, source, shifts, distances) blocks that together hold every neighbour once."""
    xyz, raw, periodic = inputs(positions, cell, pbc)
    n = len(xyz)
    if n == 0:
        return
    lattice = complete_cell(raw, periodic)
    inverse = np.linalg.inv(lattice)
    face_distance = 1.0 / np.linalg.norm(inverse, axis=0)
    home = np.floor(xyz @ inverse).astype(np.int64) * periodic
    # Wrapped atoms differ by less than one cell (a little more after rounding) along each axis.
    reach = np.where(periodic, np.floor(cutoff / face_distance + 1.0 + 1e-6).astype(np.int64), 0)
    images = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), axis=-1).reshape(-1, 3)
    index = np.arange(n)
    block = max(1, PAIRS_AT_ONCE // n)
    for start in range(0, n, block):
        rows = index[start : start + block]
        vectors = xyz[None] - xyz[rows][:, None]
        crossed = home[rows][:, None] - home[None]
        at_once = max(1, PAIRS_AT_ONCE // (n * len(rows)))
        for first in range(0, len(images), at_once):
            # Shift between atoms as given = shift between wrapped atoms + difference of their home cells.
            shifts = images[first : first + at_once, None, None] + crossed[None]
            r = vectors[None] + shifts @ (lattice * periodic[:, None])
            distances = np.sqrt(np.einsum("mijc,mijc->mij", r, r))
            keep = distances <= cutoff
            keep &= ~((rows[:, None] == index[None])[None] & (shifts == 0).all(axis=3))
            m, i, j = np.nonzero(keep)
            yield rows[i], j, shifts[m, i, j], distances[m, i, j]


def radius(positions: ArrayLike, cell: ArrayLike | None, pbc: ArrayLike, cutoff: float) -> Edges:
    """All neighbours with distance <= cutoff, in (target, source, shift) order."""
    n = len(inputs(positions, cell, pbc)[0])
    blocks = list(search(positions, cell, pbc, cutoff))
    if blocks:
        target, source, shifts, distances = (np.concatenate(column) for column in zip(*blocks, strict=True))
    else:
        target, source = np.zeros(0, np.int64), np.zeros(0, np.int64)
        shifts, distances = np.zeros((0, 3), np.int64), np.zeros(0)
    order = np.lexsort((*shifts.T[::-1], source, target))
    target = target[order]
    return Edges(target, source[order], shifts[order], distances[order], pointers(target, n))


def by_distance(edges: Edges) -> Edges:
    """Sort by (target, round(distance / 1e-6), source, shift), as k-nearest lists are."""
    rounded = np.rint(edges.distances / BIN)
    order = np.lexsort((*edges.shifts.T[::-1], edges.source, rounded, edges.target))
    return take(edges, order)


def nearest(
    positions: ArrayLike,
    cell: ArrayLike | None,
    pbc: ArrayLike,
    cutoff: float,
    k: int,
    *,
    ties: str = "canonical",
    tolerance: float = 1e-3,
    missing: str = "drop",
) -> Edges:
    """Keep the k nearest neighbours inside the cutoff; ties and short rows are treated as asked for."""
    full = by_distance(radius(positions, cell, pbc, cutoff))
    return trim(full, cutoff, k, ties=ties, tolerance=tolerance, missing=missing)


def trim(
    full: Edges,
    cutoff: float,
    k: int,
    *,
    ties: str = "canonical",
    tolerance: float = 1e-3,
    missing: str = "drop",
) -> Edges:
    """Cut a radius list that is sorted by distance down to k neighbours an atom."""
    rows = [trim_row(take(full, np.arange(a, b)), cutoff, k, ties, tolerance) for a, b in spans(full.row_ptr)]
    if missing == "pad-2018":
        rows = [pad_row(row, i, cutoff, k) for i, row in enumerate(rows)]
    joined = join(rows)
    return joined if ties == "shell" else joined._replace(weight=None)


def trim_row(row: Edges, cutoff: float, k: int, ties: str, tolerance: float) -> Edges:
    """Cut the neighbours of one atom; `shell` shares the last places among the equally distant."""
    if len(row.source) < k:
        return row._replace(weight=np.ones(len(row.source)))
    if ties == "canonical":
        return take(row, np.arange(k))._replace(weight=np.ones(k))
    kth = np.sort(row.distances)[k - 1]
    kept = take(row, np.flatnonzero(row.distances <= min(kth + tolerance, cutoff)))
    tied = np.abs(kept.distances - kth) <= tolerance
    closer = np.count_nonzero(~tied)
    return kept._replace(weight=np.where(tied, (k - closer) / np.count_nonzero(tied), 1.0))


def pad_row(row: Edges, target: int, cutoff: float, k: int) -> Edges:
    """Fill a short row as the 2018 code did: edges to the first atom at distance cutoff + 1."""
    n = max(k - len(row.source), 0)
    return Edges(
        np.concatenate([row.target, np.full(n, target)]),
        np.concatenate([row.source, np.zeros(n, np.int64)]),
        np.concatenate([row.shifts, np.zeros((n, 3), np.int64)]),
        np.concatenate([row.distances, np.full(n, cutoff + 1.0)]),
        row.row_ptr,
        np.concatenate([np.ones(len(row.source)) if row.weight is None else row.weight, np.ones(n)]),
    )


def batch(
    one: Callable[..., Edges],
    positions: ArrayLike,
    cell: ArrayLike,
    pbc: ArrayLike,
    graph_ptr: ArrayLike,
    *args: float,
    **options: object,
) -> Edges:
    """Run `one` (radius or nearest) on every crystal by itself and number the atoms through."""
    ptr = np.asarray(graph_ptr)
    xyz, cells = np.asarray(positions, np.float64), np.asarray(cell, np.float64)
    periodic = np.broadcast_to(np.asarray(pbc, bool), (len(cells), 3))
    parts = []
    for b, (start, stop) in enumerate(itertools.pairwise(ptr)):
        edges = one(xyz[start:stop], cells[b], periodic[b], *args, **options)
        parts.append(edges._replace(target=edges.target + start, source=edges.source + start))
    joined = join(parts)
    return joined._replace(row_ptr=pointers(joined.target, int(ptr[-1])))


def supercell(
    positions: ArrayLike, cell: ArrayLike, repeats: tuple[int, int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Repeat a crystal; atom ``a`` of cell ``m`` gets the index ``m * n + a``, cells in C order."""
    xyz, matrix = np.asarray(positions, np.float64), np.asarray(cell, np.float64)
    offsets = np.stack(np.unravel_index(np.arange(np.prod(repeats)), repeats), axis=1)
    return (xyz[None] + (offsets @ matrix)[:, None]).reshape(-1, 3), matrix * np.array(repeats)[:, None]


def supercell_edges(edges: Edges, n: int, repeats: tuple[int, int, int]) -> Edges:
    """Derive the radius list of the supercell from that of the small cell, without any search."""
    size = np.array(repeats)
    offsets = np.stack(np.unravel_index(np.arange(size.prod()), repeats), axis=1)
    where = offsets[:, None] + edges.shifts[None]  # cell that the source lies in, (cells, E, 3)
    shifts, inside = np.floor_divide(where, size), np.mod(where, size)
    home = np.ravel_multi_index(tuple(np.moveaxis(inside, 2, 0)), repeats)
    target = (np.arange(size.prod())[:, None] * n + edges.target).ravel()
    source, shifts = (home * n + edges.source).ravel(), shifts.reshape(-1, 3)
    distances = np.tile(edges.distances, size.prod())
    order = np.lexsort((*shifts.T[::-1], source, target))
    row_ptr = pointers(target, n * int(size.prod()))
    return Edges(target[order], source[order], shifts[order], distances[order], row_ptr)


def pointers(target: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Start of each atom's row of edges, and the end of the last one."""
    return np.concatenate([[0], np.cumsum(np.bincount(target, minlength=n))]).astype(np.int64)


def spans(row_ptr: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Begin and end of every row."""
    return itertools.pairwise(row_ptr.tolist())


def take(edges: Edges, index: NDArray[np.int64]) -> Edges:
    """Select edges; `row_ptr` is left as it was."""
    weight = None if edges.weight is None else edges.weight[index]
    return Edges(
        edges.target[index],
        edges.source[index],
        edges.shifts[index],
        edges.distances[index],
        edges.row_ptr,
        weight,
    )


def join(parts: list[Edges]) -> Edges:
    """Concatenate lists, one part an atom or a crystal."""
    lengths = [len(part.source) for part in parts]
    weights = [part.weight for part in parts if part.weight is not None]
    return Edges(
        np.concatenate([np.zeros(0, np.int64), *(part.target for part in parts)]),
        np.concatenate([np.zeros(0, np.int64), *(part.source for part in parts)]),
        np.concatenate([np.zeros((0, 3), np.int64), *(part.shifts for part in parts)]),
        np.concatenate([np.zeros(0), *(part.distances for part in parts)]),
        np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
        np.concatenate([np.zeros(0), *weights]) if len(weights) == len(parts) and parts else None,
    )
