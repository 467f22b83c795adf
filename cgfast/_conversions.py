"""Crystals from and to the objects of pymatgen and ASE, which are imported only when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cgfast._optional import require
from cgfast.crystals import Crystals, complete_cell
from cgfast.elements import MAX_ATOMIC_NUMBER

__all__ = ["from_ase", "from_pymatgen", "to_ase", "to_pymatgen"]


def _as_list(objects: Any, single: str, argument: str) -> list[Any]:  # noqa: ANN401 - any object may come
    """One object or a sequence of them as a list; ``single`` names an attribute that only the object has."""
    if hasattr(objects, single):
        return [objects]
    if isinstance(objects, Sequence) and not isinstance(objects, str):
        return list(objects)
    if hasattr(objects, "__iter__") and not isinstance(objects, str):
        return list(objects)
    message = f"{argument} is a {type(objects).__name__}: expected one structure or a list of them"
    raise ValueError(message)


def _flat(positions: list[Any], cells: list[Any], pbc: list[Any], numbers: list[Any], ids: Sequence[str] | None) -> Crystals:
    counts = [len(z) for z in numbers]
    return Crystals.from_arrays(
        np.concatenate([np.empty((0, 3)), *positions]),
        np.asarray(cells, dtype=np.float64).reshape(-1, 3, 3),
        np.concatenate([np.empty(0, dtype=np.int64), *numbers]),
        pbc=np.asarray(pbc, dtype=bool).reshape(-1, 3),
        graph_ptr=np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64),
        ids=ids,
    )


def _pymatgen_numbers(structure: Any, index: int) -> Any:  # noqa: ANN401
    if not hasattr(structure, "lattice"):
        message = f"structure {index} is a {type(structure).__name__}: expected a pymatgen Structure"
        raise ValueError(message)
    numbers = []
    for k, site in enumerate(structure):
        parts = [(element, amount) for element, amount in site.species.items() if amount > 0]
        if len(parts) != 1 or abs(parts[0][1] - 1.0) > 1e-6:
            message = (
                f"structure {index}, site {k} is disordered ({site.species_string}): expected one species with "
                "occupancy 1 at every site"
            )
            raise ValueError(message)
        number = getattr(parts[0][0], "Z", 0)  # a DummySpecies has a hash for a Z
        if not 1 <= number <= MAX_ATOMIC_NUMBER:
            message = f"structure {index}, site {k} holds {parts[0][0]}, which is no element"
            raise ValueError(message)
        numbers.append(int(number))
    return np.asarray(numbers, dtype=np.int64)


def from_pymatgen(structures: Any, ids: Sequence[str] | None = None) -> Crystals:  # noqa: ANN401
    """See `Crystals.from_pymatgen`. pymatgen itself is not imported: its objects carry all that is needed."""
    batch = _as_list(structures, "lattice", "structures")
    numbers = [_pymatgen_numbers(structure, k) for k, structure in enumerate(batch)]
    return _flat(
        [np.asarray(s.cart_coords, dtype=np.float64).reshape(-1, 3) for s in batch],
        [s.lattice.matrix for s in batch],
        [s.lattice.pbc for s in batch],
        numbers,
        ids,
    )


def from_ase(atoms: Any, ids: Sequence[str] | None = None) -> Crystals:  # noqa: ANN401
    """See `Crystals.from_ase`. ASE itself is not imported."""
    batch = _as_list(atoms, "get_atomic_numbers", "atoms")
    for k, item in enumerate(batch):
        if not hasattr(item, "get_atomic_numbers"):
            message = f"atoms[{k}] is a {type(item).__name__}: expected an ASE Atoms"
            raise ValueError(message)
        occupancy = getattr(item, "info", {}).get("occupancy")
        if occupancy and any(len(o) != 1 or abs(sum(o.values()) - 1.0) > 1e-6 for o in occupancy.values()):
            message = f"atoms[{k}] is disordered (info['occupancy']): expected one species with occupancy 1 at every site"
            raise ValueError(message)
    return _flat(
        [item.get_positions() for item in batch],
        [np.asarray(item.cell) for item in batch],
        [item.pbc for item in batch],
        [np.asarray(item.get_atomic_numbers(), dtype=np.int64) for item in batch],
        ids,
    )


def to_pymatgen(crystals: Crystals) -> list[Any]:
    """See `Crystals.to_pymatgen`."""
    core = require("pymatgen.core", extra="pymatgen")
    structures = []
    for one in crystals:
        pbc = tuple(bool(flag) for flag in one.pbc[0])
        lattice = core.Lattice(complete_cell(one.cell[0], one.pbc[0]), pbc=pbc)
        species = one.atomic_numbers.tolist()
        structures.append(core.Structure(lattice, species, one.positions, coords_are_cartesian=True))
    return structures


def to_ase(crystals: Crystals) -> list[Any]:
    """See `Crystals.to_ase`."""
    ase = require("ase", extra="ase")
    return [
        ase.Atoms(numbers=one.atomic_numbers, positions=one.positions, cell=one.cell[0], pbc=one.pbc[0]) for one in crystals
    ]
