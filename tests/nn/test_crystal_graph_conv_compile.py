"""CrystalGraphConv under torch.compile and torch.export, for every size of graph at once."""

from __future__ import annotations

import copy
import shutil
from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import nn

from cgfast.graph import CrystalGraph
from cgfast.nn import CrystalGraphConv, GaussianBasis

BASIS = GaussianBasis(0.0, 6.0, 0.5, 0.6)
N_FEATURES, N_BASIS = 6, BASIS.n_centres


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.manual_seed(0)
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def random_graph(n_atoms=12, n_edges=150, seed=0, **extras):
    rng = np.random.default_rng(seed)
    edges = torch.from_numpy(np.stack([rng.integers(0, n_atoms, n_edges), rng.integers(0, n_atoms, n_edges)]))
    distances = torch.from_numpy(rng.uniform(0.5, 7.0, n_edges))
    return CrystalGraph.from_edges(edges, torch.full((n_atoms,), 6), distances=distances, **extras)


def step(layer, graph, x, **features):
    """(values, gradients by name) of one pass."""
    layer.zero_grad()
    out = layer(x, graph, **features)
    out.square().sum().backward()
    return out.detach(), {name: parameter.grad.clone() for name, parameter in layer.named_parameters()}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("term", ["dense", "gaussian"])
def test_compile(term, training, weighted):
    """Forward, backward and running statistics, once for all sizes of the graph."""
    layer = CrystalGraphConv(N_FEATURES, N_BASIS).train(training)
    twin = copy.deepcopy(layer)
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    for i, (n_atoms, n_edges) in enumerate(((21, 150), (30, 70), (5, 400), (100, 1000))):
        extras = {"edge_weight": torch.rand(n_edges, dtype=torch.float64) + 0.5} if weighted else {}
        graph, x = random_graph(n_atoms, n_edges, seed=i, **extras), torch.randn(n_atoms, N_FEATURES)
        features = {"basis": BASIS} if term == "gaussian" else {"edge_attr": torch.randn(n_edges, N_BASIS)}
        with torch.compiler.set_stance("default" if i == 0 else "fail_on_recompile"):
            layer.zero_grad()
            out = compiled(x, graph, **features)
            out.square().sum().backward()
        expected, gradients = step(twin, graph, x, **features)
        torch.testing.assert_close(out.detach(), expected)
        for name, parameter in layer.named_parameters():
            torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-4)
    for (name, buffer), expected in zip(layer.named_buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(buffer, expected, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.skipif(shutil.which("c++") is None, reason="torch's own compiler needs c++")
def test_compile_to_code():
    layer = CrystalGraphConv(N_FEATURES, N_BASIS)
    twin = copy.deepcopy(layer)
    graph, x = random_graph(), torch.randn(12, N_FEATURES)
    out = torch.compile(layer, fullgraph=True, dynamic=True)(x, graph, basis=BASIS)
    out.square().sum().backward()
    expected, gradients = step(twin, graph, x, basis=BASIS)
    torch.testing.assert_close(out.detach(), expected)
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-4)


class OnDistances(nn.Module):
    def __init__(self, conv):
        super().__init__()
        self.conv = conv

    def forward(self, x, graph):
        return self.conv(x, graph, basis=BASIS)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("gate", [False, True])
def test_export(gate, training):
    """With any number of atoms and edges; in training with its running statistics."""
    conv = CrystalGraphConv(N_FEATURES, N_BASIS, gate=gate).train(training)
    twin = copy.deepcopy(conv)
    n_atoms, n_edges = torch.export.Dim("n_atoms", min=2), torch.export.Dim("n_edges", min=2)
    sizes = {"edge_index": {1: n_edges}, "row_ptr": {0: n_atoms + 1}, "atomic_numbers": {0: n_atoms}, "distances": {0: n_edges}}
    shapes = ({0: n_atoms}, [sizes.get(field.name) for field in fields(CrystalGraph) if field.name != "spec"])
    exported = torch.export.export(OnDistances(conv), (torch.randn(21, N_FEATURES), random_graph(21)), dynamic_shapes=shapes)
    module = exported.module()
    for n, e in ((30, 400), (5, 7)):
        graph, x = random_graph(n, e), torch.randn(n, N_FEATURES)
        torch.testing.assert_close(module(x, graph), twin(x, graph, basis=BASIS))
    for name, expected in twin.named_buffers():
        torch.testing.assert_close(module.get_buffer(f"conv.{name}"), expected)
