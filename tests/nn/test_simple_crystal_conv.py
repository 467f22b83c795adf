"""The ungated convolution against the formula of the paper, edge by edge with explicit concatenation."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch

from cgfast import CrystalGraph
from cgfast.basis import GaussianBasis
from cgfast.nn import simple_crystal_conv
from cgfast.nn.simple_crystal_conv import SimpleCrystalConv, neighbor_sum

BASIS = GaussianBasis(0.0, 6.0, 0.5, 0.7)
K = BASIS.n_centres
F = 5


@pytest.fixture(autouse=True)
def one_thread():
    """The tensors are tiny: torch's threads would only wait for each other, for minutes on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def graph_of(n=9, e=40, seed=0, *, weighted=False) -> CrystalGraph:
    """Atoms 0 and n - 1 receive nothing, some pairs have several edges, and there are self edges."""
    rng = np.random.default_rng(seed)
    edges = rng.integers(0, n, (2, e))
    edges[1] = rng.integers(1, n - 1, e)
    edges[:, 0] = 3, 3
    edges[:, 1] = edges[:, 2]
    weight = rng.random(e) if weighted else None
    graph = CrystalGraph.from_edges(edges, np.full(n, 6), distances=rng.uniform(0.5, 6, e), edge_weight=weight)
    return graph.torch()


def naive(conv: SimpleCrystalConv, x, graph: CrystalGraph, features) -> torch.Tensor:
    """Eq. 4: g((sum over edges of v_j (+) u) W_c + v_i W_s + b), one edge after the other."""
    w_c, w_s, b = conv.lin_neighbors.weight.T, conv.lin_self.weight.T, conv.lin_self.bias
    rows = []
    for i in range(len(x)):
        total = x.new_zeros(F + K)
        for e in range(graph.n_edges):
            if int(graph.edge_index[1, e]) == i:
                weight = 1.0 if graph.edge_weight is None else graph.edge_weight[e].to(x.dtype)
                total = total + weight * torch.cat([x[graph.edge_index[0, e]], features[e]])
        rows.append(torch.log1p(torch.exp(total @ w_c + x[i] @ w_s + b)))
    return torch.stack(rows)


def conv_and_x(n, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    return SimpleCrystalConv(F, K).to(dtype), torch.randn(n, F, dtype=dtype)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("form", ["edge_attr", "basis"])
def test_values_and_gradients_are_those_of_the_formula(form, weighted):
    graph = graph_of(weighted=weighted)
    conv, x = conv_and_x(graph.n_atoms)
    edge_attr = torch.randn(graph.n_edges, K, dtype=torch.float64)
    results = []
    for use in ("ours", "naive"):
        leaf = x.clone().requires_grad_()
        given = (edge_attr if form == "edge_attr" else graph.distances).clone().requires_grad_()
        leaves = [leaf, given, *conv.parameters()]
        g = dataclasses.replace(graph, distances=given) if form == "basis" else graph
        if weighted:
            g = dataclasses.replace(g, edge_weight=graph.edge_weight.clone().requires_grad_())
            leaves.append(g.edge_weight)
        if use == "ours":
            out = conv(leaf, g, **({"edge_attr": given} if form == "edge_attr" else {"basis": BASIS}))
        else:
            out = naive(conv, leaf, g, given if form == "edge_attr" else BASIS(given))
        probe = torch.cos(torch.arange(out.numel(), dtype=out.dtype)).view_as(out)
        results.append([out, *torch.autograd.grad((out * probe).sum(), leaves)])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_first_and_second_derivatives_against_finite_differences():
    graph = graph_of(n=5, e=9, weighted=True)
    conv, x = conv_and_x(5)
    edge_attr = torch.randn(9, K, dtype=torch.float64)

    def dense(x, attr, weight):
        return conv(x, dataclasses.replace(graph, edge_weight=weight), edge_attr=attr)

    def expanded(x, distances):
        return conv(x, dataclasses.replace(graph, distances=distances), basis=BASIS)

    inputs = [t.clone().requires_grad_() for t in (x, edge_attr, graph.edge_weight)]
    pair = [t.clone().requires_grad_() for t in (x, graph.distances)]
    assert torch.autograd.gradcheck(dense, inputs, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(dense, inputs)
    assert torch.autograd.gradcheck(expanded, pair, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(expanded, pair)


@pytest.mark.parametrize("weighted", [False, True])
def test_gaussians_in_chunks(weighted, monkeypatch):
    """Without a gradient to the distances rows are expanded a few at a time; one row here is longer than a chunk."""
    graph = graph_of(n=30, e=200, seed=1, weighted=weighted)
    edges = graph.edge_index.clone()
    edges[1, 100:] = edges[1, 100]  # sorted by target already
    graph = CrystalGraph.from_edges(edges, graph.atomic_numbers, distances=graph.distances, edge_weight=graph.edge_weight)
    conv, x = conv_and_x(30)
    with torch.no_grad():
        expected = naive(conv, x, graph, BASIS(graph.distances))
    calls = []
    monkeypatch.setattr(simple_crystal_conv, "CHUNK_EDGES", 16)
    monkeypatch.setattr(
        GaussianBasis, "__call__", lambda _, d, original=GaussianBasis.__call__: calls.append(len(d)) or original(BASIS, d)
    )
    out = conv(x, graph, basis=BASIS)
    assert sum(calls) == 200
    assert max(calls) >= 100
    assert sorted(calls)[-2] <= simple_crystal_conv.CHUNK_EDGES
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-12)
    out.sum().backward()
    chunked = [p.grad.clone() for p in conv.parameters()]
    conv.zero_grad()
    followed = dataclasses.replace(graph, distances=graph.distances.clone().requires_grad_())
    conv(x, followed, basis=BASIS).sum().backward()
    for a, p in zip(chunked, conv.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad, rtol=1e-10, atol=1e-12)
    assert followed.distances.grad.abs().min() > 0


def test_no_tensor_of_a_row_per_edge_is_made():
    """The largest tensor of a training step on fixed distances belongs to the atoms, the chunk or the list of edges."""
    from torch.utils._python_dispatch import TorchDispatchMode

    n, e, width, largest = 50, 20_000, 64, []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            found = out if isinstance(out, list | tuple) else [out]
            largest.extend(t.numel() for t in found if isinstance(t, torch.Tensor))
            return out

    graph = graph_of(n, e)
    conv, x = SimpleCrystalConv(width, K), torch.randn(n, width, requires_grad=True)
    with Sizes():
        conv(x, graph, basis=BASIS).sum().backward()
    assert x.grad is not None
    assert max(largest) <= max(simple_crystal_conv.CHUNK_EDGES * K, 2 * e) < e * K < e * width


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_same_bits_for_any_number_of_threads(dtype):
    graph = graph_of(n=300, e=5000, weighted=True)
    x = torch.randn(300, F, dtype=dtype)
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        leaves = [x.clone().requires_grad_(), graph.edge_weight.to(dtype).requires_grad_()]
        out = neighbor_sum(leaves[0], graph.source, graph.row_ptr, leaves[1])
        results.append([out, *torch.autograd.grad(out.square().sum(), leaves)])
    assert results[0][0].dtype == dtype
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_types(dtype):
    """Sums add up in float32: a thousand ones are a thousand, where bfloat16 stops at 256."""
    row_ptr = torch.tensor([0, 1000])
    assert neighbor_sum(torch.ones(1, 1, dtype=dtype), torch.zeros(1000, dtype=torch.int64), row_ptr).item() == 1000
    two = torch.tensor([[1.0], [-1.0]], dtype=dtype)
    weight = torch.tensor([1 + 2**-12, 1.0], dtype=torch.float64).repeat_interleave(4096)
    source = torch.arange(2).repeat_interleave(4096)
    assert neighbor_sum(two, source, torch.tensor([0, 8192]), weight).item() == 1, "weights keep their digits"
    graph = graph_of(weighted=True)
    conv, x = conv_and_x(graph.n_atoms, torch.float32)
    expected = naive(conv, x, graph, BASIS(graph.distances).float())
    out = conv.to(dtype)(x.to(dtype), graph, basis=BASIS)
    assert out.dtype == dtype
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(out.float(), expected, rtol=20 * eps, atol=20 * eps)


@pytest.mark.parametrize("n", [0, 1, 4])
@pytest.mark.parametrize("form", ["edge_attr", "basis"])
def test_graphs_without_edges(n, form):
    graph = CrystalGraph.from_edges(np.zeros((2, 0), int), np.full(n, 6), distances=np.zeros(0)).torch()
    conv, x = conv_and_x(n)
    x.requires_grad_()
    out = conv(x, graph, **({"edge_attr": x.new_zeros(0, K)} if form == "edge_attr" else {"basis": BASIS}))
    torch.testing.assert_close(out, torch.log1p(torch.exp(conv.lin_self(x))))
    out.sum().backward()
    assert x.grad.shape == (n, F)
    assert conv.lin_neighbors.weight.grad.abs().sum() == 0


def test_compiled_and_copied_layers_agree():
    graph = graph_of(weighted=True)
    conv, x = conv_and_x(graph.n_atoms)
    compiled = torch.compile(copy.deepcopy(conv), fullgraph=True, backend="aot_eager")
    x1, x2 = (x.clone().requires_grad_() for _ in range(2))
    expected, out = conv(x1, graph, basis=BASIS), compiled(x2, graph, basis=BASIS)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    expected.square().sum().backward()
    out.square().sum().backward()
    torch.testing.assert_close(x2.grad, x1.grad, rtol=1e-12, atol=1e-12)


def test_it_learns():
    """Two layers and a mean fit a function of the neighbours that no layer without edges could."""
    graph = graph_of(n=40, e=400)
    target = torch.zeros(40).index_add(0, graph.target, (graph.distances < 3).float())
    torch.manual_seed(0)
    layers = torch.nn.ModuleList([SimpleCrystalConv(F, K) for _ in range(2)])
    last = torch.nn.Linear(F, 1)
    optimizer = torch.optim.Adam([*layers.parameters(), *last.parameters()], 0.02)
    losses = []
    for _ in range(150):
        x = torch.ones(40, F)
        for layer in layers:
            x = layer(x, graph, basis=BASIS)
        loss = (last(x)[:, 0] - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * float(target.var())


def test_bad_input_is_refused_by_name():
    graph = graph_of()
    conv, x = conv_and_x(graph.n_atoms)
    attr = torch.zeros(graph.n_edges, K, dtype=torch.float64)
    beyond = dataclasses.replace(graph, edge_index=graph.edge_index + 5)
    for call, message in (
        (lambda: SimpleCrystalConv(0, K), "channels must be a whole number of at least 1, got 0"),
        (lambda: SimpleCrystalConv(F, 2.0), "edge_channels must be a whole number of at least 1, got 2.0"),
        (lambda: conv(x, graph), "give exactly one of edge_attr and basis, got none"),
        (lambda: conv(x, graph, edge_attr=attr, basis=BASIS), "give exactly one of edge_attr and basis, got both"),
        (lambda: conv(x[1:], graph, basis=BASIS), r"x must have shape \(N, F\) = \(9, 5\), got \(8, 5\)"),
        (lambda: conv(x, graph, edge_attr=attr[1:]), r"edge_attr must have shape \(40, 13\), got \(39, 13\)"),
        (lambda: conv(x, graph, basis=GaussianBasis()), "basis must have edge_channels = 13 centres, got 41"),
        (lambda: conv(x, dataclasses.replace(graph, distances=None), basis=BASIS), "graph must have distances"),
        (lambda: conv(x, beyond, edge_attr=attr), r"source must lie in \[0, 9\), got values from"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
