"""Sites of perovskites: ideal cells by construction, and all of perov5 by the geometry of its cells."""

from __future__ import annotations

import numpy as np
import pytest

from cgfast.crystals import Crystals
from cgfast.elements import SYMBOLS
from cgfast.evaluation.perovskite import ROLES, site_roles

pytest.importorskip("torch")


def perovskite(a: str, b: str, x: str, order=(0, 1, 2, 3, 4), edge: float = 3.9, shift: float = 0.0) -> Crystals:
    """A cubic cell with B at the origin, A in the middle and X on the edges, sites in the given order."""
    places = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]])
    numbers = [SYMBOLS.index(name) for name in (b, a, x, x, x)]
    order = list(order)
    return Crystals.from_arrays((places[order] + shift) * edge, np.eye(3) * edge, np.array(numbers)[order])


def names(crystals: Crystals) -> list[str]:
    return [ROLES[role] for role in site_roles(crystals).tolist()]


@pytest.mark.parametrize("x", ["O", "F", "Cl", "I", "S", "N"])
@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 1, 3, 0, 2)])
def test_ideal_cells(x, order):
    expected = np.array(["B", "A", "X", "X", "X"])[list(order)].tolist()
    assert names(perovskite("Ba", "Ti", x, order, shift=0.37)) == expected
    assert names(perovskite("Ti", "Ba", x, order)) == expected  # where they are decides, not what they are
    assert names(perovskite("Na", "Na", x, order)) == expected


def test_cells_that_are_none():
    assert names(perovskite("Ba", "Ti", "Na")) == [""] * 5  # no X more electronegative than both
    assert names(perovskite("O", "Ti", "O")) == [""] * 5  # four of the same
    nothing = Crystals.from_arrays(np.zeros((4, 3)) + np.arange(4)[:, None], np.eye(3) * 4, [8, 8, 8, 22])
    assert names(nothing) == [""] * 4


def test_among_others():
    one = perovskite("Ba", "Ti", "O")
    rock_salt = Crystals.from_arrays([[0, 0, 0], [2.8, 0, 0]], np.eye(3) * 5.6, [11, 17])
    assert names(Crystals.concatenate([rock_salt, one, rock_salt, one])) == 2 * ["", "", "B", "A", "X", "X", "X"]
    assert names(one[:0]) == []


def test_perov5(data):
    """B is the cation that shares its y and z with an X: its octahedron has a corner along x, also where sites are shifted."""
    pytest.importorskip("pyarrow")
    from cgfast.io import read

    crystals = Crystals.concatenate(list(read(data / "perov5.parquet")))
    roles = site_roles(crystals).reshape(-1, 5)
    anion = np.isin(crystals.atomic_numbers.reshape(-1, 5), [7, 8, 9, 16])
    fractional = np.einsum("bni,bij->bnj", crystals.positions.reshape(-1, 5, 3), np.linalg.inv(crystals.cell))
    aside = fractional[:, :, None, 1:] - fractional[:, None, :, 1:]
    above = (np.abs(aside - np.round(aside)).max(axis=3) < 0.05) & anion[:, None, :]
    expected = np.where(anion, ROLES.index("X"), np.where(above.any(axis=2), ROLES.index("B"), ROLES.index("A")))
    assert len(roles) == 16_114
    np.testing.assert_array_equal(roles, expected)
