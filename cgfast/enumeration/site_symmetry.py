"""Permutations of a prototype's sites that leave it as it is, whatever stands on them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["site_permutations"]

_TOLERANCE = 1e-3  # of the lattice vectors' lengths, and of the distance between sites
_REACH = 3  # images of a lattice vector that may be its equal, in multiples of the vectors


def site_permutations(cell: NDArray[np.float64], positions: NDArray[np.float64]) -> NDArray[np.intp]:
    """The different permutations of n sites under the isometries of the cell (3, 3) and all its sites (n, 3).

    Returns (P, n): the atom of site i comes to site `permutation[i]`. All sites count as equal, so that exchanges of
    letters are among them.
    """
    fractions = positions @ np.linalg.inv(cell)
    scale = abs(np.linalg.det(cell)) ** (1 / 3)
    found = set()
    for rotation in _rotations(cell):
        turned = fractions @ rotation
        for target in range(len(fractions)):
            moved = turned + (fractions[target] - turned[0])
            apart = moved[:, None] - fractions[None]
            apart -= np.round(apart)
            near = np.linalg.norm(apart @ cell, axis=2) < _TOLERANCE * scale
            if (near.sum(axis=1) == 1).all() and (near.sum(axis=0) == 1).all():
                found.add(tuple(np.argmax(near, axis=1).tolist()))
    return np.array(sorted(found), dtype=np.intp).reshape(-1, len(fractions))


def _rotations(cell: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Integer matrices R with which `f @ R` turns fractions (n, 3) without changing any distance."""
    steps = np.array(list(itertools.product(range(-_REACH, _REACH + 1), repeat=3)), dtype=np.float64)
    vectors = steps @ cell
    lengths = np.linalg.norm(vectors, axis=1)
    own = np.linalg.norm(cell, axis=1)
    choices = [np.flatnonzero(np.abs(lengths - length) < _TOLERANCE * length) for length in own]
    metric = cell @ cell.T
    limit = 4 * _TOLERANCE * np.outer(own, own)
    found = []
    for first, second in itertools.product(choices[0], choices[1]):
        if abs(vectors[first] @ vectors[second] - metric[0, 1]) > limit[0, 1]:
            continue
        for third in choices[2]:
            chosen = vectors[[first, second, third]]
            if (np.abs(chosen @ chosen.T - metric) < limit).all():
                found.append(steps[[first, second, third]])
    return found
