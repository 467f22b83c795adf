"""Torch modules: parameters and calls, no pointers and no files."""

from __future__ import annotations

from dataclasses import fields

from torch.utils._pytree import GetAttrKey, register_pytree_node

from cgfast.basis import GaussianBasis
from cgfast.graph import CrystalGraph
from cgfast.neighbors import GraphSpec
from cgfast.nn.cg_conv import CGConv
from cgfast.nn.cgcnn import CGCNN
from cgfast.nn.crystal_graph_conv import CrystalGraphConv
from cgfast.nn.pool import Pool
from cgfast.nn.simple_crystal_conv import SimpleCrystalConv
from cgfast.nn.site_readout import SiteReadout
from cgfast.nn.sync_norm import SyncBatchNorm1d, convert_sync_batchnorm

# torch.compile and torch.export see into a graph: its arrays are leaves, what made them is structure.
_FIELDS = tuple(f.name for f in fields(CrystalGraph) if f.name != "spec")
register_pytree_node(
    CrystalGraph,
    lambda graph: ([getattr(graph, name) for name in _FIELDS], graph.spec),
    lambda leaves, spec: CrystalGraph(**dict(zip(_FIELDS, leaves, strict=True)), spec=spec),
    flatten_with_keys_fn=lambda graph: ([(GetAttrKey(name), getattr(graph, name)) for name in _FIELDS], graph.spec),
    serialized_type_name="cgfast.CrystalGraph",
    to_dumpable_context=lambda spec: None if spec is None else spec.to_dict(),
    from_dumpable_context=lambda spec: None if spec is None else GraphSpec.from_dict(spec),
)

__all__ = [
    "CGCNN",
    "CGConv",
    "CrystalGraphConv",
    "GaussianBasis",
    "Pool",
    "SimpleCrystalConv",
    "SiteReadout",
    "SyncBatchNorm1d",
    "convert_sync_batchnorm",
]
