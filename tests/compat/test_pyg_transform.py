"""`cgfast.compat.pyg.CrystalGraphTransform` on PyG's data against cgfast.build_graphs."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

from cgfast import Crystals, GraphSpec, build_graphs
from cgfast.basis import GaussianBasis
from cgfast.nn.cg_conv import CGConv

pytest.importorskip("torch_geometric", reason="the transform is for its data")
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader
from torch_geometric.transforms import BaseTransform, Compose, Distance

from cgfast.compat.pyg import CrystalGraphTransform

SPECS = [GraphSpec(), GraphSpec(5.0, None), GraphSpec(6.0, 8, ties="shell"), GraphSpec(2.0, 12, missing="pad-2018")]
BASIS = GaussianBasis(0.0, 6.0, 0.3)


def crystals(n: int = 4) -> Crystals:
    """Random ones, and caesium chloride, whose neighbours tie."""
    rng = np.random.default_rng(3)
    sizes = [*rng.integers(1, 6, n - 1), 2]
    cells = [np.diag(rng.uniform(3, 6, 3)) + 0.4 * rng.normal(size=(3, 3)) for _ in range(n - 1)] + [4.1 * np.eye(3)]
    scaled = [rng.random((k, 3)) for k in sizes[:-1]] + [np.array([[0, 0, 0], [0.5, 0.5, 0.5]])]
    positions = np.concatenate([s @ c for s, c in zip(scaled, cells, strict=True)])
    numbers = rng.integers(1, 90, len(positions))
    return Crystals.from_arrays(positions, np.stack(cells), numbers, graph_ptr=np.concatenate([[0], np.cumsum(sizes)]))


def as_data(crystals: Crystals, **options: object) -> list[Data]:
    found = []
    for b, (start, stop) in enumerate(zip(crystals.graph_ptr[:-1], crystals.graph_ptr[1:], strict=True)):
        position, cell = torch.tensor(crystals.positions[start:stop]), torch.tensor(crystals.cell[b])[None]
        z = torch.tensor(crystals.atomic_numbers[start:stop]).long()
        found.append(Data(pos=position, cell=cell, z=z, y=torch.tensor([float(b)]), **options))
    return found


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("basis", [None, BASIS])
def test_a_batch_has_the_graph_of_its_crystals(spec, basis):
    expected = build_graphs(crystals(), spec).torch()
    transform = CrystalGraphTransform(spec, basis)
    [batch] = DataLoader([transform(data) for data in as_data(crystals())], batch_size=10)
    for name in ("edge_index", "distances", "shifts"):
        assert torch.equal(batch[name], getattr(expected, name)), name
        assert batch[name].dtype == getattr(expected, name).dtype, name
    assert torch.equal(batch.ptr, expected.graph_ptr)
    assert ("edge_weight" in batch) == (spec.ties == "shell")
    if spec.ties == "shell":
        assert torch.equal(batch.edge_weight, expected.edge_weight)
        assert (batch.edge_weight < 1).any()
    assert ("edge_attr" in batch) == (basis is not None)
    if basis is not None:
        assert batch.edge_attr.dtype == torch.float32
        torch.testing.assert_close(batch.edge_attr, basis(expected.distances).float())
    assert batch.cell.shape == (4, 3, 3)
    for single, data in zip(batch.to_data_list(), as_data(crystals()), strict=True):
        assert torch.equal(single.edge_index, transform(data).edge_index)


def test_a_model_sees_the_same_in_both_ways():
    graph, conv = build_graphs(crystals()).torch(), CGConv(6, BASIS.n_centres, batch_norm=True).eval()
    batch = Batch.from_data_list([CrystalGraphTransform(basis=BASIS)(data) for data in as_data(crystals())])
    x = torch.randn(graph.n_atoms, 6)
    expected = conv(x, graph, basis=BASIS)
    torch.testing.assert_close(conv(x, batch.edge_index, batch.edge_attr), expected)
    torch.testing.assert_close(conv(x, batch.edge_index, distances=batch.distances, basis=BASIS), expected)


def test_where_the_cell_may_stand():
    [data] = as_data(crystals(1))
    expected = CrystalGraphTransform()(data).edge_index
    cell = data.cell[0]
    forms = [{"cell": cell}, {"lattice": cell}, {"lattice": cell[None]}, {"cell": cell.numpy()}, {"lattice": cell.tolist()}]
    for form in forms:
        assert torch.equal(CrystalGraphTransform()(Data(pos=data.pos, **form)).edge_index, expected), form


def test_periodic_axes():
    [data] = as_data(crystals(1))
    for pbc, expected in (
        (None, True),
        (True, True),
        ([True, False, True], [True, False, True]),
        (torch.tensor([[False, False, True]]), [False, False, True]),
        (False, False),
    ):
        data.pbc = pbc
        found = CrystalGraphTransform()(data)
        one = Crystals.from_arrays(data.pos, data.cell, data.z, pbc=expected)
        assert torch.equal(found.edge_index, build_graphs(one).torch().edge_index), pbc
        assert torch.equal(found.shifts, build_graphs(one).torch().shifts), pbc
    molecule = CrystalGraphTransform()(Data(pos=data.pos))
    assert torch.equal(molecule.edge_index, torch.tensor([[1, 0], [0, 1]]))
    assert not molecule.shifts.any()
    alone = CrystalGraphTransform(basis=BASIS)(Data(pos=torch.zeros(1, 3)))
    assert (alone.edge_index.shape, alone.edge_attr.shape, alone.num_nodes) == ((2, 0), (0, BASIS.n_centres), 1)


def test_it_is_a_transform_like_any():
    [data] = as_data(crystals(1), edge_index=torch.zeros(2, 1, dtype=torch.int64), edge_attr=torch.ones(1, 4))
    data.edge_weight = torch.ones(1)
    before = copy.deepcopy(data)
    transform = CrystalGraphTransform(GraphSpec(4.0))
    found = transform(data)
    assert isinstance(transform, BaseTransform)
    assert repr(transform) == f"CrystalGraphTransform(spec={GraphSpec(4.0)!r}, basis=None)"
    assert data.to_dict().keys() == before.to_dict().keys()  # what came in is as it was
    assert torch.equal(data.edge_index, before.edge_index)
    assert "edge_attr" not in found  # that of other edges
    assert "edge_weight" not in found
    assert found.validate()
    lengths = Compose([transform, Distance(norm=False)])(data).edge_attr
    assert len(lengths) == found.num_edges
    assert torch.equal(pickle.loads(pickle.dumps(transform))(data).edge_index, found.edge_index)  # noqa: S301


def test_worker_processes():
    transform = CrystalGraphTransform(basis=BASIS)

    class Listed(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> Data:
            return transform(as_data(crystals())[index])

    batches = list(DataLoader(Listed(), batch_size=2, num_workers=2, multiprocessing_context="fork"))
    expected = build_graphs(crystals())
    assert sum(batch.num_edges for batch in batches) == expected.n_edges
    assert np.array_equal(torch.cat([batch.distances for batch in batches]).numpy(), expected.distances)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pos": None}, "data must have positions in pos"),
        ({"pos": torch.zeros(2, 2)}, "positions has shape"),
        ({"pos": torch.full((2, 3), torch.nan)}, "positions"),
        ({"cell": torch.zeros(3, 3)}, "cell"),
        ({"cell": torch.eye(3).repeat(2, 1, 1)}, "cell has shape"),
        ({"cell": None, "pbc": True}, "cell has the value None"),
        ({"pbc": torch.tensor([True, False])}, "pbc has shape"),
    ],
)
def test_refusals(change, message):
    [data] = as_data(crystals(1))
    for name, value in change.items():
        data[name] = value
    with pytest.raises(ValueError, match=message):
        CrystalGraphTransform()(data)


def test_a_batch_and_wrong_options_are_refused():
    with pytest.raises(ValueError, match="apply the transform before batching"):
        CrystalGraphTransform()(Batch.from_data_list(as_data(crystals())))
    with pytest.raises(ValueError, match=r"spec must be a GraphSpec or None, got 8\.0"):
        CrystalGraphTransform(8.0)
    with pytest.raises(ValueError, match="basis must be a GaussianBasis or None"):
        CrystalGraphTransform(basis=41)
