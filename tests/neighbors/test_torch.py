"""Torch in, torch out; arrays of any layout and number type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cgfast

from .crystals import batches, random_crystal

torch = pytest.importorskip("torch", reason="these tests hand torch tensors to the search")

CELL = np.array([[5.0, 0.0, 0.0], [1.0, 6.0, 0.0], [-0.5, 0.25, 7.0]])
POSITIONS = random_crystal(1, 9, CELL, 2.0)
FIELDS = ("edge_index", "shifts", "distances", "row_ptr")


def assert_tensors_equal(result: Any, want: Any) -> None:
    """Demand tensors of the documented types that hold the NumPy answer, with no gradient."""
    kinds = {
        "edge_index": torch.int64,
        "shifts": torch.int32,
        "distances": torch.float64,
        "row_ptr": torch.int64,
    }
    for name in FIELDS:
        tensor = getattr(result, name)
        assert isinstance(tensor, torch.Tensor), name
        assert tensor.dtype == kinds[name], name
        assert not tensor.requires_grad, name
        np.testing.assert_array_equal(tensor.numpy(), getattr(want, name), err_msg=name)
    assert torch.equal(result.source, result.edge_index[0])
    assert torch.equal(result.target, result.edge_index[1])
    assert result.n_edges == want.n_edges
    if want.edge_weight is None:
        assert result.edge_weight is None
    else:
        np.testing.assert_array_equal(result.edge_weight.numpy(), want.edge_weight)


@pytest.mark.parametrize(
    "options",
    [{}, {"sort": "distance"}, {"max_neighbors": 12}, {"max_neighbors": 12, "ties": "shell"}],
    ids=["radius", "sorted", "nearest", "shell"],
)
def test_tensors_give_tensors(options: dict[str, Any]) -> None:
    """Float64 tensors hold the very bits of the NumPy answer."""
    result = cgfast.neighbor_list(
        torch.tensor(POSITIONS), torch.tensor(CELL), torch.tensor([True, True, False]), 6.0, **options
    )
    want = cgfast.neighbor_list(POSITIONS, CELL, (True, True, False), 6.0, **options)
    assert_tensors_equal(result, want)


@pytest.mark.parametrize("options", [{}, {"max_neighbors": 12, "ties": "shell"}], ids=["radius", "shell"])
def test_an_answer_on_a_device(options: dict[str, Any], device: str) -> None:
    """Arrays or tensors in, tensors on the device out."""
    want = cgfast.neighbor_list(POSITIONS, CELL, (True, True, False), 6.0, **options)
    for positions in (POSITIONS, torch.tensor(POSITIONS)):
        result = cgfast.neighbor_list(positions, CELL, (True, True, False), 6.0, device=device, **options)
        for name in (*FIELDS, "few", "edge_weight"):
            tensor, array = getattr(result, name), getattr(want, name)
            assert (tensor is None) == (array is None), name
            if array is not None:
                assert tensor.device.type == device, name
                np.testing.assert_array_equal(tensor.cpu().numpy(), array, err_msg=name)


def test_batch_of_tensors() -> None:
    """All of a batch's arguments as tensors."""
    positions, cell, pbc, graph_ptr = batches()["everything-small"]
    result = cgfast.neighbor_list(
        torch.tensor(positions), torch.tensor(cell), torch.tensor(pbc), 4.0, graph_ptr=torch.tensor(graph_ptr)
    )
    assert_tensors_equal(result, cgfast.neighbor_list(positions, cell, pbc, 4.0, graph_ptr=graph_ptr))


def test_plain_cell_beside_a_tensor_of_positions() -> None:
    """Positions decide what comes back."""
    want = cgfast.neighbor_list(POSITIONS, CELL, True, 5.0)
    assert_tensors_equal(cgfast.neighbor_list(torch.tensor(POSITIONS), CELL, True, 5.0), want)
    assert_tensors_equal(cgfast.neighbor_list(torch.tensor(POSITIONS), CELL.tolist(), [True] * 3, 5.0), want)
    molecule = cgfast.neighbor_list(torch.tensor(POSITIONS), None, False, 5.0)
    assert_tensors_equal(molecule, cgfast.neighbor_list(POSITIONS, None, False, 5.0))


def test_gradients_stop_here() -> None:
    """Tensors that want a gradient are searched, left alone, and the distances are detached."""
    positions = torch.tensor(POSITIONS, requires_grad=True)
    cell = torch.tensor(CELL, requires_grad=True)
    result = cgfast.neighbor_list(2.0 * positions / 2.0, cell * 1.0, True, 5.0)
    assert_tensors_equal(result, cgfast.neighbor_list(POSITIONS, CELL, True, 5.0))
    assert positions.grad is None
    assert positions.requires_grad


@pytest.mark.parametrize("kind", ["float32", "float16", "int64", "int32", "int16", "uint8"])
def test_number_types(kind: str) -> None:
    """Any real number type is searched in float64: the answer is that of the converted values."""
    values = np.abs(np.round(POSITIONS) if "int" in kind else POSITIONS).astype(kind)
    lattice = np.diag([5.0, 6.0, 7.0]).astype(kind)
    want = cgfast.neighbor_list(values.astype(np.float64), lattice.astype(np.float64), True, 5.0)
    plain = cgfast.neighbor_list(values, lattice, True, 5.0)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(plain, name), getattr(want, name), err_msg=name)
    assert_tensors_equal(cgfast.neighbor_list(torch.tensor(values), torch.tensor(lattice), True, 5.0), want)


def test_bfloat16() -> None:
    """A type that NumPy does not know."""
    positions = torch.tensor(POSITIONS).to(torch.bfloat16)
    want = cgfast.neighbor_list(positions.double().numpy(), CELL, True, 5.0)
    assert_tensors_equal(cgfast.neighbor_list(positions, torch.tensor(CELL), True, 5.0), want)


def test_layouts() -> None:
    """Transposed, strided, reversed, Fortran-ordered, read-only and byte-swapped input."""
    want = cgfast.neighbor_list(POSITIONS, CELL, True, 5.0)
    wide = np.zeros((9, 6))
    wide[:, ::2] = POSITIONS
    frozen = POSITIONS.copy()
    frozen.flags.writeable = False
    for positions in (
        np.asfortranarray(POSITIONS),
        wide[:, ::2],
        POSITIONS[::-1].copy()[::-1],
        frozen,
        POSITIONS.astype(">f8"),
        POSITIONS.tolist(),
    ):
        result = cgfast.neighbor_list(positions, np.asfortranarray(CELL), True, 5.0)
        for name in FIELDS:
            np.testing.assert_array_equal(getattr(result, name), getattr(want, name), err_msg=name)
    transposed = torch.tensor(POSITIONS).T.contiguous().T
    strided = torch.tensor(wide)[:, ::2]
    for tensor in (transposed, strided, torch.tensor(POSITIONS).repeat(2, 1)[:9]):
        assert_tensors_equal(cgfast.neighbor_list(tensor, torch.tensor(CELL).T.contiguous().T, True, 5.0), want)


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint32])
def test_graph_ptr_types(kind: type) -> None:
    """Offsets of any integer type."""
    positions, cell, pbc, graph_ptr = batches()["everything-small"]
    want = cgfast.neighbor_list(positions, cell, pbc, 4.0, graph_ptr=graph_ptr)
    got = cgfast.neighbor_list(positions, cell, pbc, 4.0, graph_ptr=graph_ptr.astype(kind))
    assert np.array_equal(got.edge_index, want.edge_index)


def test_input_is_left_alone() -> None:
    """The search writes to none of its arguments, and its answer shares no memory with them."""
    positions, cell = POSITIONS + 20.0, CELL.copy()
    before = positions.copy(), cell.copy()
    tensor = torch.from_numpy(positions)
    cgfast.neighbor_list(tensor, torch.from_numpy(cell), True, 5.0, max_neighbors=4, ties="shell")
    cgfast.neighbor_list(positions, cell, True, 5.0)
    assert np.array_equal(positions, before[0])
    assert np.array_equal(cell, before[1])
