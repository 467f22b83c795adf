"""Whole networks to train: the 2018 one and one of PyTorch Geometric's layers, each with our layers and without.

A `Trainer` holds a network with its inputs; a call is one step: forward, mean squared error, backward, Adam.
Networks of one kind start from the same weights.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchmarks import data, layers

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from cgfast.graph import CrystalGraph

N_CRYSTALS, N_LAYERS, F, HEAD = 256, 3, 64, 128
N_ELEMENTS = 100
TARGET = "formation_energy_per_atom_eV"


class Trainer:
    """One network in training."""

    def __init__(self, network: torch.nn.Module, answer: Callable[[], torch.Tensor]) -> None:
        import torch

        self.network = network.train()
        self.answer = answer
        self.optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        self.targets = targets()

    def __call__(self) -> float:
        """One step; the loss before it."""
        import torch

        self.optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(self.answer(), self.targets)
        loss.backward()
        self.optimizer.step()
        return loss.item()


@functools.lru_cache(maxsize=1)
def graph() -> CrystalGraph:
    """256 real crystals, evenly spread over the table; 12 edges to every atom."""
    import cgfast

    crystals = data.crystals(layers.TABLE, N_CRYSTALS)
    return cgfast.build_graphs(crystals, cgfast.GraphSpec(missing="pad-2018")).torch()


@functools.lru_cache(maxsize=1)
def targets() -> torch.Tensor:
    """(256, 1) formation energies in eV/atom."""
    import torch

    return torch.from_numpy(np.array(data.column(layers.TABLE, N_CRYSTALS, TARGET))).float()[:, None]


@functools.lru_cache(maxsize=2)
def edge_attr(*, fair: bool) -> torch.Tensor:
    """(E, 41) Gaussians, with their denormals or without."""
    values = layers.gaussians(graph().distances.float())
    return values.masked_fill(values < layers.TINY, 0.0) if fair else values


def cgfast_2018() -> Trainer:
    """Our network of the 2018 code, on a CrystalGraph and its distances."""
    import torch

    import cgfast.nn

    torch.manual_seed(0)
    network = cgfast.nn.CGCNN(None, layers.K, F, N_LAYERS, HEAD, 1, basis=cgfast.nn.GaussianBasis())
    return Trainer(network, lambda: network(graph()))


def code_2018(*, fair: bool) -> Trainer:
    """The 2018 code's network, given what its own loader makes of a batch."""
    import torch

    package: Any = pytest.importorskip("cgcnn2.model", reason="the peer cgcnn2 is not installed")
    network = package.CrystalGraphConvNet(N_ELEMENTS, layers.K, F, N_LAYERS, HEAD, 1)
    network.load_state_dict(cgfast_2018().network.state_dict())
    batch = graph()
    atoms = torch.eye(N_ELEMENTS)[batch.atomic_numbers.long() - 1]
    rows = (batch.n_atoms, -1)
    neighbours, features = batch.source.view(rows), edge_attr(fair=fair).view(*rows, layers.K)
    crystals = list(torch.arange(batch.n_atoms).split((batch.graph_ptr[1:] - batch.graph_ptr[:-1]).tolist()))
    return Trainer(network, lambda: network(atoms, features, neighbours, crystals)[0])


def pyg(*, fair: bool) -> Trainer:
    """PyTorch Geometric's layers in a network of the same shape: embedding, three layers, mean, head."""
    network = _pyg_network(lambda module: module)
    return Trainer(network, lambda: network(edge_attr(fair=fair)))


def pyg_with_cgfast(*, dense: bool) -> Trainer:
    """The same network with our layers in place of PyTorch Geometric's, on edge_attr as they are or on distances."""
    import cgfast.nn
    from cgfast.nn.cg_conv import CGConv

    def swap(theirs: Any) -> Any:
        ours = CGConv(F, dim=layers.K, basis=cgfast.nn.GaussianBasis())
        ours.load_state_dict(theirs.state_dict())
        return ours

    network = _pyg_network(swap)
    if dense:
        return Trainer(network, lambda: network(edge_attr(fair=False)))
    return Trainer(network, lambda: network(None))


def _pyg_network(convert: Callable[[Any], Any]) -> torch.nn.Module:
    """What a user of PyTorch Geometric writes; `convert` may put another layer in place of each of its layers."""
    import torch

    geometric: Any = pytest.importorskip("torch_geometric.nn", reason="the peer torch-geometric is not installed")
    batch = graph()
    elements = batch.atomic_numbers.long()
    crystal = torch.repeat_interleave(torch.arange(batch.n_crystals), batch.graph_ptr[1:] - batch.graph_ptr[:-1])

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(N_ELEMENTS + 1, F)
            self.convs = torch.nn.ModuleList([geometric.CGConv(F, dim=layers.K) for _ in range(N_LAYERS)])
            self.head = torch.nn.Sequential(torch.nn.Linear(F, HEAD), torch.nn.Softplus(), torch.nn.Linear(HEAD, 1))

        def forward(self, features: torch.Tensor | None) -> torch.Tensor:
            x = self.embedding(elements)
            for conv in self.convs:
                x = conv(x, batch if features is None else batch.edge_index, features)
            out: torch.Tensor = self.head(geometric.global_mean_pool(x, crystal, batch.n_crystals))
            return out

    torch.manual_seed(0)
    network = Network()
    network.convs = torch.nn.ModuleList([convert(module) for module in network.convs])
    return network
