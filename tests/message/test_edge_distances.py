"""edge_distances: values against NumPy, derivatives against finite differences, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cgfast import Crystals, GraphSpec, build_graphs
from cgfast.functional import edge_distances


def crystals(pbc: Any = True) -> Crystals:
    """Three skewed cells with 3, 1 and 4 atoms, some of them outside of their cell."""
    rng = np.random.default_rng(0)
    counts = [3, 1, 4]
    skew = np.array([[1, 0, 0], [1.5, 1, 0], [-2, 0.7, 1]])
    cells = [skew @ (np.eye(3) * 4 + rng.normal(size=(3, 3)) * 0.3) for _ in counts]
    positions = np.concatenate([rng.uniform(-1, 2, (n, 3)) @ cell for n, cell in zip(counts, cells, strict=True)])
    return Crystals.from_arrays(positions, np.stack(cells), np.full(8, 6), pbc=pbc, graph_ptr=[0, 3, 4, 8])


def inputs(batch: Crystals, spec: GraphSpec, **kinds: Any) -> tuple[Any, ...]:
    """(positions, cell, edge_index, shifts, graph_ptr) and the graph they come from."""
    graph = build_graphs(batch, spec).torch()
    positions = torch.tensor(batch.positions, **kinds)
    return (positions, torch.tensor(batch.cell, **kinds), graph.edge_index, graph.shifts, graph.graph_ptr), graph


SPECS = {
    "radius": GraphSpec(3.0, None),
    "nearest": GraphSpec(8.0, 5),
    "shell": GraphSpec(8.0, 5, "shell"),
    "pad-2018": GraphSpec(3.0, 9, missing="pad-2018"),
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_values_are_the_distances_of_the_search(spec):
    arguments, graph = inputs(crystals(), spec)
    found = edge_distances(*arguments)
    assert found.dtype == torch.float64
    real = graph.distances <= spec.cutoff
    assert real.any()
    assert bool((~real).any()) == (spec.missing == "pad-2018")
    torch.testing.assert_close(found[real], graph.distances[real], rtol=0, atol=1e-12)


def test_values_against_numpy_with_mixed_boundaries():
    batch = crystals([[True, False, True], [True, True, True], [False, False, False]])
    arguments, graph = inputs(batch, GraphSpec(6.0, None))
    source, target = graph.edge_index.numpy()
    crystal = np.searchsorted(batch.graph_ptr, target, side="right") - 1
    expected = [
        np.linalg.norm(batch.positions[j] - batch.positions[i] + shift @ batch.cell[b])
        for j, i, shift, b in zip(source, target, graph.shifts.numpy(), crystal, strict=True)
    ]
    assert len(expected) > 20
    np.testing.assert_allclose(edge_distances(*arguments).numpy(), expected, rtol=1e-13)


def test_one_cell_no_cell_and_no_shifts():
    (positions, cell, edge_index, shifts, graph_ptr), graph = inputs(crystals()[2:], GraphSpec(7.0, None))
    batched = edge_distances(positions, cell, edge_index, shifts, graph_ptr)
    torch.testing.assert_close(edge_distances(positions, cell[0], edge_index, shifts), batched, rtol=1e-15, atol=0)
    inside = (graph.shifts == 0).all(1)
    assert inside.any()
    assert not inside.all()
    plain = edge_distances(positions, None, edge_index[:, inside], None)
    torch.testing.assert_close(plain, batched[inside], rtol=1e-15, atol=0)
    torch.testing.assert_close(edge_distances(positions, cell, edge_index[:, inside], None, graph_ptr), plain, rtol=0, atol=0)
    torch.testing.assert_close(edge_distances(positions, None, edge_index, torch.zeros_like(shifts))[inside], plain)


def test_float32_and_no_edges():
    arguments, _ = inputs(crystals(), GraphSpec(8.0, 5))
    exact = edge_distances(*arguments)
    single = edge_distances(arguments[0].float(), arguments[1].float(), *arguments[2:])
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, rtol=1e-6, atol=1e-5)
    empty = torch.zeros(2, 0, dtype=torch.int64)
    for n in (0, 3):
        positions = torch.zeros(n, 3, dtype=torch.float64, requires_grad=True)
        out = edge_distances(positions, torch.eye(3, dtype=torch.float64), empty, torch.zeros(0, 3, dtype=torch.int32))
        assert out.shape == (0,)
        out.sum().backward()
        assert torch.equal(positions.grad, torch.zeros(n, 3, dtype=torch.float64))


def test_any_order_of_edges():
    (positions, cell, edge_index, shifts, graph_ptr), _ = inputs(crystals(), GraphSpec(8.0, 5))
    order = torch.randperm(edge_index.shape[1], generator=torch.Generator().manual_seed(0))
    mixed = edge_distances(positions, cell, edge_index[:, order], shifts[order], graph_ptr)
    assert torch.equal(mixed, edge_distances(positions, cell, edge_index, shifts, graph_ptr)[order])


@pytest.mark.parametrize("check", [torch.autograd.gradcheck, torch.autograd.gradgradcheck])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_derivatives(spec, check):
    (positions, cell, *rest), _ = inputs(crystals(), spec, requires_grad=True)
    assert check(lambda x, c: edge_distances(x, c, *rest), (positions, cell))


@pytest.mark.parametrize("check", [torch.autograd.gradcheck, torch.autograd.gradgradcheck])
def test_derivatives_with_one_cell_and_with_none(check):
    (positions, cell, edge_index, shifts, _), _ = inputs(crystals()[2:], GraphSpec(8.0, 4), requires_grad=True)
    assert check(lambda x, c: edge_distances(x, c, edge_index, shifts), (positions, cell[0].detach().requires_grad_()))
    apart = edge_index[:, edge_index[0] != edge_index[1]]
    assert check(lambda x: edge_distances(x, None, apart, None), (positions,))


def test_gradients_are_unit_vectors():
    positions = torch.tensor([[0.0, 0, 0], [1, 2, 2]], dtype=torch.float64, requires_grad=True)
    distance = edge_distances(positions, None, torch.tensor([[1], [0]]), None)
    (slope,) = torch.autograd.grad(distance.sum(), positions)
    torch.testing.assert_close(slope, torch.tensor([[-1.0, -2, -2], [1, 2, 2]], dtype=torch.float64) / 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_coincident_atoms_have_slope_zero(dtype):
    positions = torch.tensor([[1.0, 1, 1], [1, 1, 1], [1, 1, 3]], dtype=dtype, requires_grad=True)
    edges = torch.tensor([[1, 0, 2, 0], [0, 1, 0, 0]])
    distances = edge_distances(positions, None, edges, None)
    assert distances.tolist() == [0, 0, 2, 0]
    (slope,) = torch.autograd.grad((distances**2 + 3 * distances).sum(), positions, create_graph=True)
    torch.testing.assert_close(slope, torch.tensor([[0, 0, -7.0], [0, 0, 0], [0, 0, 7]], dtype=dtype))
    (curvature,) = torch.autograd.grad(slope.square().sum(), positions)
    assert curvature.isfinite().all()


def test_far_from_the_origin():
    (positions, cell, *rest), graph = inputs(crystals(), GraphSpec(8.0, 5))
    torch.testing.assert_close(edge_distances(positions + 1e6, cell, *rest), graph.distances, rtol=0, atol=1e-8)


BAD = {
    "positions of two columns": ("positions", {"positions": torch.zeros(8, 2, dtype=torch.float64)}),
    "whole positions": ("positions", {"positions": torch.zeros(8, 3, dtype=torch.int64)}),
    "edge_index of three rows": ("edge_index", {"edge_index": torch.zeros(3, 4, dtype=torch.int64)}),
    "edge_index of floats": ("edge_index", {"edge_index": torch.zeros(2, 4)}),
    "an atom that does not exist": ("edge_index", {"edge_index": torch.tensor([[0], [8]]), "shifts": torch.zeros(1, 3)}),
    "a negative atom": ("edge_index", {"edge_index": torch.tensor([[-1], [0]]), "shifts": torch.zeros(1, 3)}),
    "too few shifts": ("shifts", {"shifts": torch.zeros(2, 3, dtype=torch.int32)}),
    "shifts of two columns": ("shifts", {"shifts": torch.zeros(40, 2, dtype=torch.int32)}),
    "a flat cell": ("cell", {"cell": torch.zeros(3, dtype=torch.float64)}),
    "one cell too many": ("cell", {"cell": torch.zeros(4, 3, 3, dtype=torch.float64)}),
    "a cell of another dtype": ("cell", {"cell": torch.zeros(3, 3, 3)}),
    "cells without graph_ptr": ("graph_ptr", {"graph_ptr": None}),
    "graph_ptr that ends early": ("graph_ptr", {"graph_ptr": torch.tensor([0, 3, 4, 7])}),
}


@pytest.mark.parametrize(("name", "change"), BAD.values(), ids=BAD)
def test_bad_input(name, change):
    arguments, graph = inputs(crystals(), GraphSpec(8.0, 5))
    assert graph.n_edges == 40
    names = ("positions", "cell", "edge_index", "shifts", "graph_ptr")
    with pytest.raises(ValueError, match=name):
        edge_distances(**{**dict(zip(names, arguments, strict=True)), **change})


def test_shifts_without_a_cell():
    (positions, _, edge_index, shifts, _), _ = inputs(crystals(), GraphSpec(8.0, 5))
    with pytest.raises(ValueError, match="cell"):
        edge_distances(positions, None, edge_index, shifts)
