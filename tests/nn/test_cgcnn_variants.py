"""The network with several outputs, and with PyTorch Geometric's layer in place of that of 2018."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from cgfast import Crystals, GraphSpec, build_graphs
from cgfast.nn import CGCNN, CGConv, GaussianBasis

SPEC = GraphSpec(8.0, 12)
BASIS = GaussianBasis()


def crystals(n: int = 5, seed: int = 0) -> Crystals:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 9, n)
    cells = [np.eye(3) * rng.uniform(4, 6) + rng.normal(size=(3, 3)) * 0.3 for _ in range(n)]
    positions = np.concatenate([rng.random((k, 3)) @ cell for k, cell in zip(sizes, cells, strict=True)])
    graph_ptr = np.concatenate([[0], np.cumsum(sizes)])
    return Crystals.from_arrays(positions, np.stack(cells), rng.integers(1, 90, len(positions)), graph_ptr=graph_ptr)


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return network


def pyg_conv(conv: CGConv, x: torch.Tensor, graph, features: torch.Tensor) -> torch.Tensor:
    """PyTorch Geometric's layer, edge by edge: bn(sum of sigmoid(lin_f(z)) * softplus(lin_s(z))) + x."""
    target = torch.as_tensor(graph.target).long()
    z = torch.cat([x[target], x[torch.as_tensor(graph.source).long()], features], dim=1)
    messages = torch.sigmoid(conv.lin_f(z)) * nn.functional.softplus(conv.lin_s(z))
    return conv.bn(torch.zeros_like(x).index_add(0, target, messages)) + x


def mean_of_atoms(rows: torch.Tensor, graph) -> torch.Tensor:
    return torch.stack([part.mean(0) for part in rows.split(torch.diff(graph.graph_ptr).tolist())])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("readout", ["head", "site"])
def test_the_network_with_the_layer_of_pyg(readout, training):
    torch.manual_seed(1)
    network = CGCNN(None, 41, 12, 2, 16, 2, basis=BASIS, conv="CGConv", readout=readout, n_out=3)
    randomised(network).train(training)
    twin = copy.deepcopy(network)
    graph = build_graphs(crystals(), SPEC).torch()
    x = twin.embedding(twin.element_features[graph.atomic_numbers.long() - 1])
    for conv in twin.convs:
        x = pyg_conv(conv, x, graph, BASIS(graph.distances).float())
    if readout == "site":
        expected = mean_of_atoms(twin.site_readout.lin(x), graph)
    else:
        h = nn.functional.softplus(twin.conv_to_fc(nn.functional.softplus(mean_of_atoms(x, graph))))
        expected = twin.fc_out(nn.functional.softplus(twin.fcs[0](h)))
    out = network(graph)
    assert out.shape == (5, 3)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)
    out.square().sum().backward()
    expected.square().sum().backward()
    for (name, a), b in zip(network.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=2e-3, msg=name)
    for a, b in zip(network.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    if readout == "site":
        contributions = network.eval().site_contributions(graph)
        assert contributions.shape == (graph.n_atoms, 3)
        torch.testing.assert_close(mean_of_atoms(contributions, graph), network(graph), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("conv", ["CrystalGraphConv", "CGConv"])
def test_several_outputs_are_the_single_ones(conv):
    """A network of three outputs, cut into three of one."""
    for options in ({}, {"readout": "site"}, {"readout": "site", "pooling": "sum"}):
        torch.manual_seed(2)
        network = randomised(CGCNN(atom_fea_len=8, basis=BASIS, conv=conv, n_out=3, **options)).eval()
        graph = build_graphs(crystals(3), SPEC).torch()
        last = "site_readout.lin" if "readout" in options else "fc_out"
        with torch.no_grad():
            out = network(graph)
            for k in range(3):
                single = CGCNN(atom_fea_len=8, basis=BASIS, conv=conv, **options).eval()
                state = network.state_dict()
                state |= {name: state[name][k : k + 1] for name in (f"{last}.weight", f"{last}.bias")}
                single.load_state_dict(state)
                torch.testing.assert_close(single(graph), out[:, k : k + 1], rtol=1e-5, atol=1e-6)


def test_architecture_makes_the_same_network():
    for options in (
        {},
        {"conv": "CGConv", "n_out": 4, "n_conv": 1, "n_h": 3, "pooling": "max"},
        {"readout": "site", "n_out": 2, "pooling": "sum"},
        {"classification": True, "n_classes": 3, "n_out": 5},
    ):
        network = CGCNN(basis=BASIS, **options)
        again = CGCNN(basis=BASIS, **network.architecture())
        again.load_state_dict(network.state_dict())
        assert again.architecture() == network.architecture()
        assert {key: network.architecture()[key] for key in options} == options


def test_a_network_of_classes_has_no_use_for_n_out():
    network = CGCNN(basis=BASIS, classification=True, n_out=7).eval()
    with torch.no_grad():
        assert network(build_graphs(crystals(), SPEC)).exp().sum(1).allclose(torch.ones(5))
