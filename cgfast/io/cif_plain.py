"""The short way through a CIF block that has nothing unusual about it, which is nearly every block there is.

Plain is: the atoms are one loop, every site holds one element with occupancy 1, every number is a number, and no two listed
sites share a position. What comes out is the same, bit by bit, as on the long way through `cgfast.io.cif`, which also tells
what is wrong with a block; here the answer is then None.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from cgfast.io import cif_symmetry, cif_values
from cgfast.io.cif_operations import operations
from cgfast.io.cif_sites import Structure, in_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["plain"]

_CELL = tuple(
    (f"_cell_{name}", f"_cell.{name}")
    for name in ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
)
_STYLES = ("_atom_site_", "_atom_site.")
_COLUMNS = ("label", "type_symbol", "occupancy", "calc_flag")
_FEW_VALUES = 8  # different texts of occupancies that are looked at


class _Unusual(Exception):  # noqa: N818 - no error: the long way will tell what there is
    """The block is not plain. So says any ValueError, KeyError, Refused or Unusable of the functions here, too."""


def plain(block: Any, most_positions: int) -> Structure | None:  # noqa: ANN401 - gemmi's objects
    """The crystal of a plain block; None for another one, or for more than ``most_positions`` sites times operations."""
    column = block.find_values("_atom_site_fract_x") or block.find_values("_atom_site.fract_x")
    loop = column.get_loop() if column else None
    if loop is None:
        return None
    try:
        cell = cif_symmetry.cell_from_parameters(*_parameters(block))
        numbers, fractional = _atoms(loop.tags, loop.values)
        if not _complete(block, loop.tags):
            return None
        rotations, translations = operations(block)
        if len(numbers) * len(rotations) > most_positions:
            return None
    except (_Unusual, ValueError, KeyError, cif_values.Refused, cif_values.Unusable):
        return None
    owners, points = cif_symmetry.orbits(fractional, rotations, translations, cell)
    if cif_symmetry.any_coincide(owners, points, len(numbers)):
        return None
    return in_order(numbers[owners], points, cell)


def _parameters(block: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:  # noqa: ANN401
    """Lengths and angles."""
    texts = [block.find_value(one) or block.find_value(other) or "?" for one, other in _CELL]
    values = tuple(_floats(texts))
    return values[:3], values[3:]


def _floats(texts: list[str]) -> list[float]:
    """Numbers without uncertainties (which `float` refuses, as it does "?"), quotes or underscores."""
    if any("_" in text for text in texts):
        raise _Unusual
    return list(map(float, texts))


def _atoms(tags: list[str], values: list[str]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Atomic numbers and fractional coordinates of a loop of plain sites."""
    width = len(tags)
    names = [tag.lower() for tag in tags]
    style = next(style for style in _STYLES if style + "fract_x" in names)
    place = {name.removeprefix(style): k for k, name in reversed(list(enumerate(names)))}  # the first of a name counts
    if "occupancy" in place and not _all_full(values[place["occupancy"] :: width]):
        raise _Unusual
    if "calc_flag" in place and "dum" in {flag.lower() for flag in values[place["calc_flag"] :: width]}:
        raise _Unusual
    symbols = values[place["type_symbol" if "type_symbol" in place else "label"] :: width]
    numbers = np.array([_element(symbol) for symbol in symbols], dtype=np.int32)
    fractional = np.empty((3, len(symbols)))
    for axis, name in enumerate(("fract_x", "fract_y", "fract_z")):
        fractional[axis] = _coordinates(values[place[name] :: width])
    if not np.abs(fractional).max() < 1e6:  # nor NaN
        raise _Unusual
    return numbers, np.ascontiguousarray(fractional.T)


def _coordinates(texts: list[str]) -> list[float]:
    joined = " ".join(texts)
    if ".333" in joined or ".666" in joined or "(" in joined:  # thirds and uncertainties
        return [cif_values.coordinate(text) for text in texts]
    if "_" in joined:
        raise _Unusual  # only Python takes it for part of a number
    return list(map(float, texts))


def _all_full(texts: list[str]) -> bool:
    different = set(texts)
    return len(different) <= _FEW_VALUES and all(_is_full(text) for text in different)


@functools.lru_cache(maxsize=64)
def _is_full(text: str) -> bool:
    import gemmi

    return bool(gemmi.cif.is_null(text)) or cif_values.number(text) == 1.0


@functools.lru_cache(maxsize=4096)
def _element(text: str) -> int:
    """Atomic number for a type symbol or label as written."""
    import gemmi

    symbol = str(gemmi.cif.as_string(text)).strip()
    if not symbol:
        raise _Unusual  # unknown: its label may tell
    return cif_values.element(symbol)


def _complete(block: Any, tags: list[str]) -> bool:  # noqa: ANN401
    """Whether no column of the atoms stands elsewhere in the block, or under the other style of name."""
    names = {tag.lower() for tag in tags}
    own = next(style for style in _STYLES if style + "fract_x" in names)
    return all(
        (style == own and style + name in names) or not block.find_values(style + name)
        for style in _STYLES
        for name in _COLUMNS
    )
