"""How large a decorated prototype must be: the tightest bond is as long as the sum of its atoms' radii."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cgfast.enumeration.radii import RADII
from cgfast.neighbors import neighbor_list

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from cgfast.enumeration.prototype import Prototype

__all__ = ["Contacts"]

_BONDED = 1.1  # times the distance of a site's nearest neighbour
_NEIGHBORS = 24


class Contacts:
    """Scale factors of a prototype's lengths.

    Bonds are the pairs of sites not further apart than 1.1 times the distance of the nearest neighbour of one of them. The
    factor is the largest of (sum of two radii) / (length in the prototype) over the bonds: hard spheres of Slater's radii in
    contact. Where the prototype was taken from a crystal, it is divided by the same number for that crystal, so that the
    crystal itself gets its own volume back.

    `options` holds, by letter, what its m sites may hold: (n, m) atomic numbers.
    """

    def __init__(self, prototype: Prototype, options: Mapping[str, NDArray[np.intp]]) -> None:
        bonds = _bonds(prototype)
        sites = prototype.sites
        self._letters = list(options)
        self._tables = _tables(bonds, sites, options)
        own = 1.0
        if prototype.elements:
            single = {letter: np.array([numbers], dtype=np.intp) for letter, numbers in prototype.elements.items()}
            found = max(float(table.max()) for table in _tables(bonds, sites, single).values())
            own = found if np.isfinite(found) else 1.0  # a noble gas: lengths follow from the new elements alone
        self._own = own

    def scales(self, chosen: Sequence[NDArray[np.intp]]) -> NDArray[np.float64]:
        """(B,) factors for B candidates: `chosen` holds an array of option indices (B,) for each letter."""
        by_letter = dict(zip(self._letters, chosen, strict=True))
        largest = np.zeros(len(chosen[0]))
        for (first, second), table in self._tables.items():
            np.maximum(largest, table[by_letter[first], by_letter[second]], out=largest)
        return largest / self._own


def _tables(
    bonds: NDArray[np.float64], sites: Mapping[str, NDArray[np.intp]], options: Mapping[str, NDArray[np.intp]]
) -> dict[tuple[str, str], NDArray[np.float64]]:
    """For each pair of bonded letters: the factor that each pair of their options asks for."""
    place = {site: (letter, k) for letter, members in sites.items() for k, site in enumerate(members.tolist())}
    tables: dict[tuple[str, str], NDArray[np.float64]] = {}
    for first, second, length in bonds.tolist():
        (letter_1, k_1), (letter_2, k_2) = sorted([place[int(first)], place[int(second)]])
        radii_1, radii_2 = RADII[options[letter_1][:, k_1]], RADII[options[letter_2][:, k_2]]
        asked = (radii_1[:, None] + radii_2[None, :]) / length
        if (letter_1, letter_2) in tables:
            asked = np.maximum(asked, tables[letter_1, letter_2])
        tables[letter_1, letter_2] = asked
    return tables


def _bonds(prototype: Prototype) -> NDArray[np.float64]:
    """(E, 3): two sites with the first not behind the second, and their distance; each kind once."""
    n_sites = len(prototype.positions)
    reach = 4 * (abs(np.linalg.det(prototype.cell)) / n_sites) ** (1 / 3)
    found = neighbor_list(prototype.positions, prototype.cell, True, reach, max_neighbors=_NEIGHBORS)  # noqa: FBT003
    nearest = np.full(n_sites, np.inf)
    np.minimum.at(nearest, found.target, found.distances)
    bonded = found.distances <= _BONDED * nearest[found.target]
    if not bonded.any():
        msg = f"prototype: {prototype.name} has no two sites near each other, so no volume can be estimated"
        raise ValueError(msg)
    ends = np.sort(np.column_stack([found.source, found.target])[bonded], axis=1)
    return np.unique(np.column_stack([ends, found.distances[bonded].round(9)]), axis=0)
