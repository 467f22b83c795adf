"""What an element looks like in a picture of a structure: a colour and a radius."""

from __future__ import annotations

import colorsys
import math
from functools import cache

from cgfast.elements import SYMBOLS

# The colours that chemists' models of wood and plastic have always had.
_TRADITION = {
    "H": "#e8e8e8",
    "C": "#505050",
    "N": "#3050f0",
    "O": "#e02010",
    "F": "#60c060",
    "P": "#f08020",
    "S": "#e8c820",
    "Cl": "#30a030",
    "Br": "#902020",
    "I": "#8020a0",
}
_LIGHTNESS, _SATURATION = (0.42, 0.72, 0.57, 0.65), (0.75, 0.4, 0.2)


@cache
def colour(number: int) -> str:
    """The colour of an element as #rrggbb.

    Ten non-metals have their traditional colours. All others follow a rule: the hue, as a fraction of the circle, is what
    atomic number times e has behind the point; lightness and saturation take turns, by four and by three. Of the
    constants tried these keep the most similar two of the common elements farthest apart.
    """
    symbol = SYMBOLS[number]
    if symbol in _TRADITION:
        return _TRADITION[symbol]
    rgb = colorsys.hls_to_rgb(number * math.e % 1.0, _LIGHTNESS[number % 4], _SATURATION[number % 3])
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)


@cache
def radius(number: int) -> float:
    """Covalent radius in Å (Cordero et al. 2008, https://doi.org/10.1039/b801115j, as gemmi has them)."""
    import gemmi

    return float(gemmi.Element(number).covalent_r)
