"""Other packages' calls, answered by cgfast: `cgfast.compat.ase.neighbor_list` is ASE's."""

from __future__ import annotations

import importlib


def __getattr__(name: str) -> object:
    if name == "ase":
        return importlib.import_module("cgfast.compat.ase")
    msg = f"module 'cgfast.compat' has no attribute {name!r}"
    raise AttributeError(msg)
