"""Torch modules: parameters and calls, no pointers and no files."""

from __future__ import annotations

from cgfast.basis import GaussianBasis
from cgfast.nn.cgcnn import CGCNN
from cgfast.nn.crystal_graph_conv import CrystalGraphConv
from cgfast.nn.pool import Pool

__all__ = ["CGCNN", "CrystalGraphConv", "GaussianBasis", "Pool"]
