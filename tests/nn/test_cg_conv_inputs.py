"""What CGConv takes beyond PyG's layer (graphs, distances, weights), second derivatives, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from cgfast import Crystals, GraphSpec, build_graphs
from cgfast.basis import GaussianBasis
from cgfast.graph import CrystalGraph
from cgfast.nn.cg_conv import CGConv

pytestmark = pytest.mark.filterwarnings("ignore:Sparse (CS|BS|invariant):UserWarning")
BASIS = GaussianBasis(0.0, 4.0, 0.5)
SPEC = GraphSpec(5.0, 6)


def crystals() -> Crystals:
    rng = np.random.default_rng(0)
    cells = np.stack([np.diag([3.6, 4.1, 4.4]) + 0.3 * rng.normal(size=(3, 3)) for _ in range(2)])
    positions = np.concatenate([rng.random((n, 3)) @ cell for n, cell in zip((3, 4), cells, strict=True)])
    return Crystals.from_arrays(positions, cells, np.arange(1, 8), graph_ptr=[0, 3, 7])


def graph(spec: GraphSpec = SPEC) -> CrystalGraph:
    return build_graphs(crystals(), spec).torch()


def symmetric_graph() -> CrystalGraph:
    """Body-centred iron with 12 places for the 8 + 6 neighbours: two shells, the second shared out by weight."""
    iron = Crystals.from_arrays([[0, 0, 0], [1.4, 1.4, 1.4]], 2.8 * np.eye(3), [26, 26])
    found = build_graphs(iron, GraphSpec(5.0, 12, ties="shell")).torch()
    assert found.edge_weight.unique().tolist() == pytest.approx([4 / 6, 1.0])
    return found


def layer(dim: int = 9, aggr: str = "add", **options: object) -> CGConv:
    torch.manual_seed(0)
    return CGConv(5, dim, aggr, **options).double()


def plain(conv: CGConv, x: torch.Tensor, edges: torch.Tensor, edge_attr: torch.Tensor | None, weight=None) -> torch.Tensor:
    """The definition: concatenate, gate, weigh, sum or average over the edges of each target."""
    source, target = edges
    z = torch.cat([x[target], x[source], *([] if edge_attr is None else [edge_attr])], dim=1)
    messages = torch.sigmoid(conv.lin_f(z)) * softplus(conv.lin_s(z))
    weight = torch.ones(len(target)).double() if weight is None else weight
    onto = torch.nn.functional.one_hot(target, len(x)).double().t()
    total = onto @ (weight[:, None] * messages)
    if conv.aggr == "mean":
        total = total / (onto @ weight)[:, None]
    return total + x


def features(n: int) -> torch.Tensor:
    return torch.randn(n, 5, generator=torch.Generator().manual_seed(1)).double()


# --- graphs, distances, weights ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aggr", ["add", "mean"])
@pytest.mark.parametrize("form", ["numpy", "torch"])
def test_a_crystal_graph_with_a_basis(aggr, form):
    g, conv = graph(), layer(aggr=aggr)
    x = features(7)
    expected = plain(conv, x, g.edge_index, BASIS(g.distances))
    given = g.numpy() if form == "numpy" else g
    torch.testing.assert_close(conv(x, given, basis=BASIS), expected)
    torch.testing.assert_close(layer(aggr=aggr, basis=BASIS)(x, given), expected)


def test_edges_of_a_graph_in_any_order():
    g, x = graph(), features(7)
    shuffled = torch.randperm(g.n_edges, generator=torch.Generator().manual_seed(2))
    edges, distances = g.edge_index[:, shuffled], g.distances[shuffled]
    for aggr in ("add", "mean", "max"):
        conv = layer(aggr=aggr)
        expected = conv(x, g, basis=BASIS)
        torch.testing.assert_close(conv(x, edges, distances=distances, basis=BASIS), expected)
        torch.testing.assert_close(conv(x, edges, BASIS(distances)), expected)


def test_the_features_of_a_graph():
    bare, x = graph(), features(7)
    g = CrystalGraph.from_edges(
        bare.edge_index, bare.atomic_numbers, distances=bare.distances, edge_attr=torch.randn(bare.n_edges, 9)
    )
    attr, gaussians = g.edge_attr.double(), BASIS(g.distances)
    with_basis = layer(basis=BASIS)
    torch.testing.assert_close(layer()(x, g), plain(layer(), x, g.edge_index, attr))
    torch.testing.assert_close(with_basis(x, g), plain(layer(), x, g.edge_index, attr))  # its own features before the basis
    torch.testing.assert_close(layer()(x, g, basis=BASIS), plain(layer(), x, g.edge_index, gaussians))
    torch.testing.assert_close(with_basis(x, g, 2 * attr), plain(layer(), x, g.edge_index, 2 * attr))
    doubled = plain(layer(), x, g.edge_index, BASIS(2 * g.distances))
    torch.testing.assert_close(with_basis(x, g, distances=2 * g.distances), doubled)
    torch.testing.assert_close(layer(0)(x, g), plain(layer(0), x, g.edge_index, None))  # dim = 0 has no use for them


def test_reversed_flow_on_a_graph():
    g, x = graph(), features(7)
    conv = layer(flow="target_to_source")
    torch.testing.assert_close(conv(x, g, basis=BASIS), plain(conv, x, g.edge_index.flip(0), BASIS(g.distances)))


@pytest.mark.parametrize("aggr", ["add", "mean"])
def test_edge_weights(aggr):
    g, conv = symmetric_graph(), layer(aggr=aggr)
    x = features(2)
    expected = plain(conv, x, g.edge_index, BASIS(g.distances), g.edge_weight)
    torch.testing.assert_close(conv(x, g, basis=BASIS), expected)
    other = torch.linspace(0.1, 2.0, g.n_edges).double()
    expected = plain(conv, x, g.edge_index, BASIS(g.distances), other)
    torch.testing.assert_close(conv(x, g, basis=BASIS, edge_weight=other), expected)
    flipped = conv(x, g.edge_index.flip(1), distances=g.distances.flip(0), basis=BASIS, edge_weight=other.flip(0))
    torch.testing.assert_close(flipped, expected)


def test_the_largest_of_a_shell_does_not_look_at_weights():
    g, x = symmetric_graph(), features(2)
    conv = layer(aggr="max")
    torch.testing.assert_close(conv(x, g, basis=BASIS), conv(x, g.edge_index, BASIS(g.distances)))
    with pytest.raises(ValueError, match="edge_weight must be None with aggr='max'"):
        conv(x, g, basis=BASIS, edge_weight=g.edge_weight)


def test_weights_that_sum_to_zero():
    x, edges = features(3), torch.tensor([[0, 1], [1, 1]])
    conv = layer(0, "mean")
    torch.testing.assert_close(conv(x, edges, edge_weight=torch.zeros(2).double()), x)


@pytest.mark.parametrize("aggr", ["add", "mean", "max"])
def test_first_and_second_derivatives(aggr):
    edges = torch.tensor([[0, 1, 1, 2, 0, 1], [1, 0, 2, 0, 2, 0]])
    basis = GaussianBasis(0.0, 2.0, 1.0)
    conv = layer(3, aggr)
    names = [name for name, _ in conv.named_parameters()]

    def forward(x, distances, weight, *parameters):
        keywords = {"distances": distances, "basis": basis, "edge_weight": None if aggr == "max" else weight}
        return torch.func.functional_call(conv, dict(zip(names, parameters, strict=True)), (x, edges), keywords)

    generator = torch.Generator().manual_seed(0)
    x, distances, weight = (torch.rand(*shape, generator=generator).double() + 0.5 for shape in ((4, 5), (6,), (6,)))
    inputs = [t.detach().clone().requires_grad_() for t in (x, distances, weight, *conv.parameters())]
    assert torch.autograd.gradcheck(forward, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(forward, inputs, fast_mode=True)


# --- refusals ------------------------------------------------------------------------------------------------------------

X, EDGES, ATTR = features(7), torch.tensor([[0, 6, 2], [1, 1, 0]]), torch.ones(3, 9).double()


@pytest.mark.parametrize(
    ("args", "keywords", "message"),
    [
        ((X, EDGES), {}, "edge_attr must be given with dim=9"),
        ((X, EDGES, ATTR[:, :8]), {}, r"edge_attr must have shape \(E, 9\) with dim=9, got \(3, 8\)"),
        ((X, EDGES, ATTR[:, 0]), {}, r"edge_attr must have shape \(E, 9\) with dim=9, got \(3,\)"),
        ((X, EDGES, ATTR[:2]), {}, "edge_attr must be .* shape .3, 9."),
        ((X.float(), EDGES, ATTR), {}, "x must be torch.float64 like the layer's parameters, got torch.float32"),
        ((X, EDGES, ATTR.to(torch.complex128)), {}, "edge_attr"),
        ((X, EDGES), {"distances": ATTR[:, 0]}, "basis must be given"),
        ((X, EDGES), {"basis": BASIS}, "distances must be given"),
        ((X, EDGES, ATTR), {"basis": BASIS}, "edge_attr or distances with a basis, got both"),
        ((X, EDGES, ATTR), {"distances": ATTR[:, 0], "basis": BASIS}, "edge_attr or distances with a basis, got both"),
        ((X, EDGES), {"distances": ATTR[:, 0], "basis": GaussianBasis()}, "dim=9 centres, got 41 centres"),
        ((X, EDGES), {"distances": ATTR[:, 0], "basis": lambda d: d}, "basis must be a GaussianBasis .* got function"),
        ((X, EDGES), {"distances": ATTR[:2, 0], "basis": BASIS}, "distances must"),
        ((X, EDGES, ATTR), {"edge_weight": torch.ones(2)}, "edge_weight must"),
        ((X[:, :4], EDGES, ATTR), {}, r"x must have shape \(N, F\) .* got \(7, 4\)"),
        ((X[None], EDGES, ATTR), {}, r"x must have shape \(N, F\) .* got \(1, 7, 5\)"),
        (((X, X[:, :4]), EDGES, ATTR), {}, r"got \(7, 5\) and \(7, 4\)"),
        (((X, None), EDGES, ATTR), {}, "x must be a tensor .* got .'Tensor', 'NoneType'."),
        ((None, EDGES, ATTR), {}, "x must be a tensor .* got NoneType"),
        ((X, EDGES + 1, ATTR), {}, r"source must lie in \[0, 7\)"),
        ((X, EDGES - 1, ATTR), {}, "edge_index must have targets in|must lie in"),
        ((X, EDGES + torch.tensor([[0], [6]]), ATTR), {}, r"edge_index must have targets in \[0, 7\)|must lie in"),
        (((X, X[:1]), EDGES, ATTR), {}, "must lie in|must have targets in"),
        ((X, EDGES.double(), ATTR), {}, "edge_index must hold integers, got torch.float64"),
        ((X, EDGES.bool(), ATTR), {}, "edge_index must hold integers, got torch.bool"),
        ((X, EDGES.t(), ATTR), {}, r"edge_index must have shape \(2, E\), got \(3, 2\)"),
        ((X, EDGES[0], ATTR), {}, r"edge_index must have shape \(2, E\), got \(3,\)"),
        ((X[:6], graph()), {"basis": BASIS}, "x must have a row for each of the graph's 7 atoms, got 6"),
    ],
)
@pytest.mark.parametrize("aggr", ["add", "mean", "max"])
def test_forward_refuses(args, keywords, message, aggr):
    if aggr == "max" and "edge_weight" in keywords:
        message = "edge_weight must be None"
    with pytest.raises(ValueError, match=message):
        layer(aggr=aggr)(*args, **keywords)


def test_reversed_flow_needs_as_many_sources_as_targets():
    """PyG adds x[1] to a result that has the rows of x[0]."""
    with pytest.raises(ValueError, match=r"x must have as many sources as targets .* got 7 and 6 rows"):
        layer(flow="target_to_source")((X, X[:6]), EDGES, ATTR)


def test_features_are_refused_without_a_place_for_them():
    for keywords in ({"edge_attr": ATTR}, {"distances": ATTR[:, 0]}, {"distances": ATTR[:, 0], "basis": BASIS}):
        with pytest.raises(ValueError, match="dim=0"):
            layer(0)(X, EDGES, **keywords)
    torch.testing.assert_close(layer(0)(X, EDGES, ATTR[:, :0]), plain(layer(0), X, EDGES, None))


def test_a_graph_without_distances():
    bare = CrystalGraph.from_edges(EDGES, torch.ones(7, dtype=torch.int64))
    with pytest.raises(ValueError, match="edge_attr must be given with dim=9"):
        layer()(X, bare)
    with pytest.raises(ValueError, match="distances must be given"):
        layer(basis=BASIS)(X, bare)


@pytest.mark.parametrize("layout", [torch.sparse_csc, torch.sparse_bsr])
def test_other_sparse_layouts(layout):
    adj_t = torch.eye(8).double()
    adj_t = adj_t.to_sparse_csc() if layout == torch.sparse_csc else adj_t.to_sparse_bsr((2, 2))
    with pytest.raises(TypeError, match=f"COO or CSR tensor if it is sparse, got {layout}; use its to_sparse_csr"):
        layer(0)(features(8), adj_t)


def test_sparse_tensors_that_do_not_fit():
    adj_t = torch.eye(7).double().to_sparse()
    twice = torch.sparse_coo_tensor([[0, 0], [1, 1]], [1.0, 1.0], (7, 7))
    with pytest.raises(ValueError, match=r"edge_index must be of size \(6, 6\) like x, got \(7, 7\)"):
        layer(0)(X[:6], adj_t)
    with pytest.raises(ValueError, match=r"coalesced .* call its coalesce\(\)"):
        layer(0)(X, twice)
    with pytest.raises(ValueError, match="pass its transpose with 'source_to_target'"):
        layer(0, flow="target_to_source")(X, adj_t)


class SparseTensor:
    """Looks like torch_sparse's."""

    def sparse_sizes(self) -> tuple[int, int]:
        return 7, 7


@pytest.mark.parametrize(
    ("edges", "message"),
    [(EDGES.numpy(), "got numpy.ndarray"), (None, "NoneType"), (SparseTensor(), r"SparseTensor; use its to_torch_sparse_csr")],
)
def test_no_edge_index_at_all(edges, message):
    with pytest.raises(TypeError, match=message):
        layer(0)(X, edges)
