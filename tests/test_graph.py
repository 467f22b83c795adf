"""CrystalGraph: built for a batch, made from a user's own edges, and to and from torch and PyG."""

from __future__ import annotations

import numpy as np
import pytest

from cgfast import CrystalGraph, Crystals, GraphSpec, build_graphs, neighbor_list

torch = pytest.importorskip("torch")


@pytest.fixture
def crystals() -> Crystals:
    rng = np.random.default_rng(0)
    sizes = np.array([3, 1, 6])
    cells = np.stack([np.eye(3) * a + rng.normal(size=(3, 3)) * 0.2 for a in (4.0, 3.0, 6.0)])
    positions = np.concatenate([rng.random((n, 3)) @ cell for n, cell in zip(sizes, cells, strict=True)])
    graph_ptr = np.concatenate([[0], np.cumsum(sizes)])
    return Crystals.from_arrays(positions, cells, [8, 22, 38, 29, 6, 6, 6, 7, 7, 7], graph_ptr=graph_ptr)


def test_a_batch_is_its_crystals_one_after_the_other(crystals):
    spec = GraphSpec(5.0, 8, ties="shell")
    graph = build_graphs(crystals, spec)
    assert (graph.n_crystals, graph.n_atoms, graph.spec) == (3, 10, spec)
    for b in range(3):
        atoms = slice(crystals.graph_ptr[b], crystals.graph_ptr[b + 1])
        alone = neighbor_list(crystals.positions[atoms], crystals.cell[b], True, 5.0, max_neighbors=8, ties="shell")
        edges = slice(graph.row_ptr[atoms.start], graph.row_ptr[atoms.stop])
        np.testing.assert_array_equal(graph.edge_index[:, edges] - atoms.start, alone.edge_index)
        for name in ("distances", "shifts", "edge_weight"):
            np.testing.assert_array_equal(getattr(graph, name)[edges], getattr(alone, name))
    vectors = crystals.positions[graph.source] - crystals.positions[graph.target]
    crystal = np.repeat(np.arange(3), np.diff(crystals.graph_ptr))[graph.target]
    vectors += np.einsum("es,esc->ec", graph.shifts, crystals.cell[crystal])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), graph.distances, atol=1e-12)


def test_few_neighbors_says_which_crystals_are_short(crystals):
    few = build_graphs(crystals, GraphSpec(3.05, 6)).few_neighbors
    rows = np.diff(build_graphs(crystals, GraphSpec(3.05, 6)).row_ptr)
    expected = [bool((rows[a:b] < 6).any()) for a, b in zip(crystals.graph_ptr, crystals.graph_ptr[1:], strict=False)]
    assert few.tolist() == expected
    assert expected == [True, False, True]
    assert build_graphs(crystals, GraphSpec(3.05, 6, missing="pad-2018")).few_neighbors.tolist() == expected


def test_empty_batch():
    nothing = Crystals.from_arrays(np.empty((0, 3)), np.empty((0, 3, 3)), [], graph_ptr=[0])
    graph = build_graphs(nothing)
    assert (graph.n_crystals, graph.n_atoms, graph.n_edges) == (0, 0, 0)


def test_own_edges_are_sorted_by_target():
    rng = np.random.default_rng(1)
    edges = rng.integers(0, 5, (2, 30))
    distances, shifts, weights = rng.random(30), rng.integers(-2, 3, (30, 3)), rng.random(30)
    graph = CrystalGraph.from_edges(edges, [1, 2, 3, 4, 5], distances=distances, shifts=shifts, edge_weight=weights)
    order = sorted(range(30), key=lambda e: edges[1, e])
    np.testing.assert_array_equal(graph.edge_index, edges[:, order])
    np.testing.assert_array_equal(graph.distances, distances[order])
    np.testing.assert_array_equal(graph.shifts, shifts[order])
    np.testing.assert_array_equal(graph.edge_weight, weights[order])
    for i in range(5):
        assert set(graph.target[graph.row_ptr[i] : graph.row_ptr[i + 1]].tolist()) <= {i}
    assert graph.row_ptr[-1] == 30


BAD_EDGES = [
    ({"edge_index": np.zeros((3, 2), int)}, "edge_index has type int64 and shape"),
    ({"edge_index": np.zeros((2, 2))}, "edge_index has type float64"),
    ({"edge_index": [[0], [9]]}, "edge_index has atoms 0 to 9: expected 0 to 2"),
    ({"edge_index": [[-1], [0]]}, "edge_index has atoms -1 to 0"),
    ({"graph_ptr": [0, 1, 3]}, "edge_index has an edge between two crystals"),
    ({"graph_ptr": [0, 2]}, "graph_ptr has values"),
    ({"atomic_numbers": [[1, 2, 3]]}, "atomic_numbers has shape"),
    ({"distances": [1.0]}, "distances has shape"),
    ({"shifts": [[0, 0], [0, 0]]}, "shifts has shape"),
    ({"edge_weight": [1.0, 2.0, 3.0]}, "edge_weight has shape"),
]


@pytest.mark.parametrize(("change", "message"), BAD_EDGES)
def test_bad_edges(change, message):
    good = {"edge_index": [[1, 0], [0, 1]], "atomic_numbers": [1, 2, 3]}
    CrystalGraph.from_edges(**good)
    with pytest.raises(ValueError, match=message):
        CrystalGraph.from_edges(**{**good, **change})


def test_shifts_must_be_whole():
    for shifts in ([[0.7, 0, 0], [0, 0, 0]], [[1e12, 0, 0], [0, 0, 0]]):
        with pytest.raises(ValueError, match="shifts has values that are no whole numbers"):
            CrystalGraph.from_edges([[1, 0], [0, 1]], [6, 6], shifts=shifts)


def test_tensors_keep_their_gradient():
    distances = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    graph = CrystalGraph.from_edges(torch.tensor([[0, 1, 0], [1, 0, 1]]), [6, 6], distances=distances)
    graph.distances[0].backward()
    assert distances.grad.tolist() == [0.0, 1.0, 0.0]
    assert graph.distances.dtype == torch.float32


def test_build_graphs_wants_crystals():
    with pytest.raises(ValueError, match=r"crystals must be cgfast\.Crystals, got list"):
        build_graphs([1, 2])
    with pytest.raises(ValueError, match=r"spec has the value 8\.0: expected a GraphSpec"):
        build_graphs(Crystals.from_arrays([[0.0, 0, 0]], np.eye(3), [6]), 8.0)


def test_graphs_as_tensors_on_a_device(crystals, device):
    spec = GraphSpec(5.0, 8, ties="shell")
    want = build_graphs(crystals, spec)
    for graph in (build_graphs(crystals, spec, device=device), build_graphs(crystals, spec, device=torch.device(device))):
        assert graph.spec == spec
        for name in ("edge_index", "row_ptr", "graph_ptr", "atomic_numbers", "distances", "shifts", "edge_weight", "few"):
            assert torch.equal(getattr(graph, name).cpu(), torch.from_numpy(getattr(want, name))), name
            assert getattr(graph, name).device.type == device


def test_to_a_device_and_back(crystals, device):
    graph = build_graphs(crystals, GraphSpec(5.0, 8, ties="shell"))
    there = graph.to(device)
    assert (there.spec, there.n_atoms, there.n_crystals, there.n_edges) == (graph.spec, 10, 3, graph.n_edges)
    for name in ("edge_index", "row_ptr", "graph_ptr", "atomic_numbers", "distances", "shifts", "edge_weight", "few"):
        assert getattr(there, name).device.type == device
        back = getattr(there.numpy(), name)
        np.testing.assert_array_equal(back, getattr(graph, name))
        assert back.dtype == getattr(graph, name).dtype


@pytest.mark.parametrize("device", ["nonsense", 3.5, "cuda:99"])
def test_a_device_that_is_none(crystals, device):
    with pytest.raises(ValueError, match=r"device has the value .*: expected a.* device"):
        build_graphs(crystals, device=device)
    with pytest.raises(ValueError, match=r"device has the value .*: expected a.* device"):
        neighbor_list([[0.0, 0, 0]], None, False, 3.0, device=device)


def test_torch_shares_memory_and_comes_back(crystals):
    graph = build_graphs(crystals)
    tensors = graph.torch()
    assert tensors.is_torch
    assert tensors.torch() is tensors
    assert tensors.distances.data_ptr() == graph.distances.ctypes.data
    assert tensors.edge_weight is None
    for name in ("edge_index", "row_ptr", "graph_ptr", "atomic_numbers", "shifts"):
        np.testing.assert_array_equal(getattr(tensors.to("cpu").numpy(), name), getattr(graph, name))
    assert graph.numpy() is graph


def test_own_edges_as_tensors():
    graph = CrystalGraph.from_edges(torch.tensor([[1, 0], [1, 0]]), torch.tensor([6, 6]), distances=torch.tensor([1.0, 2.0]))
    assert graph.is_torch
    assert graph.edge_index.tolist() == [[0, 1], [0, 1]]
    assert graph.distances.tolist() == [2.0, 1.0]
    assert graph.row_ptr.dtype == torch.int64


def test_pyg_round_trip(crystals):
    data_module = pytest.importorskip("torch_geometric.data")
    graph = build_graphs(crystals, GraphSpec(6.0, 5, ties="shell"))
    batch = graph.to_pyg()
    assert isinstance(batch, data_module.Batch)
    assert batch.num_graphs == 3
    assert batch.num_nodes == 10
    assert batch.batch.tolist() == [0] * 3 + [1] + [2] * 6
    back = CrystalGraph.from_pyg(batch).numpy()
    for name in ("edge_index", "row_ptr", "graph_ptr", "atomic_numbers", "distances", "shifts", "edge_weight"):
        np.testing.assert_array_equal(getattr(back, name), getattr(graph, name), err_msg=name)
    del batch.ptr
    np.testing.assert_array_equal(CrystalGraph.from_pyg(batch).graph_ptr, graph.graph_ptr)


def test_pyg_data_of_ones_own():
    data_module = pytest.importorskip("torch_geometric.data")
    edges = torch.tensor([[2, 0, 1], [1, 0, 0]])
    graph = CrystalGraph.from_pyg(data_module.Data(z=torch.tensor([1, 2, 3]), edge_index=edges))
    assert graph.edge_index.tolist() == [[0, 1, 2], [0, 0, 1]]
    assert graph.n_crystals == 1
    with pytest.raises(ValueError, match="must have the attribute 'z'"):
        CrystalGraph.from_pyg(data_module.Data(edge_index=edges))
    unsorted = data_module.Data(z=torch.tensor([1, 2, 3]), edge_index=edges[:, 1:2], batch=torch.tensor([1, 0, 1]))
    with pytest.raises(ValueError, match="batch must be sorted"):
        CrystalGraph.from_pyg(unsorted)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cutoff": 0}, "cutoff must be a positive number"),
        ({"cutoff": float("nan")}, "cutoff must be a positive number"),
        ({"cutoff": "8"}, "cutoff must be a number of Å, got '8'"),
        ({"max_neighbors": 0}, "max_neighbors must be None or a whole number of at least 1, got 0"),
        ({"max_neighbors": 12.0}, "max_neighbors must be None or a whole number"),
        ({"max_neighbors": True}, "max_neighbors must be None or a whole number"),
        ({"ties": "random"}, "ties must be one of 'canonical', 'shell', got 'random'"),
        ({"tolerance": -1}, "tolerance must be zero or a positive number"),
        ({"missing": "zeros"}, "missing must be one of 'drop', 'pad-2018', got 'zeros'"),
    ],
)
def test_bad_specs(fields, message):
    with pytest.raises(ValueError, match=message):
        GraphSpec(**fields)


def test_spec_survives_json():
    spec = GraphSpec(6.5, None, "shell", 1e-2, "pad-2018")
    assert GraphSpec.from_dict(spec.to_dict()) == spec
    with pytest.raises(ValueError, match="GraphSpec has no field radius; it has cutoff"):
        GraphSpec.from_dict({"radius": 3})
