"""CGConv as a module: constructor, autocast, compile, export, copies, determinism."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch

from cgfast import Crystals, GraphSpec, build_graphs
from cgfast.basis import GaussianBasis
from cgfast.nn.cg_conv import CGConv

BASIS = GaussianBasis(0.0, 4.0, 0.5)
EDGES = torch.tensor([[0, 3, 2, 2, 1, 1, 0, 3], [1, 1, 0, 2, 3, 0, 2, 0]])
AGGREGATIONS = ("add", "mean", "max")


def layer(*args, **options) -> CGConv:
    torch.manual_seed(0)
    return CGConv(*args, **options)


def sample(n: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 5, generator=generator), torch.rand(EDGES.shape[1], 9, generator=generator)


def graph():
    positions = [[0.1, 0.0, 0.0], [1.5, 1.2, 1.4], [0.2, 1.9, 0.4], [2.0, 0.3, 2.1], [0.9, 2.2, 2.3]]
    return build_graphs(Crystals.from_arrays(positions, [[3.0, 0, 0], [0.4, 3.2, 0], [0, 0.3, 3.1]], [1] * 5), GraphSpec(5, 4))


# --- constructor ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"aggr": None}, TypeError, "aggr must be one of the strings add, sum, mean, max, got None"),
        ({"aggr": ["add", "max"]}, TypeError, "aggr must be one of the strings"),
        ({"aggr": "median"}, ValueError, "aggr must be one of add, sum, mean, max, got 'median'"),
        ({"flow": "sideways"}, ValueError, "flow must be one of source_to_target, target_to_source, got 'sideways'"),
        ({"node_dim": 1}, TypeError, "node_dim must be -2 or 0, the rows of x, got 1"),
        ({"decomposed_layers": 2}, TypeError, "decomposed_layers must be 1"),
        ({"aggr_kwargs": {"learn": True}}, TypeError, "aggr_kwargs must be None"),
        ({"colour": "red"}, TypeError, "unexpected keyword argument 'colour'"),
        ({"channels": 0}, ValueError, "channels must be a whole number of at least 1, or a pair of them, got 0"),
        ({"channels": (4, 5, 6)}, ValueError, "channels must be"),
        ({"channels": 4.0}, ValueError, "channels must be"),
        ({"channels": (4, True)}, ValueError, "channels must be"),
        ({"dim": -1}, ValueError, "dim must be a whole number of at least 0, got -1"),
        ({"dim": 2.5}, ValueError, "dim must be"),
        ({"dim": 8, "basis": BASIS}, ValueError, "basis must be a GaussianBasis with dim=8 centres, got 9 centres"),
        ({"dim": 8, "basis": "gauss"}, ValueError, "basis must be a GaussianBasis with dim=8 centres, got str"),
    ],
)
def test_constructor_refuses(options, error, message):
    with pytest.raises(error, match=message):
        CGConv(**{"channels": 5, **options})


# --- precision -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("aggr", AGGREGATIONS)
def test_autocast(dtype, aggr):
    x, edge_attr = sample()
    conv = layer(5, 9, aggr, batch_norm=True)
    expected = conv(x, EDGES, edge_attr)
    expected.sum().backward()
    gradients = [p.grad.clone() for p in conv.parameters()]
    conv = layer(5, 9, aggr, batch_norm=True)
    with torch.autocast("cpu", dtype):
        out = conv(x, EDGES, edge_attr)
        short = conv(x, EDGES, edge_attr.to(dtype))
    assert out.dtype == short.dtype == torch.float32  # as PyG's: x is float32, and it is added last
    out.sum().backward()
    torch.testing.assert_close(out, expected, rtol=0.1, atol=0.1)
    torch.testing.assert_close(short, expected, rtol=0.1, atol=0.1)
    assert not torch.equal(out, expected)
    for parameter, gradient in zip(conv.parameters(), gradients, strict=True):
        assert parameter.grad.dtype == torch.float32
        torch.testing.assert_close(parameter.grad, gradient, rtol=0.2, atol=0.2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("aggr", AGGREGATIONS)
def test_half_precision(dtype, aggr):
    x, edge_attr = sample()
    conv = layer(5, 9, aggr)
    expected = conv(x, EDGES, edge_attr)
    out = copy.deepcopy(conv).to(dtype)(x.to(dtype), EDGES, edge_attr.to(dtype))
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_distances_and_weights_of_either_precision(dtype):
    """A graph has float64 distances whatever the layer's dtype."""
    g, conv = graph().torch(), layer(5, 9).to(dtype)
    x = sample()[0].to(dtype)
    expected = conv(x, g.edge_index, BASIS(g.distances).to(dtype))
    weight = torch.ones(g.n_edges, dtype=torch.float64)
    torch.testing.assert_close(conv(x, g, basis=BASIS, edge_weight=weight), expected)
    torch.testing.assert_close(conv(x, g.edge_index, distances=g.distances.float(), basis=BASIS), expected)


# --- torch's tools -------------------------------------------------------------------------------------------------------


def call(conv: CGConv, edges, x: torch.Tensor, edge_attr: torch.Tensor) -> torch.Tensor:
    if isinstance(edges, torch.Tensor):
        return conv(x, edges, edge_attr)
    return conv(x, edges, basis=BASIS)


@pytest.mark.parametrize("aggr", AGGREGATIONS)
@pytest.mark.parametrize("form", ["edges", "graph"])
def test_compile(aggr, form):
    torch.compiler.reset()
    x, edge_attr = sample()
    edges = EDGES if form == "edges" else graph().torch()
    conv, twin = layer(5, 9, aggr, batch_norm=True), layer(5, 9, aggr, batch_norm=True)
    compiled = torch.compile(call, fullgraph=True, dynamic=True, backend="aot_eager")
    for layers in ((compiled, conv), (call, twin)):
        layers[0](layers[1], edges, x, edge_attr).square().sum().backward()
    for (name, parameter), other in zip(conv.named_parameters(), twin.parameters(), strict=True):
        # Products of atoms and weights are torch's where it traces, and ours where it does not.
        torch.testing.assert_close(parameter.grad, other.grad, rtol=1e-4, atol=1e-4, msg=lambda text, n=name: f"{n}: {text}")
    if form == "edges":  # another graph, another number of atoms: the same compiled code
        x = torch.cat([x, x])
        edges, edge_attr = torch.cat([EDGES, EDGES + 5, EDGES[:, :1]], 1), torch.cat([edge_attr, edge_attr, edge_attr[:1]])
        conv.load_state_dict(twin.state_dict())
        torch.testing.assert_close(compiled(conv, edges, x, edge_attr), call(twin, edges, x, edge_attr))


@pytest.mark.slow
@pytest.mark.parametrize("aggr", ["add", "mean"])
def test_compile_with_inductor(aggr):
    torch.compiler.reset()
    x, edge_attr = sample()
    conv, twin = layer(5, 9, aggr, batch_norm=True), layer(5, 9, aggr, batch_norm=True)
    compiled = torch.compile(conv, fullgraph=True, dynamic=True)
    torch.testing.assert_close(compiled(x, EDGES, edge_attr), twin(x, EDGES, edge_attr))


@pytest.mark.parametrize("aggr", AGGREGATIONS)
def test_export(aggr):
    x, edge_attr = sample()
    conv = layer(5, 9, aggr, batch_norm=True).eval()
    n, n_edges = torch.export.Dim("n", min=2), torch.export.Dim("n_edges", min=2)
    program = torch.export.export(
        conv, (x, EDGES, edge_attr), dynamic_shapes={"x": {0: n}, "edge_index": {1: n_edges}, "edge_attr": {0: n_edges}}
    )
    x, edges, edge_attr = torch.cat([x, x]), torch.cat([EDGES + 5, EDGES], 1), torch.cat([edge_attr, edge_attr + 1])
    torch.testing.assert_close(program.module()(x, edges, edge_attr), conv(x, edges, edge_attr))


def test_export_with_a_graph():
    conv, g, x = layer(5, 9, basis=BASIS).eval(), graph().torch(), sample()[0]
    program = torch.export.export(conv, (x, g))
    torch.testing.assert_close(program.module()(2 * x, g), conv(2 * x, g))


@pytest.mark.parametrize("basis", [None, BASIS])
def test_copies(basis):
    x, edge_attr = sample()
    conv = layer(5, 9, "mean", batch_norm=True, bias=False, flow="target_to_source", basis=basis).eval()
    torch.save(conv, stream := io.BytesIO())
    stream.seek(0)
    for other in (copy.deepcopy(conv), pickle.loads(pickle.dumps(conv)), torch.load(stream, weights_only=False)):  # noqa: S301
        assert repr(other) == repr(conv)
        assert other.basis == basis
        assert vars(other).keys() == vars(conv).keys()
        assert torch.equal(other(x, EDGES, edge_attr), conv(x, EDGES, edge_attr))
        assert not {id(p) for p in other.parameters()} & {id(p) for p in conv.parameters()}


def test_the_same_bits_every_time():
    x, edge_attr = sample()
    conv = layer(5, 9, batch_norm=True)
    runs = []
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(3):
            conv.zero_grad()
            out = conv(x, EDGES, edge_attr)
            out.square().sum().backward()
            runs.append([out.detach(), *(p.grad.clone() for p in conv.parameters())])
    finally:
        torch.use_deterministic_algorithms(False)
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(run, runs[0], strict=True))


def test_frozen_parameters_and_inference_mode():
    x, edge_attr = sample()
    conv = layer(5, 9)
    expected = conv(x, EDGES, edge_attr)
    with torch.inference_mode():
        torch.testing.assert_close(conv(x, EDGES, edge_attr), expected.detach())
    conv.requires_grad_(requires_grad=False)
    conv.lin_s.bias.requires_grad_()
    conv(x, EDGES, edge_attr).sum().backward()
    assert [name for name, p in conv.named_parameters() if p.grad is not None] == ["lin_s.bias"]
    assert not layer(5, 9).requires_grad_(requires_grad=False)(x, EDGES, edge_attr).requires_grad
