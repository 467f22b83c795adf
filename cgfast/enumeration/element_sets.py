"""What may stand on a site of a prototype: elements, formulas for several sites, and sets of them by name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from cgfast.elements import SYMBOLS, atomic_number
from cgfast.enumeration.radii import RADII

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ELEMENT_SETS", "options_of"]

_METALLOIDS = "B Si Ge As Sb Te"
_ALKALI = "Li Na K Rb Cs"
_ALKALINE_EARTH = "Be Mg Ca Sr Ba"
_TRANSITION = "Sc Ti V Cr Mn Fe Co Ni Cu Zn Y Zr Nb Mo Tc Ru Rh Pd Ag Cd Hf Ta W Re Os Ir Pt Au Hg"
_LANTHANIDES = "La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu"
_ACTINIDES = "Ac Th Pa U Np Pu Am"
_POST_TRANSITION = "Al Ga In Sn Tl Pb Bi"

ELEMENT_SETS: dict[str, tuple[str, ...]] = {
    name: tuple(members.split())
    for name, members in {
        "alkali": _ALKALI,
        "alkaline-earth": _ALKALINE_EARTH,
        "transition-metals": _TRANSITION,
        "lanthanides": _LANTHANIDES,
        "actinides": _ACTINIDES,
        "post-transition-metals": _POST_TRANSITION,
        "metalloids": _METALLOIDS,
        "metals": f"{_ALKALI} {_ALKALINE_EARTH} {_TRANSITION} {_LANTHANIDES} {_ACTINIDES} {_POST_TRANSITION}",
        "halogens": "F Cl Br I",
        "chalcogens": "O S Se Te",
        "pnictogens": "N P As Sb Bi",
        "anions": "N O F P S Cl Se Br Te I",
        "nonmetals": "H C N O F P S Cl Se Br I",
        # A, B and X3 of Castelli et al., Energy Environ. Sci. 5, 5814 and 9034 (2012): 52 x 52 x 7 = 18,928 perovskites
        "perovskite-metals": (
            "Li Na K Rb Cs Be Mg Ca Sr Ba Sc Y La Ti Zr Hf V Nb Ta Cr Mo W Mn Re Fe Ru Os Co Rh Ir Ni Pd Pt Cu Ag Au Zn Cd Hg "
            "B Al Ga In Tl Si Ge Sn Pb As Sb Bi Te"
        ),
        "perovskite-anions": "O3 O2N ON2 N3 O2F OFN O2S",
    }.items()
}
_ALL = [*ELEMENT_SETS["metals"], *ELEMENT_SETS["metalloids"], *ELEMENT_SETS["nonmetals"]]
ELEMENT_SETS["all"] = tuple(sorted(_ALL, key=SYMBOLS.index))
"""Sets by name; members of `perovskite-anions` are what three sites hold."""

_FORMULA = re.compile(r"(?:[A-Z][a-z]?\d*)+", re.ASCII)
_PART = re.compile(r"([A-Z][a-z]?)(\d*)", re.ASCII)


def options_of(letter: str, values: str | Sequence[str], n_sites: int) -> list[tuple[int, ...]]:
    """What the `n_sites` sites of a letter may hold, each once and in the order given: atomic numbers, one a site.

    `values`, one after the other or with commas between them: elements (`Na`: on all sites), formulas of as many atoms as the
    letter has sites (`O2N`: put on them in this order), names of ELEMENT_SETS; with `-` before it, it is taken out again.

    Raises:
        ValueError: Anything else, an element without a radius, or nothing left.
    """
    words = values.split(",") if isinstance(values, str) else [str(value) for value in values]
    found: dict[tuple[int, ...], None] = {}
    for word in (word.strip() for word in words):
        out = word.startswith("-")
        name = word.removeprefix("-")
        for member in ELEMENT_SETS.get(name.lower(), (name,)):
            option = _option(letter, member, n_sites)
            if out:
                found.pop(option, None)
            else:
                found[option] = None
    if not found:
        msg = f"sites: nothing is left for {letter} of {values!r}"
        raise ValueError(msg)
    return list(found)


def _option(letter: str, text: str, n_sites: int) -> tuple[int, ...]:
    numbers: list[int] = []
    if _FORMULA.fullmatch(text):
        for name, count in _PART.findall(text):
            if count and int(count) > n_sites:
                numbers = [0] * (n_sites + 1)
                break
            numbers += [atomic_number(name)] * int(count or 1)
    if not numbers or (0 in numbers and len(numbers) <= n_sites):
        msg = f"sites: {text!r} for {letter} is no element, formula or set; the sets are {', '.join(ELEMENT_SETS)}"
        raise ValueError(msg)
    if len(numbers) == 1:
        numbers *= n_sites
    if len(numbers) != n_sites:
        msg = f"sites: {text!r} for {letter} is not one element, or {n_sites} atom{'s' * (n_sites > 1)} for as many sites"
        raise ValueError(msg)
    lacking = [SYMBOLS[z] for z in numbers if np.isnan(RADII[z])]
    if lacking:
        msg = f"sites: {lacking[0]} for {letter} has no atomic radius, so no volume can be estimated"
        raise ValueError(msg)
    return tuple(numbers)
