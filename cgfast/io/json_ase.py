"""ASE's dictionaries of atoms as records: ``ase.io.write("x.json")``, JSON databases, ``ase.io.jsonio.encode(atoms)``."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgfast.io.records import Record

__all__ = ["atoms", "is_atoms", "is_bookkeeping"]

_NO_PROPERTIES = frozenset({"numbers", "positions", "cell", "pbc", "key_value_pairs", "data", "constraints", "unique_id"})


def is_atoms(value: dict[str, Any]) -> bool:
    """Whether this is ``Atoms.todict()`` or a row of a database."""
    return "numbers" in value and "positions" in value


def is_bookkeeping(key: str | None, value: Any) -> bool:  # noqa: ANN401 - any JSON
    """Whether this is what a JSON database has beside its rows."""
    return key in {"ids", "nextid"} and not isinstance(value, dict)


def atoms(value: dict[str, Any]) -> Record:
    """The structure of a dictionary; ``key_value_pairs`` and other members are properties. No ``pbc`` means open axes.

    Raises:
        KeyError, TypeError, ValueError: Something is missing or of another type.
    """
    cell, pbc = value.get("cell"), value.get("pbc")
    pairs = value.get("key_value_pairs")
    properties = {name: one for name, one in value.items() if name not in _NO_PROPERTIES and name[:2] != "__"}
    return Record(
        None,
        _array(value["numbers"]),
        _array(value["positions"]),
        None if cell is None else _cell(_array(cell)),
        pbc=False if pbc is None else _array(pbc),
        properties={**pairs, **properties} if isinstance(pairs, dict) else properties,
    )


def _array(value: Any) -> Any:  # noqa: ANN401 - judged with all other records
    if isinstance(value, dict) and "array" in value:  # a cell that knows that it is one
        value = value["array"]
    if isinstance(value, dict):
        shape, _, flat = value["__ndarray__"]
        return np.array(flat).reshape(shape)
    return value


def _cell(value: Any) -> Any:  # noqa: ANN401
    """Three vectors, also of the short form, three lengths."""
    numbers = np.asarray(value)
    if numbers.shape == (3,):
        return np.diag(numbers)
    return value
