"""A prototype: a cell with sites that bear letters instead of elements."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PROTOTYPES", "Prototype"]


@dataclass(frozen=True, eq=False)
class Prototype:
    """A cell with n sites, of any size: candidates are scaled.

    Attributes:
        name: What ids begin with.
        cell: (3, 3) float64, rows are lattice vectors.
        positions: (n, 3) float64, Cartesian, in the units of `cell`.
        letters: n names, one a site; equal ones are decorated together.
        elements: What each letter holds in the crystal that the prototype was taken from, by letter: atomic numbers, one a
            site; empty if there is none. Then `cell` is that crystal's, in Å.
    """

    name: str
    cell: NDArray[np.float64]
    positions: NDArray[np.float64]
    letters: tuple[str, ...]
    elements: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def sites(self) -> dict[str, NDArray[np.intp]]:
        """The sites of each letter, letters by their first site."""
        return {name: np.flatnonzero(np.array(self.letters) == name) for name in dict.fromkeys(self.letters)}


_CUBIC = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
_FCC = ((0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0))
_ROOT3 = 3**0.5


def _hexagonal(c: float) -> tuple[tuple[float, ...], ...]:
    return ((1.0, 0.0, 0.0), (-0.5, _ROOT3 / 2, 0.0), (0.0, 0.0, c))


_C_IDEAL = (8 / 3) ** 0.5
_OCTAHEDRON = ((0.5, 0.5, 0.0), (0.5, 0.0, 0.5), (0.0, 0.5, 0.5))
_SPINEL_B = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.0), (0.5, 0.0, 0.5), (0.0, 0.5, 0.5))
_U = 0.2625  # of the spinel's anion (origin at the inversion centre)
_SPINEL_X = (
    (_U, _U, _U),
    (_U, _U, 0.5 - 3 * _U),
    (_U, 0.5 - 3 * _U, _U),
    (0.5 - 3 * _U, _U, _U),
    (-_U, -_U, -_U),
    (-_U, -_U, 0.5 + 3 * _U),
    (-_U, 0.5 + 3 * _U, -_U),
    (0.5 + 3 * _U, -_U, -_U),
)
_RUTILE_U = 0.305
_RUTILE_X = (
    (_RUTILE_U, _RUTILE_U, 0.0),
    (1 - _RUTILE_U, 1 - _RUTILE_U, 0.0),
    (0.5 + _RUTILE_U, 0.5 - _RUTILE_U, 0.5),
    (0.5 - _RUTILE_U, 0.5 + _RUTILE_U, 0.5),
)
_ELPASOLITE_X = tuple(
    tuple(float(x) for x in 0.25 * sign * np.array(axis)) for sign in (1, -1) for axis in ((-1, 1, 1), (1, -1, 1), (1, 1, -1))
)

# name -> lattice vectors, letters in the order of their formula with the fractional positions of their sites
_TABLE: dict[str, tuple[tuple[tuple[float, ...], ...], dict[str, tuple[tuple[float, ...], ...]]]] = {
    "rocksalt": (_FCC, {"A": ((0, 0, 0),), "X": ((0.5, 0.5, 0.5),)}),
    "zincblende": (_FCC, {"A": ((0, 0, 0),), "X": ((0.25, 0.25, 0.25),)}),
    "wurtzite": (
        _hexagonal(_C_IDEAL),
        {
            "A": ((1 / 3, 2 / 3, 0), (2 / 3, 1 / 3, 0.5)),
            "X": ((1 / 3, 2 / 3, 0.375), (2 / 3, 1 / 3, 0.875)),
        },
    ),
    "cscl": (_CUBIC, {"A": ((0, 0, 0),), "X": ((0.5, 0.5, 0.5),)}),
    "nias": (
        _hexagonal(1.39),
        {"A": ((0, 0, 0), (0, 0, 0.5)), "X": ((1 / 3, 2 / 3, 0.25), (2 / 3, 1 / 3, 0.75))},
    ),
    "fluorite": (_FCC, {"A": ((0, 0, 0),), "X": ((0.25, 0.25, 0.25), (0.75, 0.75, 0.75))}),
    "rutile": (
        ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 0.644)),
        {"A": ((0, 0, 0), (0.5, 0.5, 0.5)), "X": _RUTILE_X},
    ),
    "cu3au": (_CUBIC, {"A": ((0, 0, 0),), "X": _OCTAHEDRON}),
    "reo3": (_CUBIC, {"B": ((0.5, 0.5, 0.5),), "X": _OCTAHEDRON}),
    "perovskite": (_CUBIC, {"A": ((0, 0, 0),), "B": ((0.5, 0.5, 0.5),), "X": _OCTAHEDRON}),
    "double-perovskite": (
        _FCC,
        {
            "A": ((0.25, 0.25, 0.25), (0.75, 0.75, 0.75)),
            "B": ((0, 0, 0),),
            "C": ((0.5, 0.5, 0.5),),
            "X": _ELPASOLITE_X,
        },
    ),
    "spinel": (_FCC, {"A": ((0.125, 0.125, 0.125), (0.875, 0.875, 0.875)), "B": _SPINEL_B, "X": _SPINEL_X}),
    "heusler": (_FCC, {"A": ((0.25, 0.25, 0.25), (0.75, 0.75, 0.75)), "B": ((0, 0, 0),), "C": ((0.5, 0.5, 0.5),)}),
    "half-heusler": (_FCC, {"A": ((0.25, 0.25, 0.25),), "B": ((0, 0, 0),), "C": ((0.5, 0.5, 0.5),)}),
}


def _made(name: str) -> Prototype:
    vectors, sites = _TABLE[name]
    cell = np.array(vectors)
    fractions = np.array([position for positions in sites.values() for position in positions], dtype=np.float64)
    letters = tuple(letter for letter, positions in sites.items() for _ in positions)
    return Prototype(name, cell, fractions @ cell, letters)


PROTOTYPES: dict[str, Prototype] = {name: _made(name) for name in _TABLE}
"""The prototypes that need no file, by name."""
