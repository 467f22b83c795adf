"""Structures of OPTIMADE responses as records."""

from __future__ import annotations

from typing import Any

from cgfast.io import cif
from cgfast.io import optimade_disorder as disorder
from cgfast.io.records import Record

__all__ = ["is_entry", "is_other", "structure"]

_GEOMETRY = ("lattice_vectors", "cartesian_site_positions", "species_at_sites", "dimension_types", "species")
_OTHER_TYPES = ("info", "references", "links", "files", "calculations", "trajectories")
_NO_VECTOR = [0.0, 0.0, 0.0]  # of an open axis


def is_entry(value: dict[str, Any]) -> bool:
    """Whether this is an OPTIMADE structure, with ``attributes`` or with these on the same level."""
    return "attributes" in value or ("cartesian_site_positions" in value and "species_at_sites" in value)


def is_other(value: dict[str, Any]) -> bool:
    """Whether this is a line of OPTIMADE JSON Lines that is no structure: the header, or another type of entry."""
    if "x-optimade" in value:
        return True
    return value.get("type") in _OTHER_TYPES and ("attributes" in value or "properties" in value) and "structure" not in value


def structure(value: dict[str, Any], on_disorder: str) -> Record:
    """The structure of an entry; its attributes are properties.

    Raises:
        cif.Unusable: It is disordered, or says nothing that can be used.
        KeyError, TypeError: Something is missing or of another type.
    """
    inside = value.get("attributes", value)
    missing = [name for name in _GEOMETRY[1:3] if inside.get(name) is None]
    if missing:
        reason = f"{' and '.join(missing)} is missing or null"
        raise cif.Unusable(reason)
    names, positions = inside["species_at_sites"], inside["cartesian_site_positions"]
    species, features = inside.get("species"), inside.get("structure_features")
    flagged = bool(features) and "disorder" in features
    if flagged or (species and not all(_is_plain(one) for one in species)):
        settled = disorder.settle(names, species, flagged=flagged, on_disorder=on_disorder)
        if len(settled.kept) != len(names):
            positions = [positions[k] for k in settled.kept]
        names = settled.symbols
    axes, cell = inside.get("dimension_types"), inside.get("lattice_vectors")
    if cell is not None and axes is not None and len(axes) == len(cell) == 3 and not all(axes):
        cell = [
            vector if periodic or (vector is not None and None not in vector) else _NO_VECTOR
            for vector, periodic in zip(cell, axes, strict=True)
        ]
    properties = {name: one for name, one in inside.items() if name not in _GEOMETRY}
    return Record(None, names, positions, cell, pbc=True if axes is None else axes, properties=properties)


def _is_plain(one: dict[str, Any]) -> bool:
    symbols, parts = one["chemical_symbols"], one["concentration"]
    return len(symbols) == len(parts) == 1 and symbols[0] == one["name"] and parts[0] == 1 and not one.get("attached")
