"""Single values of a CIF: numbers with uncertainties, coordinates, element symbols; and the two ways to fail."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from cgfast import elements

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Refused", "Unusable", "coordinate", "element", "first_text", "number", "texts", "values"]

# 0.3333 and 0.6667 mean 1/3 and 2/3: to the precision they are written with, and only from four digits on.
_THIRDS = re.compile(r"([+-]?)(\d*)\.(?:(3{4,})|(?:6{4,}|6{3,}7))(?:\(\d*\)?)?", re.ASCII)


class Refused(Exception):  # noqa: N818 - not an error of the user's: it sends the file to the fallback
    """The fast reader cannot make sense of the text; another reader might."""


class Unusable(Exception):  # noqa: N818 - becomes a failure row
    """The text is understood, and gives no crystal."""

    def __init__(self, reason: str, *, disorder: bool = False) -> None:
        super().__init__(reason)
        self.disorder = disorder


def values(block: Any, *tags: str) -> list[str]:  # noqa: ANN401
    """Values of the first tag that is there, as written (quotes and all)."""
    for tag in tags:
        column = block.find_values(tag)
        if column:
            return _listed(column, tag)
    return []


def _listed(column: Any, tag: str) -> list[str]:  # noqa: ANN401
    """The values of a column: gemmi hands out a whole loop many times faster than one column of it."""
    loop = column.get_loop()
    if loop is not None:
        names = [name.lower() for name in loop.tags]
        try:
            found: list[str] = loop.values[names.index(tag.lower()) :: len(names)]
        except UnicodeDecodeError:  # perhaps in another column
            return list(column)
        return found
    return list(column)


def first_text(block: Any, tags: Sequence[str]) -> str:  # noqa: ANN401
    """First known value of the tags as text; "" if there is none."""
    import gemmi

    for tag in tags:
        text = gemmi.cif.as_string(block.find_value(tag) or "?").strip()
        if text:
            return str(text)
    return ""


def number(text: str) -> float:
    """A CIF number, with or without its uncertainty in brackets; NaN if it is none."""
    try:
        return math.nan if "_" in text else float(text.partition("(")[0].strip("'\""))
    except ValueError:
        return math.nan


def coordinate(text: str) -> float:
    """A fractional coordinate; thirds written with four digits or more are exact thirds; NaN if it is none."""
    match = _THIRDS.fullmatch(text)
    if match:
        sign, whole, third = match.group(1), match.group(2), match.group(3)
        value = int(whole or 0) + (1 if third else 2) / 3
        return -value if sign == "-" else value
    return number(text)


def texts(written: Iterable[str]) -> list[str]:
    """CIF values as plain text: quotes removed, "" for unknown."""
    import gemmi

    return [gemmi.cif.as_string(value).strip() for value in written]


def element(text: str) -> int:
    """Element of a type symbol or site label: "Fe3+", "FE1", "O2-", "Ow", "D1"."""
    number = elements.atomic_number(text)
    if number:
        return number
    if " + " in text:
        reason = f"several species in one symbol: {text[:40]!r}"
        raise Refused(reason)  # the Pauling file's way to write disorder
    letters = re.match(r"[A-Za-z]+", text)
    word = letters.group() if letters else ""
    special = {"Hw": 1, "Ow": 8, "HW": 1, "OW": 8}.get(word[:2], 0)
    if special:
        return special
    several = re.match(r"O-?H|[Ww]at|NO3|NH\d", text)  # a group of atoms at one site
    number = 0 if several else elements.atomic_number(word[:2].title()) or elements.atomic_number(word[:1].upper())
    if not number:
        reason = f"{text[:40]!r} is no element" + (" but a group of atoms" if several else "")
        raise Unusable(reason)
    return number
