"""Crystals from what users have."""

from __future__ import annotations

from typing import Any

from cgfast.crystals import Crystals


def as_crystals(x: Any) -> Crystals:  # noqa: ANN401 - pymatgen, ASE are optional
    """Crystals from a pymatgen Structure, an ASE Atoms, a list of either, or Crystals themselves.

    Raises ValueError for anything else.
    """
    if isinstance(x, Crystals):
        return x
    items = list(x) if isinstance(x, list | tuple) else [x]
    if items and all(hasattr(item, "get_positions") and hasattr(item, "get_pbc") for item in items):
        return Crystals.from_ase(items)
    if items and all(hasattr(item, "lattice") and hasattr(item, "sites") for item in items):
        return Crystals.from_pymatgen(items)
    if items and all(isinstance(item, Crystals) for item in items):
        return Crystals.concatenate(items)
    kinds = sorted({type(item).__name__ for item in items}) or ["an empty list"]
    msg = f"x must be a pymatgen Structure, an ASE Atoms, a list of one kind, or Crystals, got {', '.join(kinds)}"
    raise ValueError(msg)
