"""The networks that the study compares: one changed at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

import cgfast
from cgfast.nn import CGCNN, CGConv, CrystalGraphConv, SimpleCrystalConv

if TYPE_CHECKING:
    from cgfast.graph import CrystalGraph

F, HEAD, DEPTH = 64, 128, 4
TWELVE = cgfast.GraphSpec(8.0, 12)
RADIUS = cgfast.GraphSpec(5.0, None)
BASIS = cgfast.nn.GaussianBasis()


class Variant(NamedTuple):
    question: str
    name: str
    spec: cgfast.GraphSpec
    network: nn.Module


class PlainCGConv(nn.Module):
    """CGConv(batch_norm=True) as PyTorch users write it: concatenate, two linear maps, gate, index_add."""

    def __init__(self, twin: CGConv) -> None:
        super().__init__()
        self.lin_f, self.lin_s, self.bn = twin.lin_f, twin.lin_s, twin.bn

    def forward(self, x: torch.Tensor, graph: CrystalGraph, edge_attr: torch.Tensor | None, *, basis: object) -> torch.Tensor:
        del edge_attr
        features = basis(graph.distances).to(x.dtype)
        z = torch.cat([x[graph.target], x[graph.source], features], dim=1)
        messages = torch.sigmoid(self.lin_f(z)) * nn.functional.softplus(self.lin_s(z))
        return self.bn(torch.zeros_like(x).index_add_(0, graph.target, messages)) + x


class Calls(nn.Module):
    """A layer of another call inside CGCNN."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor, graph: CrystalGraph, edge_attr: torch.Tensor | None, *, basis: object) -> torch.Tensor:
        return self.layer(x, graph, edge_attr=edge_attr, basis=basis)


def base(depth: int = DEPTH, seed: int = 0) -> CGCNN:
    torch.manual_seed(seed)
    return CGCNN(None, 41, F, depth, HEAD, 2, basis=BASIS, conv="CGConv", activation="silu", readout="atom")


def with_layers(make: type[nn.Module] | object, seed: int = 0) -> CGCNN:
    network = base(seed=seed)
    torch.manual_seed(seed)
    network.convs = nn.ModuleList([Calls(make()) for _ in range(DEPTH)])
    return network


def plain_twin(seed: int = 0) -> CGCNN:
    """The base network with the same weights, its layers in plain PyTorch."""
    network = base(seed=seed)
    network.convs = nn.ModuleList([PlainCGConv(conv) for conv in network.convs])
    return network


def variants(seed: int) -> list[Variant]:
    depths = [Variant("depth", f"{depth} layer{'s' if depth > 1 else ''}", TWELVE, base(depth, seed)) for depth in range(1, 9)]
    layers = [
        Variant("layer", "CGConv (Eq. 5, batch norm over atoms)", TWELVE, base(seed=seed)),
        Variant("layer", "2018 layer (Eq. 5, two batch norms)", TWELVE, with_layers(lambda: CrystalGraphConv(F, 41), seed)),
        Variant("layer", "2018 layer without gate", TWELVE, with_layers(lambda: CrystalGraphConv(F, 41, gate=False), seed)),
        Variant("layer", "Eq. 4", TWELVE, with_layers(lambda: SimpleCrystalConv(F, 41), seed)),
    ]
    graphs = [
        Variant("graph", "12 nearest inside 8 Å", TWELVE, base(seed=seed)),
        Variant("graph", "all inside 5 Å", RADIUS, base(seed=seed)),
    ]
    return depths + layers + graphs
