"""cgfast: crystal-graph neural networks, fast.

Structures in, predicted properties out: periodic neighbour search and fused CGCNN messages in a native core, thin Python
around it. `import cgfast` imports NumPy only; torch, pyarrow and the readers are imported by the functions that use them.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

try:
    __version__ = version("cgfast")
except PackageNotFoundError:  # a checkout on the path that was never installed
    __version__ = "0+unknown"

if TYPE_CHECKING:
    from cgfast.conversion import convert
    from cgfast.crystals import Crystals
    from cgfast.evaluation import embed, evaluate, explain
    from cgfast.graph import CrystalGraph, build_graphs
    from cgfast.io import read
    from cgfast.models import available_models, load_model
    from cgfast.neighbors import GraphSpec, NeighborList, neighbor_list
    from cgfast.screening import screen
    from cgfast.training import finetune, resume, train
    from cgfast.tuning import tune

# Public name -> module that holds it. Loaded at first use, so that importing one part does not pay for the others.
_PUBLIC = {
    "Crystals": "cgfast.crystals",
    "CrystalGraph": "cgfast.graph",
    "GraphSpec": "cgfast.neighbors",
    "NeighborList": "cgfast.neighbors",
    "available_models": "cgfast.models",
    "build_graphs": "cgfast.graph",
    "convert": "cgfast.conversion",
    "embed": "cgfast.evaluation",
    "evaluate": "cgfast.evaluation",
    "explain": "cgfast.evaluation",
    "finetune": "cgfast.training",
    "load_model": "cgfast.models",
    "neighbor_list": "cgfast.neighbors",
    "read": "cgfast.io",
    "resume": "cgfast.training",
    "screen": "cgfast.screening",
    "train": "cgfast.training",
    "tune": "cgfast.tuning",
}

__all__ = [
    "CrystalGraph",
    "Crystals",
    "GraphSpec",
    "NeighborList",
    "__version__",
    "available_models",
    "build_graphs",
    "convert",
    "embed",
    "evaluate",
    "explain",
    "finetune",
    "load_model",
    "neighbor_list",
    "read",
    "resume",
    "screen",
    "train",
    "tune",
]


# Subpackages and modules that are part of the interface: `import cgfast; cgfast.nn.CGCNN` works.
_MODULES = (
    "compat",
    "conversion",
    "evaluation",
    "functional",
    "io",
    "models",
    "nn",
    "reference",
    "screening",
    "training",
    "tuning",
)


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return importlib.import_module(f"cgfast.{name}")
    if name not in _PUBLIC:
        msg = f"module 'cgfast' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])
