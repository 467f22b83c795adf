"""Chemical symbols and atomic numbers, 1 (H) to 118 (Og)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["ELECTRONEGATIVITY", "MAX_ATOMIC_NUMBER", "SYMBOLS", "atomic_number", "atomic_numbers", "symbol"]

_SYMBOLS = (
    "X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr "
    "Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W "
    "Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds "
    "Rg Cn Nh Fl Mc Lv Ts Og"
)
SYMBOLS: tuple[str, ...] = tuple(_SYMBOLS.split())
"""``SYMBOLS[z]`` is the symbol of atomic number z; ``SYMBOLS[0]`` is ``"X"``, no element."""

MAX_ATOMIC_NUMBER = len(SYMBOLS) - 1

# Pauling's scale with pymatgen's completions; infinity where there is none. Only the order matters here: crystals
# read from CIF list their atoms by rising electronegativity, as pymatgen's parser (and so the 2018 code) does.
_PAULING = (
    "- 2.2 - .98 1.57 2.04 2.55 3.04 3.44 3.98 - .93 1.31 1.61 1.9 2.19 2.58 3.16 - .82 1 1.36 1.54 1.63 1.66 "
    "1.55 1.83 1.88 1.91 1.9 1.65 1.81 2.01 2.18 2.55 2.96 3 .82 .95 1.22 1.33 1.6 2.16 1.9 2.2 2.28 2.2 1.93 "
    "1.69 1.78 1.96 2.05 2.1 2.66 2.6 .79 .89 1.1 1.12 1.13 1.14 1.13 1.17 1.2 1.2 1.1 1.22 1.23 1.24 1.25 1.1 "
    "1.27 1.3 1.5 2.36 1.9 2.2 2.2 2.28 2.54 2 1.62 2.33 2.02 2 2.2 2.2 .7 .9 1.1 1.3 1.5 1.38 1.36 1.28 1.3 "
    "1.3 1.3 1.3 1.3 1.3 1.3 1.3 1.3 - - - - - - - - - - - - - - -"
)
ELECTRONEGATIVITY: tuple[float, ...] = tuple(float("inf") if x == "-" else float(x) for x in _PAULING.split())

_NUMBERS: dict[str, int] = {name: z for z, name in enumerate(SYMBOLS) if z}
_NUMBERS |= {"D": 1, "T": 1}  # deuterium and tritium have hydrogen's chemistry

# "Na+", "Fe3+", "O2-", "Fe+3", "Fe2.5+", "Fe3+,spin=5": the element is what counts.
_WITH_CHARGE = re.compile(r"([A-Z][a-z]?)(?:\d*\.?\d*[+-]|[+-]\d+\.?\d*)(?:,.*)?", re.ASCII)


def atomic_number(text: str) -> int:
    """Atomic number of a symbol, with or without an oxidation state; D and T are 1; 0 if it is no element.

    Symbols are case-sensitive: ``"CO"`` is not cobalt.
    """
    number = _NUMBERS.get(text)
    if number is not None:
        return number
    match = _WITH_CHARGE.fullmatch(text.strip())
    return _NUMBERS.get(match.group(1) if match else text.strip(), 0)


def atomic_numbers(symbols: Iterable[str]) -> NDArray[np.int32]:
    """Atomic numbers (n,) int32 of n symbols, by the rules of `atomic_number`; 0 where it is no element."""
    names = list(symbols)
    known = {name: atomic_number(name) for name in set(names)}
    return np.fromiter((known[name] for name in names), dtype=np.int32, count=len(names))


def symbol(number: int) -> str:
    """Symbol of an atomic number.

    Raises:
        ValueError: The number is outside 1..118.
    """
    if not 1 <= number <= MAX_ATOMIC_NUMBER:
        message = f"atomic number {number} is no element: expected 1 to {MAX_ATOMIC_NUMBER}"
        raise ValueError(message)
    return SYMBOLS[number]
