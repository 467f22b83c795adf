"""CGConv against torch_geometric's own: values, gradients, parameters, formats of edges."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cgfast.nn.cg_conv import CGConv

hypothesis = pytest.importorskip("hypothesis", reason="it draws the graphs")
pytest.importorskip("torch_geometric", reason="PyG is the oracle here")
from hypothesis import strategies as st  # noqa: E402
from torch_geometric import EdgeIndex  # noqa: E402
from torch_geometric import nn as pyg  # noqa: E402
from torch_geometric.data import Data  # noqa: E402
from torch_geometric.transforms import ToSparseTensor  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:Sparse (CS|BS|invariant):UserWarning")
AGGREGATIONS = ("add", "sum", "mean", "max")


def both(channels: Any, dim: int = 0, *args: Any, dtype: torch.dtype = torch.float64, **options: Any) -> tuple[Any, CGConv]:
    """PyG's layer and ours with the same random parameters and running statistics."""
    theirs = pyg.CGConv(channels, dim, *args, **options).to(dtype)
    ours = CGConv(channels, dim, *args, **options).to(dtype)
    generator = torch.Generator().manual_seed(5)
    for name, tensor in theirs.state_dict().items():
        if "running_var" in name:
            tensor.uniform_(0.5, 2.0, generator=generator)
        elif tensor.is_floating_point():
            tensor.normal_(0.0, 0.4, generator=generator)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def sample(
    n: int = 7, n_edges: int = 40, channels: int = 5, dim: int = 3, *, dtype: torch.dtype = torch.float64, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x, unsorted edges among the first n - 1 nodes (the last is isolated), edge features."""
    generator = torch.Generator().manual_seed(seed)
    edges = torch.randint(0, max(n - 1, 1), (2, n_edges), generator=generator)
    edges = torch.cat([edges, edges[:, :5], edges[:1, :3].repeat(2, 1)], dim=1) if n_edges else edges  # repeated, loops
    x = torch.randn(n, channels, generator=generator, dtype=torch.float64)
    return x.to(dtype), edges, torch.randn(edges.shape[1], dim, generator=generator, dtype=torch.float64).to(dtype)


def result(layer: Any, x: Any, edges: Any, edge_attr: torch.Tensor | None, **keywords: Any) -> dict[str, torch.Tensor]:
    """The output, the gradients of everything and the buffers afterwards."""
    parts = [t.detach().clone().requires_grad_() for t in (x if isinstance(x, tuple) else (x,))]
    attr = None if edge_attr is None else edge_attr.detach().clone().requires_grad_(edge_attr.is_floating_point())
    layer.zero_grad()
    out = layer(tuple(parts) if isinstance(x, tuple) else parts[0], edges, attr, **keywords)
    weights = torch.linspace(-1.0, 2.0, out.numel(), dtype=out.dtype).view_as(out)
    (out * weights).sum().backward()
    found = {"out": out.detach(), **{f"x{i}": part.grad for i, part in enumerate(parts)}}
    if attr is not None and attr.requires_grad:
        found["edge_attr"] = attr.grad
    found |= {name: parameter.grad.clone() for name, parameter in layer.named_parameters()}
    return found | {name: buffer.clone() for name, buffer in layer.named_buffers()}


def assert_equal(
    pair: tuple[Any, CGConv], x: Any, edges: Any, edge_attr: torch.Tensor | None = None, **tolerance: float
) -> None:
    theirs, ours = (result(layer, x, edges, edge_attr) for layer in pair)
    assert theirs.keys() == ours.keys()
    for name, expected in theirs.items():
        torch.testing.assert_close(ours[name], expected, msg=lambda text, n=name: f"{n}: {text}", **tolerance)


# --- values and gradients ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aggr", AGGREGATIONS)
@pytest.mark.parametrize("dim", [0, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_unsorted_edges(aggr, dim, bias):
    x, edges, edge_attr = sample()
    assert_equal(both(5, dim, aggr, bias=bias), x, edges, edge_attr if dim else None)


@pytest.mark.parametrize("aggr", AGGREGATIONS)
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_and_its_buffers(aggr, training):
    x, edges, edge_attr = sample()
    pair = both(5, 3, aggr, batch_norm=True)
    for layer in pair:
        layer.train(training)
    for _ in range(2):  # the second from the running statistics that the first left
        assert_equal(pair, x, edges, edge_attr)
    assert int(pair[1].bn.num_batches_tracked) == (2 if training else 0)


@pytest.mark.parametrize("aggr", AGGREGATIONS)
@pytest.mark.parametrize("dim", [0, 3])
def test_bipartite(aggr, dim):
    generator = torch.Generator().manual_seed(1)
    x = (torch.randn(9, 4, generator=generator).double(), torch.randn(6, 5, generator=generator).double())
    edges = torch.stack([torch.randint(0, n, (30,), generator=generator) for n in (9, 6)])
    edge_attr = torch.randn(30, 3, generator=generator).double() if dim else None
    assert_equal(both((4, 5), dim, aggr, batch_norm=True), x, edges, edge_attr)


@pytest.mark.parametrize("channels", [5, (5, 5), [5, 5]])
def test_one_tensor_or_the_same_twice(channels):
    x, edges, edge_attr = sample()
    pair = both(channels, 3)
    assert_equal(pair, x, edges, edge_attr)
    assert_equal(pair, (x, x.flip(0)), edges, edge_attr)
    torch.testing.assert_close(pair[1]([x, x], edges, edge_attr), pair[0]([x, x], edges, edge_attr))


@pytest.mark.parametrize("aggr", AGGREGATIONS)
def test_reversed_flow(aggr):
    x, edges, edge_attr = sample()
    assert_equal(both(5, 3, aggr, flow="target_to_source"), x, edges, edge_attr)
    assert_equal(both((4, 5), 3, aggr, flow="target_to_source"), (x[:, :4], x), edges, edge_attr)


@pytest.mark.parametrize("options", [{"node_dim": 0}, {"node_dim": -2}, {"aggr_kwargs": None}, {"decomposed_layers": 1}])
def test_options_that_change_nothing(options):
    x, edges, edge_attr = sample()
    pair = both(5, 3, **options)
    assert_equal(pair, x, edges, edge_attr)
    for name in ("channels", "dim", "batch_norm", "aggr", "flow", "node_dim", "decomposed_layers"):
        assert getattr(pair[1], name) == getattr(pair[0], name), name


@pytest.mark.parametrize("width", [1, 64, 70])
def test_float32(width):
    x, edges, edge_attr = sample(200, 2500, width, 41, dtype=torch.float32)
    assert_equal(both(width, 41, batch_norm=True, dtype=torch.float32), x, edges, edge_attr, rtol=5e-4, atol=5e-4)


@pytest.mark.parametrize("n", [0, 1, 4])
@pytest.mark.parametrize("aggr", AGGREGATIONS)
def test_no_edges(n, aggr):
    x, edges, edge_attr = sample(n, 0)
    assert_equal(both(5, 3, aggr), x, edges, edge_attr)


def test_no_nodes_with_batch_norm():
    x, edges, edge_attr = sample(0, 0)
    assert_equal(both(5, 3, batch_norm=True), x, edges, edge_attr)
    for layer in both(5, 3, batch_norm=True):
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            layer(torch.zeros(1, 5).double(), edges, edge_attr)


def test_messages_that_tie_share_the_gradient():
    """All edges have the same message, to the last bit: eighths of small numbers multiply and add without rounding."""
    x, edges, edge_attr = sample(7, 40, 8)
    pair = both(8, 3, "max")
    for layer in pair:
        layer.load_state_dict({name: (8 * value).round() / 8 for name, value in layer.state_dict().items()})
    assert_equal(pair, ((8 * x[:1]).round() / 8).repeat(7, 1), edges, edge_attr * 0)


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(
    n=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    edges=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=25),
    aggr=st.sampled_from(AGGREGATIONS),
    channels=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    dim=st.integers(0, 3),
    bias=st.booleans(),
)
def test_random_bipartite_graphs(n, edges, aggr, channels, dim, bias):
    index = torch.tensor([(i % n[0], j % n[1]) for i, j in edges], dtype=torch.int64).reshape(-1, 2).t()
    generator = torch.Generator().manual_seed(3)
    x = tuple(torch.randn(k, c, generator=generator, dtype=torch.float64) for k, c in zip(n, channels, strict=True))
    edge_attr = torch.randn(index.shape[1], dim, generator=generator, dtype=torch.float64) if dim else None
    assert_equal(both(channels, dim, aggr, bias=bias), x, index, edge_attr)


# --- formats of edges ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_integer_types_of_edge_index(dtype):
    x, edges, edge_attr = sample()
    theirs, ours = both(5, 3)
    torch.testing.assert_close(ours(x, edges.to(dtype), edge_attr), theirs(x, edges.to(dtype), edge_attr))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.int64])
def test_narrower_edge_features_are_promoted(dtype):
    x, edges, edge_attr = sample()
    assert_equal(both(5, 3), x, edges, (3 * edge_attr).to(dtype))


def unique_edges() -> tuple[torch.Tensor, torch.Tensor]:
    """Edges as a sparse matrix has them, from 8 sources to 6 targets: each once, by target."""
    edges = torch.unique(torch.randint(0, 6, (2, 30), generator=torch.Generator().manual_seed(2)), dim=1)
    edges = edges[:, torch.argsort(edges[1], stable=True)]
    return edges, torch.randn(edges.shape[1], 3, generator=torch.Generator().manual_seed(4)).double()


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
@pytest.mark.parametrize("aggr", ["add", "max"])
def test_transposed_adjacency(layout, aggr):
    edges, edge_attr = unique_edges()
    x = (torch.randn(8, 5).double(), torch.randn(6, 5).double())
    weights = torch.rand(edges.shape[1]).double()
    adj_t = torch.sparse_coo_tensor(edges.flip(0), weights, (6, 8)).coalesce()
    adj_t = adj_t.to_sparse_csr() if layout == torch.sparse_csr else adj_t
    assert_equal(both(5, 0, aggr), x, adj_t)  # one number per edge does not take part, as in PyG
    assert_equal(both(5, 3, aggr), x, adj_t, edge_attr)


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_adjacency_with_edge_features(layout):
    edges, edge_attr = unique_edges()
    adj_t = ToSparseTensor(attr="edge_attr")(Data(edge_index=edges, edge_attr=edge_attr, num_nodes=6)).adj_t
    if layout == torch.sparse_csr:
        row_ptr = torch.searchsorted(edges[1].contiguous(), torch.arange(7))
        adj_t = torch.sparse_csr_tensor(row_ptr, edges[0].contiguous(), edge_attr, (6, 6, 3))
    assert adj_t.layout == layout
    x = torch.randn(6, 5).double()
    assert_equal(both(5, 3), x, adj_t)
    assert_equal(both(5, 3), x, adj_t, edge_attr.flip(0))  # what is given wins


def test_edge_index_of_pyg():
    x, edges, edge_attr = sample()
    for size in (None, (7, 7), (None, 7)):
        assert_equal(both(5, 3), x, EdgeIndex(edges, sparse_size=size), edge_attr)
    with pytest.raises(ValueError, match=r"edge_index must be of size \(7, 7\) like x, got \(7, 8\)"):
        CGConv(5, 3).double()(x, EdgeIndex(edges, sparse_size=(7, 8)), edge_attr)


# --- parameters ----------------------------------------------------------------------------------------------------------

CONSTRUCTIONS = [((5,), {}), ((5, 3), {"bias": False}), (((4, 6), 2, "max", True), {}), ((8, 41, "mean", True, False), {})]


@pytest.mark.parametrize(("args", "options"), CONSTRUCTIONS)
def test_same_seed_same_weights(args, options):
    layers = []
    for kind in (pyg.CGConv, CGConv):
        torch.manual_seed(17)
        layers += [kind(*args, **options), torch.rand(3)]  # the generator is left in the same state
    theirs, after_theirs, ours, after_ours = layers
    assert torch.equal(after_theirs, after_ours)
    assert str(torch.nn.Sequential(theirs)) == str(torch.nn.Sequential(ours))
    assert list(expected := theirs.state_dict()) == list(ours.state_dict())
    assert [name for name, _ in theirs.named_parameters()] == [name for name, _ in ours.named_parameters()]
    assert all(torch.equal(expected[name], value) for name, value in ours.state_dict().items())


@pytest.mark.parametrize(("args", "options"), CONSTRUCTIONS)
def test_state_dicts_both_ways(args, options):
    first, second = CGConv(*args, **options), pyg.CGConv(*args, **options)
    second.load_state_dict(first.state_dict(), strict=True)
    (third := CGConv(*args, **options)).load_state_dict(second.state_dict(), strict=True)
    assert all(torch.equal(value, third.state_dict()[name]) for name, value in first.state_dict().items())


def test_reset_parameters():
    theirs, ours = both(5, 3, batch_norm=True, dtype=torch.float32)
    for layer in (theirs, ours):
        torch.manual_seed(3)
        layer.reset_parameters()
    assert all(torch.equal(value, ours.state_dict()[name]) for name, value in theirs.state_dict().items())
    assert torch.equal(ours.bn.running_mean, torch.zeros(5))


def test_the_loss_curve_of_a_model_with_either():
    x, edges, edge_attr = sample(30, 300, 5, 3)
    target = x.sum(1, keepdim=True).sin()
    curves = []
    for kind in (pyg.CGConv, CGConv):
        torch.manual_seed(0)
        model = torch.nn.ModuleList([kind(5, 3, batch_norm=True), kind(5, 3, "mean"), torch.nn.Linear(5, 1)]).double()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        losses = []
        for _ in range(20):
            loss = (model[2](model[1](model[0](x, edges, edge_attr).relu(), edges, edge_attr)) - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        curves.append(losses)
    assert curves[0][-1] < 0.5 * curves[0][0]
    assert curves[1] == pytest.approx(curves[0], rel=1e-9)


@pytest.mark.filterwarnings("ignore:There exist node types:UserWarning")
def test_hetero_conv():
    models = []
    for kind in (pyg.CGConv, CGConv):
        torch.manual_seed(0)
        models.append(pyg.HeteroConv({("a", "to", "b"): kind((4, 5)), ("b", "to", "b"): kind(5)}))
    x = {"a": torch.randn(6, 4), "b": torch.randn(3, 5)}
    edges = {("a", "to", "b"): torch.tensor([[5, 0, 1], [0, 0, 2]]), ("b", "to", "b"): torch.tensor([[0, 1], [2, 1]])}
    expected, found = (model(x, edges)["b"] for model in models)
    torch.testing.assert_close(found, expected)
