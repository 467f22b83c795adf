"""The modules against a plain PyTorch re-statement of the 2018 network on padded neighbour tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from cgfast import Crystals, GraphSpec, build_graphs
from cgfast.nn import CGCNN, CrystalGraphConv, GaussianBasis, Pool

SPEC = GraphSpec(8.0, 12, missing="pad-2018")
BASIS = GaussianBasis()


def crystals(n: int = 5, seed: int = 0) -> Crystals:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 9, n)
    cells = [np.eye(3) * rng.uniform(4, 6) + rng.normal(size=(3, 3)) * 0.3 for _ in range(n)]
    positions = np.concatenate([rng.random((k, 3)) @ cell for k, cell in zip(sizes, cells, strict=True)])
    graph_ptr = np.concatenate([[0], np.cumsum(sizes)])
    return Crystals.from_arrays(positions, np.stack(cells), rng.integers(1, 90, len(positions)), graph_ptr=graph_ptr)


def padded_conv(conv: CrystalGraphConv, x: torch.Tensor, neighbors: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """The layer on an (N, 12) neighbour table with concatenated features: the formulation of the 2018 paper's code."""
    n, m = neighbors.shape
    z = torch.cat([x[:, None].expand(n, m, -1), x[neighbors], features], dim=2)
    y = conv.bn1(conv.fc_full(z).view(n * m, -1)).view(n, m, -1)
    gate, core = y.chunk(2, dim=2)
    return nn.functional.softplus(x + conv.bn2((torch.sigmoid(gate) * nn.functional.softplus(core)).sum(1)))


def padded_network(network: CGCNN, graph) -> torch.Tensor:
    neighbors = graph.source.view(-1, 12)
    features = BASIS(graph.distances).float().view(len(neighbors), 12, -1)
    x = network.embedding(network.element_features[graph.atomic_numbers.long() - 1])
    for conv in network.convs:
        x = padded_conv(conv, x, neighbors, features)
    pooled = torch.stack([part.mean(0) for part in x.split(torch.diff(graph.graph_ptr).tolist())])
    h = nn.functional.softplus(network.conv_to_fc(nn.functional.softplus(pooled)))
    if network.classification:
        h = network.dropout(h)
    for fc in getattr(network, "fcs", []):
        h = nn.functional.softplus(fc(h))
    out = network.fc_out(h)
    return nn.functional.log_softmax(out, dim=1) if network.classification else out


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return network


@pytest.mark.parametrize("classification", [False, True])
@pytest.mark.parametrize(("n_conv", "n_h", "width"), [(1, 1, 64), (3, 2, 64), (4, 3, 20)])
def test_network_in_evaluation(classification, n_conv, n_h, width):
    torch.manual_seed(1)
    network = CGCNN(None, 41, width, n_conv, 32, n_h, classification=classification, basis=BASIS)
    randomised(network).eval()
    graph = build_graphs(crystals(), SPEC).torch()
    expected = padded_network(network, graph)
    with torch.no_grad():
        torch.testing.assert_close(network(graph), expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(
            network(graph, BASIS(graph.distances).float()), expected, rtol=1e-4, atol=1e-4, msg="dense edge features"
        )
        assert network(graph.numpy()).shape == (5, 2 if classification else 1)


def test_layer_in_training_matches_values_buffers_and_gradients():
    torch.manual_seed(0)
    ours, theirs = CrystalGraphConv(16, 41), CrystalGraphConv(16, 41)
    theirs.load_state_dict(ours.state_dict())
    graph = build_graphs(crystals(), SPEC).torch()
    x1 = torch.randn(graph.n_atoms, 16, requires_grad=True)
    x2 = x1.detach().clone().requires_grad_(True)
    out = ours(x1, graph, basis=BASIS)
    neighbors = graph.source.view(-1, 12)
    expected = padded_conv(theirs, x2, neighbors, BASIS(graph.distances).float().view(len(neighbors), 12, -1))
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
    out.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(x1.grad, x2.grad, rtol=1e-3, atol=1e-4)
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=2e-3, msg=name)
    for a, b in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_weighted_edges_count_as_the_edges_they_replace():
    """Integer weights give the statistics, and the layer, of repeated edges."""
    from cgfast import CrystalGraph

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    edges = np.stack([rng.integers(0, 6, 40), np.sort(rng.integers(0, 6, 40))])
    distances, weights = rng.uniform(1, 6, 40), rng.integers(1, 4, 40)
    z = np.full(6, 14)
    weighted = CrystalGraph.from_edges(edges, z, distances=distances, edge_weight=weights).torch()
    repeated = CrystalGraph.from_edges(edges.repeat(weights, axis=1), z, distances=distances.repeat(weights)).torch()
    one, two = CrystalGraphConv(8, 41), CrystalGraphConv(8, 41)
    two.load_state_dict(one.state_dict())
    x = torch.randn(6, 8)
    torch.testing.assert_close(one(x, weighted, basis=BASIS), two(x, repeated, basis=BASIS), rtol=1e-4, atol=1e-5)
    for a, b in zip(one.buffers(), two.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(
            one.eval()(x, weighted, basis=BASIS), two.eval()(x, repeated, basis=BASIS), rtol=1e-4, atol=1e-5
        )


def test_the_default_draws_the_weights_it_always_did():
    """A seed keeps its meaning: the parameters of the 2018 network, drawn in the order of its layers."""
    torch.manual_seed(5)
    network = CGCNN(torch.zeros(100, 92), 41, 16, 1, 8)
    torch.manual_seed(5)
    layers = [nn.Linear(92, 16), nn.Linear(73, 32), nn.Linear(16, 8), nn.Linear(8, 1)]
    ours = [network.embedding, network.convs[0].fc_full, network.conv_to_fc, network.fc_out]
    for a, b in zip(ours, layers, strict=True):
        assert torch.equal(a.weight, b.weight)
        assert torch.equal(a.bias, b.bias)


def test_state_dict_has_the_names_of_the_2018_code():
    network = CGCNN(torch.zeros(100, 92), n_conv=2, n_h=2, classification=True)
    names = set(network.state_dict())
    assert {"embedding.weight", "convs.1.fc_full.bias", "convs.0.bn1.running_var", "convs.1.bn2.weight"} <= names
    assert {"conv_to_fc.weight", "fcs.0.weight", "fc_out.bias"} <= names
    assert not any("element_features" in name for name in names)


def test_crystal_without_edges():
    alone = Crystals.from_arrays([[0.0, 0, 0]], np.eye(3)[None], [6], pbc=False)
    network = CGCNN(basis=BASIS).eval()
    with torch.no_grad():
        assert network(build_graphs(alone, GraphSpec(4.0, 12))).isfinite().all()


def test_prediction_does_not_depend_on_the_batch():
    network = randomised(CGCNN(basis=BASIS)).eval()
    all_of_them = crystals(6, seed=5)
    with torch.no_grad():
        together = network(build_graphs(all_of_them, SPEC))
        alone = torch.cat([network(build_graphs(c, SPEC)) for c in all_of_them])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_a_graph_without_distances_is_refused_with_and_without_gradients():
    import dataclasses

    network = CGCNN(basis=BASIS).eval()
    bare = dataclasses.replace(build_graphs(crystals(), SPEC), distances=None)
    for context in (torch.no_grad(), torch.enable_grad()):
        with context, pytest.raises(ValueError, match="graph must have distances"):
            network(bare)


def test_own_edge_features_stay_with_their_edges():
    """Edges in any order, with features, give what the sorted ones give."""
    from cgfast import CrystalGraph

    graph = build_graphs(crystals(2), GraphSpec(4.0, None))
    features = torch.rand(graph.n_edges, 41)
    order = np.random.default_rng(0).permutation(graph.n_edges)
    shuffled = CrystalGraph.from_edges(
        graph.edge_index[:, order], graph.atomic_numbers, graph_ptr=graph.graph_ptr, edge_attr=features.numpy()[order]
    )
    network = randomised(CGCNN()).eval()
    with torch.no_grad():
        torch.testing.assert_close(network(shuffled), network(graph, features), rtol=1e-4, atol=1e-5)


def test_forces_and_their_gradient_go_through_the_network():
    network = randomised(CGCNN(n_conv=2, atom_fea_len=8, h_fea_len=8, basis=BASIS)).eval().double()
    graph = build_graphs(crystals(2), GraphSpec(4.0, 6)).torch()

    def energy(distances):
        import dataclasses

        return network(dataclasses.replace(graph, distances=distances)).sum()

    distances = graph.distances.clone().requires_grad_()
    (slope,) = torch.autograd.grad(energy(distances), distances, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.square().sum(), distances)
    assert curvature.abs().max() > 0
    step = torch.zeros_like(distances)
    step[3] = 1e-5
    with torch.no_grad():
        numeric = (energy(distances + step) - energy(distances - step)) / 2e-5
    torch.testing.assert_close(slope[3].detach(), numeric, rtol=1e-6, atol=1e-9)
    forward = torch.func.jvp(energy, (distances.detach(),), (step / 1e-5,))[1]
    torch.testing.assert_close(forward, numeric, rtol=1e-6, atol=1e-9)


def test_pool_module():
    assert repr(Pool("max")) == "Pool('max')"
    x = torch.tensor([[1.0], [3.0], [5.0]])
    assert Pool("mean")(x, torch.tensor([0, 2, 3])).tolist() == [[2.0], [5.0]]
    with pytest.raises(ValueError, match="reduce must be one of"):
        Pool("first")


def test_bad_arguments():
    with pytest.raises(ValueError, match="n_conv must be a whole number of at least 1, got 0"):
        CGCNN(n_conv=0)
    with pytest.raises(ValueError, match="n_out must be a whole number of at least 1, got 0"):
        CGCNN(n_out=0)
    with pytest.raises(ValueError, match="conv must be one of CrystalGraphConv, CGConv, got 'cgconv'"):
        CGCNN(conv="cgconv")
    with pytest.raises(ValueError, match="site for values only, got 'site' of classes"):
        CGCNN(classification=True, readout="site")
    with pytest.raises(ValueError, match="pooling must be one of mean, sum, min, max, got 'median'"):
        CGCNN(pooling="median")
    with pytest.raises(ValueError, match="element_features must have shape"):
        CGCNN(torch.ones(10))
    with pytest.raises(ValueError, match="basis must have nbr_fea_len = 41 centres, got 21"):
        CGCNN(basis=GaussianBasis(step=0.4))
    graph = build_graphs(Crystals.from_arrays([[0.0, 0, 0]], np.eye(3)[None] * 3, [104]), SPEC)
    with pytest.raises(ValueError, match="atomic_numbers must lie in 1 to 100 for this model, got 104 to 104"):
        CGCNN(basis=BASIS)(graph)
    with pytest.raises(ValueError, match="exactly one of edge_attr and basis"):
        CrystalGraphConv(8, 41)(torch.zeros(1, 8), graph.torch())


@pytest.mark.parametrize("conv", ["CrystalGraphConv", "CGConv"])
def test_compile_and_export_of_a_whole_network(conv):
    network = randomised(CGCNN(n_conv=2, basis=BASIS, conv=conv)).eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    graph = build_graphs(crystals(3), SPEC).torch()
    other = build_graphs(crystals(4, seed=9), SPEC).torch()
    with torch.no_grad():
        compiled = torch.compile(network, fullgraph=True, dynamic=True, backend="aot_eager")
        for g in (graph, other):
            torch.testing.assert_close(compiled(g), network(g), rtol=1e-5, atol=1e-5)
        exported = torch.export.export(network, (graph,)).module()
        torch.testing.assert_close(exported(graph), network(graph), rtol=1e-5, atol=1e-5)
