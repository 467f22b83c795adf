"""PyTorch Geometric's crystal graph convolution, answered by cgfast.

`CGConv`: change ``from torch_geometric.nn import CGConv`` to ``from cgfast.compat.pyg import CGConv`` (PyG itself is not
needed). `replace_cgconv`: does the same inside a model that exists. `CrystalGraphTransform`: gives a `Data` with positions
and a cell its periodic graph.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from cgfast.compat.pyg.replace import replace_cgconv
from cgfast.nn.cg_conv import CGConv

if TYPE_CHECKING:
    from cgfast.compat.pyg.transform import CrystalGraphTransform

__all__ = ["CGConv", "CrystalGraphTransform", "replace_cgconv"]


def __getattr__(name: str) -> object:
    if name == "CrystalGraphTransform":  # its base class is PyG's
        return importlib.import_module("cgfast.compat.pyg.transform").CrystalGraphTransform
    msg = f"module 'cgfast.compat.pyg' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return __all__
