"""Every layer and network on every device, in float32, against itself on the CPU in float64 by the reference formulas."""

from __future__ import annotations

import copy
import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from cgfast import Crystals, GraphSpec, build_graphs, functional, ops
from cgfast.nn import CGCNN, CGConv, CrystalGraphConv, GaussianBasis, Pool, SimpleCrystalConv

BASIS = GaussianBasis(0.0, 6.0, 0.5)
N_FEATURES = 12
LAYERS = {
    "CGConv": lambda: CGConv(N_FEATURES, BASIS.n_centres, batch_norm=True, basis=BASIS),
    "CGConv-mean": lambda: CGConv(N_FEATURES, BASIS.n_centres, aggr="mean", basis=BASIS),
    "CGConv-max": lambda: CGConv(N_FEATURES, BASIS.n_centres, aggr="max", basis=BASIS),
    "CrystalGraphConv": lambda: CrystalGraphConv(N_FEATURES, BASIS.n_centres),
    "CrystalGraphConv-no-gate": lambda: CrystalGraphConv(N_FEATURES, BASIS.n_centres, gate=False),
    "SimpleCrystalConv": lambda: SimpleCrystalConv(N_FEATURES, BASIS.n_centres),
}
NETWORKS = {
    "2018": {},
    "classifier": {"classification": True},
    "CGConv": {"conv": "CGConv", "readout": "atom", "activation": "silu"},
    "site": {"readout": "site", "pooling": "sum"},
}


def crystals(n: int = 6, seed: int = 0) -> Crystals:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, n)
    cells = np.stack([np.eye(3) * rng.uniform(4, 6) + rng.normal(size=(3, 3)) * 0.3 for _ in range(n)])
    positions = np.concatenate([rng.random((k, 3)) @ cell for k, cell in zip(sizes, cells, strict=True)])
    graph_ptr = np.concatenate([[0], np.cumsum(sizes)])
    return Crystals.from_arrays(positions, cells, rng.integers(1, 90, len(positions)), graph_ptr=graph_ptr)


@pytest.fixture(params=["canonical", "shell"])
def graph(request):
    return build_graphs(crystals(), GraphSpec(6.0, 12, request.param)).torch()


@pytest.fixture
def by_formulas(monkeypatch):
    """A function that runs another one without any kernel."""

    def run(function):
        with monkeypatch.context() as patch:
            patch.setattr(functional, "_use_kernel", lambda _: False)
            patch.setattr(ops, "takes_layer", lambda _: False)
            patch.setattr(importlib.import_module("cgfast.ops.split_linear"), "takes_products", lambda *_: False)
            return function()

    return run


def randomised(module: nn.Module) -> nn.Module:
    torch.manual_seed(3)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
    return module


def on(graph, device, dtype):
    moved = graph.to(device)
    weight = None if moved.edge_weight is None else moved.edge_weight.to(dtype)
    return replace(moved, edge_weight=weight, distances=moved.distances.clone().requires_grad_())


def values_and_gradients(module, call, graph, device, dtype):
    """The output, the gradients of distances and parameters, and the buffers afterwards, by name."""
    module = copy.deepcopy(module).to(device, dtype)
    there = on(graph, device, dtype)
    out = call(module, there)
    weights = torch.linspace(0.5, 1.5, out.numel(), dtype=torch.float64).reshape(out.shape)
    (out * weights.to(out)).sum().backward()
    found = {"out": out, "distances": there.distances.grad}
    found |= {f"gradient of {name}": p.grad for name, p in module.named_parameters() if p.grad is not None}
    found |= {name: b for name, b in module.named_buffers() if b.is_floating_point()}
    return {name: tensor.detach().cpu().double() for name, tensor in found.items()}


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    largest = max(float(want.abs().max()) for want in expected.values())
    for name, want in expected.items():
        size = max(float(want.abs().max()), 0.01 * largest)  # some gradients in front of a batch norm are zero but for rounding
        torch.testing.assert_close(found[name], want, rtol=2e-3, atol=2e-3 * size, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, training, graph, device, by_formulas):
    torch.manual_seed(0)
    layer = randomised(LAYERS[name]()).train(training)
    x = torch.randn(graph.n_atoms, N_FEATURES, dtype=torch.float64)

    def call(module, there):
        takes_basis = {} if isinstance(module, CGConv) else {"basis": BASIS}
        parameter = next(module.parameters())
        return module(x.to(parameter), there, **takes_basis)

    expected = by_formulas(lambda: values_and_gradients(layer, call, graph, "cpu", torch.float64))
    assert_close(values_and_gradients(layer, call, graph, device, torch.float32), expected)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name, training, graph, device, by_formulas):
    torch.manual_seed(0)
    options = {"nbr_fea_len": BASIS.n_centres, "atom_fea_len": N_FEATURES, "n_conv": 2, "h_fea_len": 8, "basis": BASIS}
    network = randomised(CGCNN(**options, **NETWORKS[name])).train(training)
    for part in network.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0  # other random numbers on other devices

    def call(module, there):
        return module(there)

    expected = by_formulas(lambda: values_and_gradients(network, call, graph, "cpu", torch.float64))
    assert_close(values_and_gradients(network, call, graph, device, torch.float32), expected)


@pytest.mark.parametrize("reduce", ["mean", "sum", "min", "max"])
def test_pool(reduce, graph, device):
    x = torch.randn(graph.n_atoms, 3, generator=torch.Generator().manual_seed(0))
    found = Pool(reduce)(x.to(device), graph.graph_ptr.to(device))
    parts = x.double().split(torch.diff(graph.graph_ptr).tolist())
    expected = torch.stack([getattr(part, reduce if reduce in ("mean", "sum") else f"a{reduce}")(0) for part in parts])
    torch.testing.assert_close(found.cpu().double(), expected)


def test_unknown_elements_are_refused_everywhere(graph, device):
    network = CGCNN(atom_fea_len=4, n_conv=1, h_fea_len=4, basis=GaussianBasis()).to(device)
    numbers = torch.full_like(graph.atomic_numbers, 104)
    numbers[0] = 0
    with pytest.raises(ValueError, match="atomic_numbers must lie in 1 to 100 for this model, got 0 to 104"):
        network(replace(graph, atomic_numbers=numbers).to(device))
