"""JARVIS' dictionaries of atoms as records."""

from __future__ import annotations

from typing import Any

from cgfast.io.records import Record

__all__ = ["atoms", "is_atoms", "without_na"]


def is_atoms(value: dict[str, Any]) -> bool:
    """Whether this is ``jarvis.core.atoms.Atoms.to_dict()``."""
    return "lattice_mat" in value and "coords" in value


def atoms(value: dict[str, Any]) -> Record:
    """The structure of a JARVIS dictionary: ``cartesian`` says what ``coords`` are, fractional where it is missing.

    Raises:
        KeyError, TypeError: Something is missing or of another type.
    """
    cartesian = value.get("cartesian", False)
    if cartesian.__class__ is not bool:  # older files have text
        cartesian = str(cartesian).lower() in {"true", "1"}
    return Record(None, value["elements"], value["coords"], value["lattice_mat"], fractional=not cartesian)


def without_na(properties: dict[str, Any]) -> dict[str, Any]:
    """Properties with null where JARVIS writes "na" for a missing number."""
    return {name: None if value == "na" else value for name, value in properties.items()}
