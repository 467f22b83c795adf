"""pymatgen's dictionaries of structures as records, without pymatgen."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from cgfast import elements
from cgfast.io import cif, cif_symmetry
from cgfast.io.records import Record

__all__ = ["is_structure", "structure"]

_SPECIES, _ELEMENT, _OCCUPANCY = itemgetter("species"), itemgetter("element"), itemgetter("occu")
_FRACTIONAL, _CARTESIAN = itemgetter("abc"), itemgetter("xyz")
_PARAMETERS = ("a", "b", "c", "alpha", "beta", "gamma")


def is_structure(value: dict[str, Any]) -> bool:
    """Whether this is ``Structure.as_dict()`` (or a molecule's)."""
    return "sites" in value and ("lattice" in value or "Molecule" in str(value.get("@class")))


def structure(value: dict[str, Any]) -> Record:
    """The structure of ``Structure.as_dict()``; its ``properties`` are properties, its charge and those of sites are not read.

    Raises:
        cif.Unusable: A species is no element.
        KeyError, TypeError, IndexError, ValueError: Something is missing or of another type.
    """
    sites = value["sites"]
    contents = list(map(_SPECIES, sites))
    species = _plain(contents)
    partial = None
    if species is None:
        species, partial = _mixed(contents)
    properties = value.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    lattice = value.get("lattice")
    if lattice is None:
        return Record(None, species, list(map(_CARTESIAN, sites)), None, False, False, properties, partial)  # noqa: FBT003
    try:
        positions, fractional = list(map(_FRACTIONAL, sites)), True
    except KeyError:
        positions, fractional = list(map(_CARTESIAN, sites)), False
    return Record(None, species, positions, _cell(lattice), fractional, lattice.get("pbc", True), properties, partial)


def _plain(contents: list[Any]) -> list[Any] | None:
    """Species of sites that all hold one kind of atom and are full; None if some do not."""
    if not set(map(len, contents)) <= {1}:
        return None
    firsts = [one[0] for one in contents]
    try:
        full = set(map(_OCCUPANCY, firsts)) <= {1}
    except KeyError:
        return None
    return list(map(_ELEMENT, firsts)) if full else None


def _cell(lattice: dict[str, Any]) -> Any:  # noqa: ANN401 - judged with all other cells
    if "matrix" in lattice:
        return lattice["matrix"]
    values = [float(lattice[name]) for name in _PARAMETERS]
    return cif_symmetry.cell_from_parameters(values[:3], values[3:])


def _mixed(contents: list[Any]) -> tuple[list[Any], dict[int, dict[int, float]]]:
    """Species of sites of which some hold several or are not full, and what these hold."""
    species: list[Any] = []
    partial: dict[int, dict[int, float]] = {}
    for k, one in enumerate(contents):
        inside: dict[int, float] = {}
        for part in one:
            z = elements.atomic_number(part["element"])
            if not z:
                reason = f"site {k} holds {str(part['element'])[:40]!r}, which is no element"
                raise cif.Unusable(reason)
            inside[z] = inside.get(z, 0.0) + float(part.get("occu", 1))
        species.append(one[0]["element"] if one else "")
        if list(inside.values()) != [1.0]:
            partial[k] = inside
    return species, partial
