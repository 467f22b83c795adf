"""From the sites a CIF lists to all atoms of the cell: operations, special positions, coinciding sites."""

from __future__ import annotations

import functools
import math
import re
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["any_coincide", "cell_from_parameters", "coinciding", "orbits", "parse_operation", "parse_operations"]

# Images of one site closer than this are one atom on a special position: its coordinates were rounded in the
# file. (pymatgen allows 1e-4 of a lattice vector, which splits atoms whose coordinates have three decimals.)
SPECIAL_POSITION = 0.1  # Å
# Two listed sites closer than this, in units of each lattice vector, share one position (pymatgen's
# site_tolerance).
SAME_SITE = 1e-4
_FEW_POINTS = 128  # up to here all pairs are compared
_GRID = 2000  # boxes an axis of the hash that finds them; half a box must exceed SAME_SITE

_TERM = re.compile(r"([+-]?)(\d+\.?\d*|\.\d+)?(?:/(\d+))?\*?([xyz]?)", re.ASCII)


def cell_from_parameters(lengths: Sequence[float], angles: Sequence[float]) -> NDArray[np.float64]:
    """Lattice vectors (3, 3), Å, from lengths in Å and angles in degrees: a in the xz plane, c along z.

    This is the orientation of pymatgen's ``Lattice.from_parameters``, computed in the same order of
    operations.

    Raises:
        ValueError: A length or angle is out of range, or the three angles do not close a cell.
    """
    for name, value in zip(("a", "b", "c", "alpha", "beta", "gamma"), (*lengths, *angles), strict=True):
        is_length = len(name) == 1
        if not 0 < value < (1e5 if is_length else 180):
            expected = "a length between 0 and 1e5 Å" if is_length else "an angle between 0 and 180 degrees"
            message = f"cell parameter {name} is {value:g}: expected {expected}"
            raise ValueError(message)
    a, b, c = lengths
    alpha, beta, gamma = np.radians(angles)
    cos_alpha, cos_beta, cos_gamma = np.cos([alpha, beta, gamma])
    sin_alpha, sin_beta = np.sin([alpha, beta])
    product = (cos_alpha * cos_beta - cos_gamma) / (sin_alpha * sin_beta)
    if abs(product) >= 1:
        message = f"cell angles {angles[0]:g}, {angles[1]:g}, {angles[2]:g} do not close a cell with a volume"
        raise ValueError(message)
    gamma_star = np.arccos(product)
    return np.array(
        [
            [a * sin_beta, 0.0, a * cos_beta],
            [-b * sin_alpha * np.cos(gamma_star), b * sin_alpha * np.sin(gamma_star), b * cos_alpha],
            [0.0, 0.0, float(c)],
        ]
    )


@functools.lru_cache(maxsize=4096)
def parse_operation(text: str) -> tuple[tuple[tuple[float, ...], ...], tuple[float, ...]]:
    """Rotation (3 rows) and translation of a symmetry operation such as ``"-y, x-y, z+1/3"``.

    Raises:
        ValueError: The text is no operation, or its rotation does not keep the volume.
    """
    parts = re.sub(r"\s", "", text).lower().split(",")
    rows, shifts = [], []
    for part in parts:
        row, shift, at = [0.0, 0.0, 0.0], 0.0, 0
        while at < len(part):
            match = _TERM.match(part, at)
            sign, number, divisor, axis = match.groups() if match else ("", None, None, "")
            if match is None or (number is None and (divisor or not axis)) or (at and not sign):
                break
            value = float(number or 1) * (-1 if sign == "-" else 1)
            if divisor:
                value = value / int(divisor) if int(divisor) else math.inf
            if axis:
                row["xyz".index(axis)] += value
            else:
                shift += value
            at = match.end()
        if at < len(part) or not part:
            break
        rows.append(tuple(row))
        shifts.append(shift)
    if len(parts) != 3 or len(rows) != 3:
        message = f"{text[:60]!r} is no symmetry operation"
        raise ValueError(message)
    if not abs(abs(np.linalg.det(np.array(rows))) - 1) < 1e-6 or not all(map(math.isfinite, shifts)):
        message = f"{text[:60]!r} is no symmetry operation: it does not keep the volume"
        raise ValueError(message)
    return tuple(rows), tuple(shifts)


def parse_operations(texts: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotations (M, 3, 3) and translations (M, 3) of M operations; errors as `parse_operation`."""
    parsed = [parse_operation(text) for text in dict.fromkeys(texts)]
    return np.array([rotation for rotation, _ in parsed]), np.array([shift for _, shift in parsed])


def _one_orbit(images: NDArray[np.float64], cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """The different points among the images (M, 3) of one site, in the order of the operations."""
    # Most special positions repeat exactly (to rounding): shrink M before comparing all pairs.
    _, first = np.unique(np.rint(images * 1e9).astype(np.int64) % 1_000_000_000, axis=0, return_index=True)
    points = images[np.sort(first)]
    difference = points[:, None, :] - points[None, :, :]
    difference -= np.rint(difference)
    cartesian = difference @ cell
    close = np.einsum("ijk,ijk->ij", cartesian, cartesian) <= SPECIAL_POSITION**2
    leader = close.argmax(axis=0)  # the first point close to each: itself unless an earlier one is
    kept = np.flatnonzero(leader == np.arange(len(points)))
    out = points[kept]
    if len(kept) < len(points):
        # The mean of what was rounded apart lies on the special position itself.
        for row, k in enumerate(kept):
            members = np.flatnonzero(leader == k)
            offsets = difference[members, k]
            if np.abs(offsets).max() > 1e-8:
                out[row] = points[k] + offsets.mean(axis=0)
    return out


def orbits(
    fractional: NDArray[np.float64],
    rotations: NDArray[np.float64],
    translations: NDArray[np.float64],
    cell: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All atoms of the cell: listed site of each (K,), rising, and fractional position (K, 3) in [0, 1)."""
    images = np.einsum("mij,sj->smi", rotations, fractional) + translations
    images -= np.floor(images)
    n_sites, n_operations = images.shape[:2]
    if n_operations == 1:
        return np.arange(n_sites), images[:, 0]
    if not n_sites:
        return np.empty(0, np.int64), np.empty((0, 3))
    owners, points = _without_repeats(images)
    rounded = _with_close_points(owners, points, cell)  # off their special positions, which takes a closer look
    if not rounded:
        return owners, points
    parts = [_one_orbit(images[s], cell) if s in rounded else points[owners == s] for s in range(n_sites)]
    return np.repeat(np.arange(n_sites), [len(p) for p in parts]), np.concatenate(parts)


def _without_repeats(images: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The images (S, M, 3) of S sites, of each site those that are the same to rounding only once, the first one."""
    n_sites, n_operations = images.shape[:2]
    flat = images.reshape(-1, 3)
    x, y, z = (np.rint(flat * 1e9).astype(np.int64) % 1_000_000_000).T
    site = np.repeat(np.arange(n_sites), n_operations)
    order = np.lexsort((z, y, x, site))
    new = np.ones(len(order), dtype=bool)
    for key in (site, x, y, z):
        in_order = key[order]
        new[1:] &= in_order[1:] == in_order[:-1]
    new[1:] = ~new[1:]
    kept = np.sort(order[new])
    return site[kept], flat[kept]


def _with_close_points(owners: NDArray[np.int64], points: NDArray[np.float64], cell: NDArray[np.float64]) -> set[int]:
    """Sites that have two points within `SPECIAL_POSITION`."""
    limit = (SPECIAL_POSITION * (1 + 1e-6)) ** 2
    if len(points) <= _FEW_POINTS:
        close = _squares(points, cell) <= limit
        if np.count_nonzero(close) == len(points):
            return set()
        close &= owners[:, None] == owners
        np.fill_diagonal(close, val=False)
        return set(owners[close.any(axis=0)].tolist())
    out = set()
    for s, (begin, end) in enumerate(pairwise(np.searchsorted(owners, np.arange(owners[-1] + 2)).tolist())):
        if np.count_nonzero(_squares(points[begin:end], cell) <= limit) > end - begin:
            out.add(s)
    return out


def _squares(points: NDArray[np.float64], cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared distances (K, K) of K points, Å^2."""
    n = len(points)
    difference = _differences(points).reshape(3, -1)
    cartesian = cell.T @ difference
    cartesian *= cartesian
    squares: NDArray[np.float64] = (cartesian[0] + cartesian[1] + cartesian[2]).reshape(n, n)
    return squares


def _differences(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fractional differences (3, K, K) of K points, each in [-0.5, 0.5]."""
    columns = np.ascontiguousarray(points.T)
    difference = columns[:, :, None] - columns[:, None, :]
    difference -= np.rint(difference)
    return difference


def any_coincide(owners: NDArray[np.int64], points: NDArray[np.float64], n_sites: int) -> bool:
    """Whether two listed sites share a position."""
    if len(points) <= _FEW_POINTS:
        difference = _differences(points)
        np.abs(difference, out=difference)
        if np.count_nonzero(difference.max(axis=0) <= SAME_SITE) == len(points):
            return False
    return not np.array_equal(coinciding(owners, points, n_sites), np.arange(n_sites))


def coinciding(owners: NDArray[np.int64], points: NDArray[np.float64], n_sites: int) -> NDArray[np.int64]:
    """For each listed site the first listed site that shares a position with it (itself if there is none)."""
    leader = np.arange(n_sites)
    for shift in np.ndindex(2, 2, 2):  # two close points share a box in at least one of eight shifted grids
        box = np.floor(points * _GRID + np.array(shift) * 0.5).astype(np.int64) % _GRID
        key = (box[:, 0] * _GRID + box[:, 1]) * _GRID + box[:, 2]
        order = np.argsort(key, kind="stable")
        same = np.flatnonzero((np.diff(key[order]) == 0) & (np.diff(owners[order]) != 0))
        for k in same.tolist():
            i, j = order[k], order[k + 1]
            difference = points[i] - points[j]
            if np.abs(difference - np.rint(difference)).max() <= SAME_SITE:
                low, high = sorted((_root(leader, int(owners[i])), _root(leader, int(owners[j]))))
                leader[high] = low
    return np.array([_root(leader, s) for s in range(n_sites)], dtype=np.int64)


def _root(leader: NDArray[np.int64], site: int) -> int:
    while leader[site] != site:
        site = int(leader[site])
    return site
