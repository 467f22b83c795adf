"""CrystalGraphConv as a module: the smallest graphs, what it refuses, copies, precision, determinism."""

from __future__ import annotations

import copy
import io
import pickle
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from cgfast.graph import CrystalGraph
from cgfast.nn import CrystalGraphConv, GaussianBasis

BASIS = GaussianBasis(0.0, 6.0, 0.5, 0.6)
N_FEATURES, N_BASIS = 6, BASIS.n_centres


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def random_graph(n_atoms=12, n_edges=150, seed=0, **extras):
    rng = np.random.default_rng(seed)
    edges = torch.from_numpy(np.stack([rng.integers(0, n_atoms, n_edges), rng.integers(0, n_atoms, n_edges)]))
    distances = torch.from_numpy(rng.uniform(0.5, 7.0, n_edges))
    return CrystalGraph.from_edges(edges, torch.full((n_atoms,), 6), distances=distances, **extras)


def buffers(layer):
    return {name: buffer.clone() for name, buffer in layer.named_buffers()}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def step(layer, graph, x, **features):
    """(values, gradients by name) of one pass."""
    layer.zero_grad()
    out = layer(x, graph, **features)
    out.square().sum().backward()
    return out.detach(), {name: parameter.grad.clone() for name, parameter in layer.named_parameters()}


@pytest.mark.parametrize("tracks", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("gate", [False, True])
def test_one_edge_has_no_statistics(gate, training, tracks):
    """As torch's batch norm: an error wherever the batch's own statistics are used, and nothing changed."""
    layer = CrystalGraphConv(N_FEATURES, N_BASIS, gate=gate)
    layer.bn1 = nn.BatchNorm1d(layer.bn1.num_features, track_running_stats=tracks)
    layer.train(training)
    graph, x = random_graph(n_edges=1), torch.randn(12, N_FEATURES)
    if not training and tracks:
        assert layer(x, graph, basis=BASIS).isfinite().all()
        return
    before = buffers(layer)
    with pytest.raises(ValueError, match="more than 1"):
        layer(x, graph, basis=BASIS)
    assert_equal(buffers(layer), before)
    with pytest.raises(ValueError, match="more than 1"):
        layer.bn1(torch.randn(1, layer.bn1.num_features))


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_weights_of_one_edge_have_no_statistics(weight):
    layer = CrystalGraphConv(N_FEATURES, N_BASIS)
    before = buffers(layer)
    graph = random_graph(n_edges=2, edge_weight=torch.full((2,), weight / 2))
    with pytest.raises(ValueError, match="edge_weight must sum to more than 1"):
        layer(torch.randn(12, N_FEATURES), graph, basis=BASIS)
    assert_equal(buffers(layer), before)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize("n_atoms", [0, 5])
def test_no_edges(n_atoms, gate, training):
    layer = CrystalGraphConv(N_FEATURES, N_BASIS, gate=gate).train(training)
    graph = random_graph(n_atoms, 0) if n_atoms else empty_graph()
    x = torch.randn(n_atoms, N_FEATURES, requires_grad=True)
    before = buffers(layer.bn1)
    out = layer(x, graph, basis=BASIS)
    torch.testing.assert_close(out, softplus(x + layer.bn2.bias))  # a sum of nothing is its own mean
    out.sum().backward()
    assert x.grad.shape == x.shape
    plain = nn.BatchNorm1d(layer.bn1.num_features).train(training)
    plain(torch.zeros(0, layer.bn1.num_features))
    assert layer.bn1.num_batches_tracked == plain.num_batches_tracked
    for name in ("running_mean", "running_var"):
        assert torch.equal(getattr(layer.bn1, name), before[name])
        assert torch.equal(getattr(plain, name), before[name])
    for parameter in layer.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()


def empty_graph():
    return CrystalGraph.from_edges(torch.zeros(2, 0, dtype=torch.int64), torch.zeros(0), distances=torch.zeros(0))


def test_one_atom():
    """Its edges have statistics, the atom has none: as in the 2018 code, an error from the second norm, in training only."""
    layer = CrystalGraphConv(N_FEATURES, N_BASIS)
    graph, x = random_graph(1, 8), torch.randn(1, N_FEATURES)
    before = buffers(layer.bn2)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        layer(x, graph, basis=BASIS)
    assert all(torch.equal(layer.bn2.get_buffer(name), before[name]) for name in ("running_mean", "running_var"))
    assert layer.eval()(x, graph, basis=BASIS).shape == (1, N_FEATURES)


def test_refuses():
    layer, graph, x = CrystalGraphConv(N_FEATURES, N_BASIS), random_graph(), torch.randn(12, N_FEATURES)
    edge_attr = torch.randn(150, N_BASIS)
    before = buffers(layer)
    for features, message in (
        ({}, "exactly one of edge_attr and basis, got none"),
        ({"basis": BASIS, "edge_attr": edge_attr}, "exactly one of edge_attr and basis, got both"),
        ({"basis": GaussianBasis()}, "one row per centre of the basis (41)"),
        ({"edge_attr": edge_attr[:-1]}, "edge_attr must be a torch.float32 tensor of shape (150, 13)"),
        ({"edge_attr": edge_attr.double()}, "edge_attr must be a torch.float32 tensor"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            layer(x, graph, **features)
    with pytest.raises(ValueError, match="row_ptr must be"):
        layer(torch.randn(11, N_FEATURES), graph, basis=BASIS)
    bare = CrystalGraph.from_edges(graph.edge_index, graph.atomic_numbers)
    with pytest.raises(ValueError, match="graph must have distances"):
        layer(x, bare, basis=BASIS)
    assert_equal(buffers(layer), before)


def test_table_of_elements():
    """Rows of a table, looked up behind the products: the same values, statistics and gradients."""
    graph, table = random_graph(), torch.randn(4, N_FEATURES, dtype=torch.float64, requires_grad=True)
    elements = torch.arange(12) % 4
    one = CrystalGraphConv(N_FEATURES, N_BASIS).double()
    two = copy.deepcopy(one)
    found = one(table, graph, basis=BASIS, elements=elements)
    expected = two(table[elements], graph, basis=BASIS)
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(
        torch.autograd.grad(found.square().sum(), (table, *one.parameters())),
        torch.autograd.grad(expected.square().sum(), (table, *two.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)
    for ours, theirs in zip(one.buffers(), two.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("gate", [False, True])
def test_copies(gate, training):
    layer = CrystalGraphConv(N_FEATURES, N_BASIS, gate=gate).train(training)
    graph, x = random_graph(), torch.randn(12, N_FEATURES)
    layer(x, graph, basis=BASIS)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    loaded = CrystalGraphConv(N_FEATURES, N_BASIS, gate=gate).train(training)
    loaded.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), loaded):  # noqa: S301 - our own bytes
        original = copy.deepcopy(layer)
        (out, gradients), (other_out, other_gradients) = (step(c, graph, x, basis=BASIS) for c in (original, other))
        assert torch.equal(other_out, out)
        assert_equal(other_gradients, gradients)
        assert_equal(buffers(other), buffers(original))


def test_names_and_repr():
    layer = CrystalGraphConv(64, 41)
    assert list(dict(layer.named_parameters())) == ["fc_full.weight", "fc_full.bias", *NORMS]
    assert layer.fc_full.weight.shape == (128, 169)
    assert repr(layer).startswith("CrystalGraphConv(\n  64, 41\n")
    assert "64, 41, gate=False" in repr(CrystalGraphConv(64, 41, gate=False))
    assert CrystalGraphConv(64, 41, gate=False).fc_full.weight.shape == (64, 169)


NORMS = ["bn1.weight", "bn1.bias", "bn2.weight", "bn2.bias"]


@pytest.mark.parametrize("training", [False, True])
def test_same_bits_on_every_run_and_with_deterministic_algorithms(training):
    layer = CrystalGraphConv(N_FEATURES, N_BASIS).train(training)
    graph, x = random_graph(200, 5000), torch.randn(200, N_FEATURES)
    copies = [copy.deepcopy(layer) for _ in range(3)]
    results = [step(one, graph, x, basis=BASIS) for one in copies[:2]]
    torch.use_deterministic_algorithms(True)  # also fills new tensors with NaN
    try:
        results.append(step(copies[2], graph, x, basis=BASIS))
    finally:
        torch.use_deterministic_algorithms(False)
    for out, gradients in results[1:]:
        assert torch.equal(out, results[0][0])
        assert_equal(gradients, results[0][1])
    assert_equal(buffers(copies[1]), buffers(copies[0]))
    assert_equal(buffers(copies[2]), buffers(copies[0]))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("term", ["dense", "gaussian"])
def test_autocast(term, training):
    """Products in bfloat16; statistics, sums and parameters stay float32."""
    layer = CrystalGraphConv(N_FEATURES, N_BASIS).train(training)
    full = copy.deepcopy(layer)
    graph, x = random_graph(), torch.randn(12, N_FEATURES)
    features = {"basis": BASIS} if term == "gaussian" else {"edge_attr": torch.randn(150, N_BASIS)}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = layer(x, graph, **features)
    out.float().square().sum().backward()
    expected, gradients = step(full, graph, x, **features)
    torch.testing.assert_close(out.detach().float(), expected, rtol=0.05, atol=0.05)
    for name, parameter in layer.named_parameters():
        assert parameter.grad.dtype == torch.float32
        if training and name == "fc_full.bias":  # no gradient but rounding: the norm subtracts it
            continue
        size = float(gradients[name].abs().max())
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=0.1, atol=0.1 * size + 0.05)
    for found, wanted in zip(layer.buffers(), full.buffers(), strict=True):
        assert found.dtype == wanted.dtype
        torch.testing.assert_close(found, wanted, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_half_precision_model(training, gate, dtype):
    full = CrystalGraphConv(N_FEATURES, N_BASIS, gate=gate).train(training)
    layer = copy.deepcopy(full).to(dtype)
    graph, x = random_graph(), torch.randn(12, N_FEATURES).to(dtype)
    out = layer(x, graph, basis=BASIS)
    assert out.dtype == dtype
    out.float().square().sum().backward()
    expected, _ = step(full, graph, x.float(), basis=BASIS)
    torch.testing.assert_close(out.detach().float(), expected, rtol=0.1, atol=0.1)
    assert all(parameter.grad.dtype == dtype for parameter in layer.parameters())
    for found, wanted in zip(layer.buffers(), full.buffers(), strict=True):
        torch.testing.assert_close(found.to(wanted.dtype), wanted, rtol=0.05, atol=0.05)
