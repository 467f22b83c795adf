"""CrystalGraphConv against the 2018 layer written out with materialised edges and torch's own modules."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from cgfast.graph import CrystalGraph
from cgfast.nn import CrystalGraphConv, GaussianBasis

BASIS = GaussianBasis(0.0, 6.0, 0.5, 0.6)
N_FEATURES, N_BASIS = 6, BASIS.n_centres
TERMS = ("dense", "gaussian")
FIELDS = ("edge_index", "row_ptr", "graph_ptr", "atomic_numbers", "distances")
# Rounding of the plain layer itself; float32 gradients behind two batch norms cancel to a tenth of their terms.
TOLERANCE = {torch.float32: 3e-5, torch.float64: 1e-10}


class PlainConv(nn.Module):
    """softplus(x + bn2(sum of sigmoid(gate) * softplus(core))), [gate | core] = bn1(fc_full([x_i, x_j, e_ij]))."""

    def __init__(self, gate=True):
        super().__init__()
        channels = 2 * N_FEATURES if gate else N_FEATURES
        self.gate = gate
        self.fc_full = nn.Linear(2 * N_FEATURES + N_BASIS, channels)
        self.bn1 = nn.BatchNorm1d(channels)
        self.bn2 = nn.BatchNorm1d(N_FEATURES)

    def forward(self, x, graph, edge_attr=None, basis=None):
        source, target = graph.edge_index
        if edge_attr is None:
            edge_attr = basis(graph.distances).to(x.dtype)
        y = self.bn1(self.fc_full(torch.cat([x[target], x[source], edge_attr], dim=1)))
        if self.gate:
            gate, core = y.chunk(2, dim=1)
            messages = torch.sigmoid(gate) * softplus(core, threshold=40)
        else:
            messages = softplus(y, threshold=40)
        summed = torch.zeros_like(x).index_add(0, target, messages)
        return softplus(x + self.bn2(summed))


def random_graph(n_atoms=12, n_edges=150, seed=0):
    """A graph with isolated atoms and repeated edges."""
    rng = np.random.default_rng(seed)
    edges = np.stack([rng.integers(0, n_atoms, n_edges), rng.integers(0, max(n_atoms - 2, 1), n_edges)])
    distances = torch.from_numpy(rng.uniform(0.5, 7.0, n_edges)).requires_grad_()
    return CrystalGraph.from_edges(torch.from_numpy(edges), torch.full((n_atoms,), 6), distances=distances)


def pair(dtype=torch.float64, change=None, *, gate=True, seed=0):
    """Our layer and the plain one, with the same random parameters and buffers."""
    torch.manual_seed(seed)
    ours, plain = CrystalGraphConv(N_FEATURES, N_BASIS, gate=gate), PlainConv(gate)
    for layer in (ours, plain):
        if change is not None:
            change(layer)
    for norm in (ours.bn1, ours.bn2):
        if norm.affine:
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias)
        if norm.running_mean is not None:
            nn.init.normal_(norm.running_mean)
            nn.init.uniform_(norm.running_var, 0.5, 2.0)
    plain.load_state_dict(ours.state_dict())
    return ours.to(dtype), plain.to(dtype)


def features(term, graph, dtype):
    if term == "gaussian":
        return {"basis": BASIS}, graph.distances
    values = torch.randn(graph.n_edges, N_BASIS, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    edge_attr = values.to(dtype).requires_grad_()
    return {"edge_attr": edge_attr}, edge_attr


def assert_close(found, expected, relative, name=""):
    """Within `relative` of the largest value."""
    size = float(expected.detach().abs().max()) if expected.numel() else 0.0
    torch.testing.assert_close(found, expected, rtol=relative, atol=relative * max(size, 1.0), msg=lambda m: f"{name}: {m}")


def compare(ours, plain, graph, term, relative, n_steps=1):
    """Values, all gradients and buffers, over some steps of an optimiser."""
    dtype = ours.fc_full.weight.dtype
    given, edge_input = features(term, graph, dtype)
    optimisers = [torch.optim.SGD(layer.parameters(), lr=0.05, momentum=0.5) for layer in (ours, plain)]
    rng = torch.Generator().manual_seed(2)
    for _ in range(n_steps):
        x = torch.randn(graph.n_atoms, N_FEATURES, dtype=torch.float64, generator=rng).to(dtype).requires_grad_()
        grad = torch.randn(graph.n_atoms, N_FEATURES, dtype=torch.float64, generator=rng).to(dtype)
        gradients = []
        for layer, optimiser in zip((ours, plain), optimisers, strict=True):
            optimiser.zero_grad()
            out = layer(x, graph, **given)
            of_inputs = torch.autograd.grad(out, (x, edge_input), grad, retain_graph=True)
            out.backward(grad, inputs=list(layer.parameters()))
            named = {name: parameter.grad.clone() for name, parameter in layer.named_parameters()}
            gradients.append({"out": out.detach(), "x": of_inputs[0], term: of_inputs[1], **named})
            optimiser.step()
        for name, expected in gradients[1].items():
            assert_close(gradients[0][name], expected, relative, name)
        for (name, found), expected in zip(ours.named_buffers(), plain.buffers(), strict=True):
            assert found.dtype == expected.dtype
            assert_close(found, expected, relative, name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize("term", TERMS)
def test_training(term, gate, dtype):
    compare(*pair(dtype, gate=gate), random_graph(), term, TOLERANCE[dtype])


@pytest.mark.parametrize("momentum", [0.1, 0.3, 1.0, 0.0, None])
@pytest.mark.parametrize("term", TERMS)
def test_several_steps(term, momentum):
    def change(layer):
        layer.bn1.momentum = layer.bn2.momentum = momentum

    ours, plain = pair(change=change)
    compare(ours, plain, random_graph(), term, 1e-9, n_steps=6)
    assert ours.bn1.num_batches_tracked == 6
    compare(ours.eval(), plain.eval(), random_graph(seed=1), term, 1e-9)
    compare(ours.train(), plain.train(), random_graph(seed=2), term, 1e-9)


def test_large_graph_in_float32():
    """Many edges, features far from zero: statistics as exact as torch's."""
    graph = random_graph(n_atoms=900, n_edges=20_000)
    ours, plain = pair(torch.float32)
    x = 50 + torch.randn(900, N_FEATURES)
    exact = pair(torch.float64)[1]
    expected = exact(x.double(), graph, basis=BASIS)
    errors = [(layer(x, graph, basis=BASIS).double() - expected).abs().max() for layer in (ours, plain)]
    assert errors[0] <= 3 * errors[1] + 1e-5
    for name in ("running_mean", "running_var"):
        assert_close(getattr(ours.bn1, name).double(), getattr(exact.bn1, name), 1e-5, name)


def without_statistics(layer):
    layer.bn1 = nn.BatchNorm1d(layer.bn1.num_features, track_running_stats=False)
    layer.bn2 = nn.BatchNorm1d(layer.bn2.num_features, track_running_stats=False)


def without_parameters(layer):
    layer.bn1 = nn.BatchNorm1d(layer.bn1.num_features, affine=False)
    layer.bn2 = nn.BatchNorm1d(layer.bn2.num_features, affine=False)


def without_either(layer):
    layer.bn1 = nn.BatchNorm1d(layer.bn1.num_features, affine=False, track_running_stats=False)


def other_eps(layer):
    layer.bn1.eps, layer.bn2.eps = 0.1, 0.01


def frozen(layer):
    """The first norm uses its running statistics while the rest trains."""
    layer.bn1.eval()


def tracking_switched_off(layer):
    """Normalises by the batch, leaves the running statistics alone: a known trick."""
    layer.bn1.track_running_stats = layer.bn2.track_running_stats = False


CHANGES = (without_statistics, without_parameters, without_either, other_eps, frozen, tracking_switched_off)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize("term", TERMS)
def test_other_batch_norms(term, gate, change):
    ours, plain = pair(change=change, gate=gate)
    compare(ours, plain, random_graph(), term, 1e-10, n_steps=2)
    compare(ours.eval(), plain.eval(), random_graph(), term, 1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize("term", TERMS)
def test_evaluation(term, gate, dtype):
    ours, plain = (layer.eval() for layer in pair(dtype, gate=gate))
    graph = random_graph()
    compare(ours, plain, graph, term, TOLERANCE[dtype])
    given, _ = features(term, graph, dtype)
    x = torch.randn(graph.n_atoms, N_FEATURES, dtype=dtype)
    with torch.no_grad():
        assert_close(ours(x, graph, **given), plain(x, graph, **given), TOLERANCE[dtype])
    with torch.inference_mode():
        assert ours(x, graph, **given).is_inference()


@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_edge_weights_are_repeated_edges(gate, training):
    """Values, gradients and running statistics."""
    rng = np.random.default_rng(0)
    edges, counts = np.stack([rng.integers(0, 6, 40), np.sort(rng.integers(0, 6, 40))]), rng.integers(1, 4, 40)
    distances, z = rng.uniform(1, 6, 40), np.full(6, 14)
    weighted = CrystalGraph.from_edges(edges, z, distances=distances, edge_weight=counts).torch()
    repeated = CrystalGraph.from_edges(edges.repeat(counts, axis=1), z, distances=distances.repeat(counts)).torch()
    one, plain = (layer.train(training) for layer in pair(gate=gate))
    x = torch.randn(6, N_FEATURES, dtype=torch.float64, requires_grad=True)
    found, expected = (
        (out := layer(x, graph, basis=BASIS), *torch.autograd.grad(out.square().sum(), (x, *layer.parameters())))
        for layer, graph in ((one, weighted), (plain, repeated))
    )
    for ours, theirs in zip((*found, *one.buffers()), (*expected, *plain.buffers()), strict=True):
        assert_close(ours, theirs, 1e-10)


def test_gradient_of_edge_weights():
    """They also count in the statistics."""
    graph = random_graph(n_atoms=4, n_edges=9)
    ours, _ = pair()
    x = torch.randn(4, N_FEATURES, dtype=torch.float64)

    def run(weights):
        given = CrystalGraph(**{name: getattr(graph, name) for name in FIELDS} | {"edge_weight": weights})
        return ours(x, given, edge_attr=edge_attr)

    edge_attr = torch.randn(9, N_BASIS, dtype=torch.float64)
    weights = (torch.rand(9, dtype=torch.float64) + 0.5).requires_grad_()
    assert torch.autograd.gradcheck(run, weights)


@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("term", TERMS)
def test_derivatives_of_derivatives(term, training, gate):
    """Through the exact batch statistics, in training."""
    graph = random_graph(n_atoms=4, n_edges=7)
    ours, _ = (layer.train(training) for layer in pair(gate=gate))
    given, edge_input = features(term, graph, torch.float64)
    x = torch.randn(4, N_FEATURES, dtype=torch.float64, requires_grad=True)
    parameters = dict(ours.named_parameters())
    names = ["fc_full.bias", "bn1.weight", "bn1.bias", "bn2.weight"]

    def run(x, value, *values):
        fields = {name: getattr(graph, name) for name in FIELDS}
        if term == "gaussian":
            fields["distances"] = value
        options = given if term == "gaussian" else {"edge_attr": value}
        changed = dict(zip(names, values, strict=True))
        return torch.func.functional_call(ours, changed, (x, CrystalGraph(**fields)), options)

    inputs = (x, edge_input, *(parameters[name] for name in names))
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, inputs, fast_mode=True)
