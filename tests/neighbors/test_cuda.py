"""The search on a CUDA device: the answers of the CPU, bit for bit, and its refusals. Skipped where there is no device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cgfast
from cgfast._native import core

from .crystals import CASES, Batch, Case, batches

torch = pytest.importorskip("torch", reason="these tests search torch tensors on a GPU")

pytestmark = [
    pytest.mark.skipif(not core().cuda_built(), reason="this build has no CUDA kernels"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]

FIELDS = ("edge_index", "shifts", "distances", "row_ptr", "few", "edge_weight")
WAYS: tuple[dict[str, Any], ...] = (
    {},
    {"sort": "distance"},
    {"max_neighbors": 12},
    {"max_neighbors": 5, "sort": "source"},
    {"max_neighbors": 20, "missing": "pad-2018"},
    {"max_neighbors": 12, "ties": "shell"},
    {"max_neighbors": 600},
)
POSITIONS = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
CELL = 5.0 * np.eye(3)


def assert_same(result: Any, want: Any) -> None:
    """Demand tensors on the device with the bits of the NumPy answer."""
    for name in FIELDS:
        tensor, array = getattr(result, name), getattr(want, name)
        assert (tensor is None) == (array is None), name
        if array is not None:
            assert tensor.device.type == "cuda", name
            np.testing.assert_array_equal(tensor.cpu().numpy(), array, err_msg=name)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_equals_the_cpu(case: Case) -> None:
    """Every nasty crystal, in every way."""
    positions, cell, pbc, cutoff = case.search
    there = torch.tensor(positions, device="cuda")
    for way in WAYS:
        want = cgfast.neighbor_list(positions, cell, pbc, cutoff, **way)
        assert_same(cgfast.neighbor_list(there, cell, pbc, cutoff, **way), want)


@pytest.mark.parametrize("batch", batches().values(), ids=list(batches()))
def test_batches_equal_the_cpu(batch: Batch) -> None:
    """Batches in every way, with offsets on the host and on the device."""
    positions, cell, pbc, graph_ptr = batch
    there = [torch.tensor(array, device="cuda") for array in (positions, cell, pbc)]
    for way in WAYS:
        want = cgfast.neighbor_list(positions, cell, pbc, 4.0, graph_ptr=graph_ptr, **way)
        for pointers in (graph_ptr, torch.tensor(graph_ptr, device="cuda")):
            assert_same(cgfast.neighbor_list(*there, 4.0, graph_ptr=pointers, **way), want)


def test_a_very_large_crystal() -> None:
    """A block of a quarter of a million atoms equals the CPU's answer."""
    rng = np.random.default_rng(5)
    positions = rng.uniform(0.0, 170.0, size=(250_000, 3))
    for options in ({"max_neighbors": 12}, {}):
        want = cgfast.neighbor_list(positions, 170.0 * np.eye(3), True, 5.0, **options)
        assert_same(cgfast.neighbor_list(torch.tensor(positions, device="cuda"), 170.0 * np.eye(3), True, 5.0, **options), want)


def test_the_same_bits_every_time() -> None:
    """Ten runs, one answer."""
    positions, cell, pbc, graph_ptr = batches()["everything-small"]
    there = [torch.tensor(array, device="cuda") for array in (positions, cell, pbc, graph_ptr)]
    first = cgfast.neighbor_list(*there[:3], 4.0, graph_ptr=there[3], max_neighbors=12, ties="shell")
    for _ in range(9):
        again = cgfast.neighbor_list(*there[:3], 4.0, graph_ptr=there[3], max_neighbors=12, ties="shell")
        for name in FIELDS:
            assert torch.equal(getattr(again, name), getattr(first, name)), name


def test_on_another_stream() -> None:
    """The search runs on torch's current stream."""
    want = cgfast.neighbor_list(POSITIONS, CELL, True, 6.0, max_neighbors=12)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(10_000_000)  # as torch's own tests do
        positions = torch.tensor(POSITIONS, device="cuda") * 1.0
        result = cgfast.neighbor_list(positions, CELL, True, 6.0, max_neighbors=12)
    stream.synchronize()
    assert_same(result, want)


@pytest.mark.parametrize(
    "changes",
    [
        {"positions": np.where(POSITIONS == 1.0, np.nan, POSITIONS)},
        {"positions": POSITIONS * 1e16},
        {"positions": np.zeros((3, 2))},
        {"positions": np.zeros((3, 3), bool)},
        {"cell": np.stack([CELL, np.ones((3, 3))])},
        {"cell": np.stack([np.full((3, 3), np.inf), CELL])},
        {"cell": CELL},
        {"cell": None},
        {"graph_ptr": np.array([0, 2, 1])},
        {"graph_ptr": np.array([0, 1, 4])},
        {"graph_ptr": np.array([], np.int64)},
        {"pbc": (True, True)},
        {"cutoff": 7999.0},
        {"cutoff": 8001.0, "max_neighbors": 3},
    ],
    ids="-".join,
)
def test_refusals_are_those_of_the_cpu(changes: dict[str, Any]) -> None:
    """Bad input raises the same ValueError, naming the same crystal."""
    good = {"positions": POSITIONS, "cell": np.stack([CELL, CELL]), "pbc": True, "graph_ptr": np.array([0, 1, 3])}
    given: dict[str, Any] = {**good, "cutoff": 3.0, **changes}
    with pytest.raises(ValueError, match=r"has|must|too large") as want:
        cgfast.neighbor_list(**given)
    there = {name: torch.tensor(a, device="cuda") if isinstance(a, np.ndarray) else a for name, a in given.items()}
    with pytest.raises(ValueError, match=r"has|must|too large") as caught:
        cgfast.neighbor_list(**there)
    assert str(caught.value) == str(want.value)


def test_graphs_on_the_device() -> None:
    """build_graphs(device="cuda") is build_graphs().to("cuda")."""
    numbers = [1, 2, 3, 4, 5, 6]
    crystals = cgfast.Crystals.from_arrays(
        np.concatenate([POSITIONS, POSITIONS + 0.5]), np.stack([CELL, CELL]), numbers, graph_ptr=[0, 3, 6], pbc=True
    )
    for spec in (cgfast.GraphSpec(), cgfast.GraphSpec(6.0, 4, "shell"), cgfast.GraphSpec(4.0, None)):
        result, want = cgfast.build_graphs(crystals, spec, device="cuda"), cgfast.build_graphs(crystals, spec)
        assert result.spec == spec
        for name in (*FIELDS, "graph_ptr", "atomic_numbers"):
            tensor, array = getattr(result, name), getattr(want, name)
            assert (tensor is None) == (array is None), name
            if array is not None:
                assert tensor.device.type == "cuda", name
                np.testing.assert_array_equal(tensor.cpu().numpy(), array, err_msg=name)
