"""Other packages' calls, answered by cgfast: `cgfast.compat.ase.neighbor_list` is ASE's."""

from __future__ import annotations

import importlib

_MODULES = ("ase", "cgcnn", "pyg")


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return importlib.import_module(f"cgfast.compat.{name}")
    msg = f"module 'cgfast.compat' has no attribute {name!r}"
    raise AttributeError(msg)
