"""Computed entries (pymatgen's JSON) as the lowest energy of each composition, without pymatgen and one entry at a time."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cgfast.elements import MAX_ATOMIC_NUMBER, atomic_number

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cgfast.io.json_walk import Item

__all__ = ["References", "file_sha256", "read_references"]

_ENTRIES = "entries"


class References(NamedTuple):
    """C compositions, each once: `fractions` (C, 119) float64 by atomic number, `energies` (C,) float64, eV/atom."""

    fractions: NDArray[np.float64]
    energies: NDArray[np.float64]


def read_references(path: str | os.PathLike[str], *, corrected: bool) -> References:
    """The lowest energy per atom of each composition in a file of entries.

    Args:
        path: JSON, plain or packed (.gz, .bz2, .xz): a list of ComputedEntry, ComputedStructureEntry or PDEntry dictionaries,
            `{"entries": [...]}`, `{id: entry, ...}`, or one entry a line.
        corrected: Whether each entry's correction counts (pymatgen's `energy`) or not (`uncorrected_energy`).

    Raises:
        ValueError: The file cannot be read, or holds something that is no entry: a hull without it would be wrong.
    """
    lowest: dict[tuple[tuple[int, float], ...], float] = {}
    for number, item in enumerate(_items(Path(path))):
        try:
            if item.error:
                raise ValueError(item.error)
            composition, energy = _entry(item.value, corrected=corrected)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            msg = f"hull: entry {number} of {path} cannot be used: {what}"
            raise ValueError(msg) from None
        if energy < lowest.get(composition, math.inf):
            lowest[composition] = energy
    if not lowest:
        msg = f"hull: {path} holds no entries"
        raise ValueError(msg)
    fractions = np.zeros((len(lowest), MAX_ATOMIC_NUMBER + 1))
    for row, composition in enumerate(lowest):
        for z, fraction in composition:
            fractions[row, z] = fraction
    return References(fractions, np.fromiter(lowest.values(), np.float64, len(lowest)))


def file_sha256(path: str | os.PathLike[str]) -> str:
    """By what a run knows the file. Raises ValueError if it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        msg = f"hull: {path} cannot be read: {error.strerror or error}"
        raise ValueError(msg) from None


def _entry(value: Any, *, corrected: bool) -> tuple[tuple[tuple[int, float], ...], float]:  # noqa: ANN401 - any JSON
    """Composition as (atomic number, fraction), and energy per atom."""
    if not isinstance(value, dict):
        msg = f"expected an object with composition and energy, got {str(value)[:40]!r}"
        raise TypeError(msg)
    amounts: Counter[int] = Counter()
    for species, amount in _composition(value).items():
        z = atomic_number(species)
        if not z or not 0 <= float(amount) < math.inf:
            msg = f"{species}: {amount} in its composition is no amount of an element"
            raise ValueError(msg)
        amounts[z] += float(amount)  # type: ignore[assignment]
    energy = float(value["energy"]) + (float(value.get("correction") or 0.0) if corrected else 0.0)
    total = sum(amounts.values())
    if not total > 0 or not math.isfinite(energy):
        msg = f"expected atoms and a finite energy, got {total} atoms and {energy} eV"
        raise ValueError(msg)
    return tuple(sorted((z, round(amount / total, 10)) for z, amount in amounts.items() if amount)), energy / total


def _composition(value: dict[str, Any]) -> dict[str, float]:
    if value.get("composition"):
        return {str(name): amount for name, amount in value["composition"].items() if not name.startswith("@")}
    amounts: Counter[str] = Counter()
    for site in value["structure"]["sites"]:
        for species in site["species"]:
            amounts[species["element"]] += species.get("occu", 1)
    return dict(amounts)


def _items(path: Path) -> Iterator[Item]:
    """The entries of a file, whatever container they lie in."""
    from cgfast.io.json_cut import open_text
    from cgfast.io.json_walk import Text, array_items, line_items, mapping_items, member

    with open_text(path) as stream:
        text = Text(stream, path)
        if not text.head.strip():
            return
        top = text.top()
        if text.has_lines(top):
            yield from line_items(text.read, text.name)
            return
        cutter = text.cutter()
        if isinstance(top.value, dict) and {"composition", "energy"} & set(top.value):
            yield from array_items(cutter)
            return
        cutter.next_open()
        cutter.enter()
        if isinstance(top.value, list):
            yield from array_items(cutter)
        elif _ENTRIES not in top.value:
            yield from mapping_items(cutter)
        else:
            while found := cutter.next_open():
                if member(cutter, at_end=False)[0] == _ENTRIES and found == ord("["):
                    cutter.enter()
                    yield from array_items(cutter)
                    cutter.leave()
                else:
                    cutter.take()
        cutter.leave()
