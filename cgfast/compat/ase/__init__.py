"""ASE's calls, answered by cgfast.

`neighbor_list`: change ``from ase.neighborlist import neighbor_list`` to ``from cgfast.compat.ase import neighbor_list``
(ASE itself is not needed). `Calculator`: energies, forces and stress of a cgfast model for ``atoms.calc``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from cgfast.compat.ase.neighbors import neighbor_list

if TYPE_CHECKING:
    from cgfast.compat.ase.calculator import Calculator

__all__ = ["Calculator", "neighbor_list"]


def __getattr__(name: str) -> object:
    if name == "Calculator":  # its base class is ASE's
        return importlib.import_module("cgfast.compat.ase.calculator").Calculator
    msg = f"module 'cgfast.compat.ase' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return __all__
