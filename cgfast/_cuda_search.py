"""Neighbour lists of crystals that lie on a CUDA device: the same edges as on the CPU, bit for bit. Loads torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from cgfast import neighbors
from cgfast._arrays import flags, floats, graph_pointers, refuse, tensor
from cgfast._native import core

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

    from cgfast.neighbors import GraphSpec, NeighborList


def searches(device: torch.device) -> bool:
    """Whether this build searches on `device` itself."""
    return device.type == "cuda" and core().cuda_built()


def neighbor_list(
    positions: ArrayLike,
    cell: ArrayLike | None,
    pbc: ArrayLike,
    graph_ptr: ArrayLike | None,
    spec: GraphSpec,
    sort: str | None,
    device: torch.device,
) -> NeighborList:
    """cgfast.neighbor_list() on a CUDA device, of arguments that may be there or anywhere else.

    One host synchronisation, and one more for each of cell=None, pbc and graph_ptr that is on the device without being of the
    type used there (bool, int64). Arguments in the memory of the CPU are copied, which waits for the copy.
    """
    atoms = _floats("positions", positions, (None, 3), device)
    largest = len(atoms)
    given: Tensor | None = tensor(graph_ptr)
    if given is not None and given.device == device and given.dtype == torch.int64 and given.dim() == 1 and len(given) > 0:
        pointers = given.detach().contiguous()
    else:
        on_host = graph_pointers(graph_ptr, len(atoms))
        largest = _largest(on_host)
        pointers = torch.tensor(on_host, device=device)
    n_crystals = len(pointers) - 1
    periodic = _flags(pbc, n_crystals, device)
    if cell is not None:
        cells = _floats("cell", cell, (3, 3) if graph_ptr is None else (n_crystals, 3, 3), device)
    else:
        if bool(periodic.any()):
            refuse("cell", "the value None", f"lattice vectors, because pbc is {periodic.tolist()}")
        cells = torch.zeros((n_crystals, 3, 3), dtype=torch.float64, device=device)
    return _search(atoms, cells, periodic, pointers, spec, sort, largest)


def search(
    positions: NDArray[np.float64],
    cells: NDArray[np.float64],
    pbc: NDArray[np.bool_],
    graph_ptr: NDArray[np.int64],
    atomic_numbers: NDArray[np.int32],
    spec: GraphSpec,
    device: torch.device,
) -> tuple[NeighborList, Tensor, Tensor]:
    """cgfast.neighbors.search() on `device`, of arrays in the memory of the CPU; graph_ptr and atomic_numbers go along."""
    atoms, cell, periodic, pointers, numbers = (
        torch.from_numpy(a if a.flags.writeable else a.copy()).to(device)
        for a in (positions, cells, pbc, graph_ptr, atomic_numbers)
    )
    return _search(atoms, cell, periodic, pointers, spec, None, _largest(graph_ptr)), pointers, numbers


def _search(
    positions: Tensor, cells: Tensor, pbc: Tensor, graph_ptr: Tensor, spec: GraphSpec, sort: str | None, largest: int
) -> NeighborList:
    """Search tensors that have their final types and shapes; `largest`: atoms of the largest crystal, or more."""
    device, n_atoms, n_crystals = positions.device, len(positions), len(graph_ptr) - 1

    def empty(dtype: torch.dtype, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=device)

    with torch.cuda.device(device):
        stream = torch.cuda.current_stream(device).cuda_stream
        native = core().CudaNeighborSearch(
            positions.data_ptr(),
            cells.data_ptr(),
            pbc.data_ptr(),
            graph_ptr.data_ptr(),
            n_crystals,
            n_atoms,
            largest,
            *neighbors.native_rules(spec, sort),
        )
        workspace, status = empty(torch.uint8, native.workspace_bytes), empty(torch.int64, 4)
        row_ptr, few = empty(torch.int64, n_atoms + 1), empty(torch.int64, n_crystals)
        native.count(workspace.data_ptr(), status.data_ptr(), row_ptr.data_ptr(), few.data_ptr(), stream)
        n_edges, bad_crystal, bad_graph_ptr, n_searched_again = status.tolist()  # the one host synchronisation
        if bad_graph_ptr or bad_crystal:
            _refuse(positions, cells, pbc, graph_ptr, spec, sort, None if bad_graph_ptr else n_crystals - bad_crystal)
        edge_index, shifts = empty(torch.int64, 2, n_edges), empty(torch.int32, n_edges, 3)
        distances = empty(torch.float64, n_edges)
        edge_weight = empty(torch.float64, n_edges) if spec.ties == "shell" else None
        native.fill(
            edge_index.data_ptr(),
            edge_index.data_ptr() + 8 * n_edges,
            shifts.data_ptr(),
            distances.data_ptr(),
            0 if edge_weight is None else edge_weight.data_ptr(),
            n_searched_again,
            stream,
        )
    return neighbors.NeighborList(edge_index, shifts, distances, row_ptr, edge_weight, few)


def _refuse(
    positions: Tensor, cells: Tensor, pbc: Tensor, graph_ptr: Tensor, spec: GraphSpec, sort: str | None, crystal: int | None
) -> None:
    """Raise what the CPU raises for a crystal (None: for graph_ptr), by searching it there."""
    if crystal is None:
        graph_pointers(graph_ptr, len(positions))
    else:
        first, last = graph_ptr[crystal : crystal + 2].tolist()
        neighbors.search(
            positions[first:last].cpu().numpy(),
            cells[crystal : crystal + 1].cpu().numpy(),
            pbc[crystal : crystal + 1].cpu().numpy(),
            np.array([0, last - first], np.int64),
            spec,
            sort=sort,
            first_crystal=crystal,
        )
    msg = f"the neighbour search failed on {positions.device} for crystal {crystal}, which the CPU can search: please report it"
    raise RuntimeError(msg)


def _floats(argument: str, value: Any, shape: tuple[int | None, ...], device: torch.device) -> Tensor:  # noqa: ANN401
    """``value`` as a contiguous float64 tensor of the given shape (None: any length) on `device`."""
    given: Tensor | None = tensor(value)
    if given is None or given.device != device:
        return torch.tensor(floats(argument, value, shape), device=device)
    if given.numel() == 0 and given.dim() == 1 and shape[0] is None:
        given = given.reshape(0, 3)
    if given.is_complex() or given.dtype == torch.bool:
        refuse(argument, f"type {str(given.dtype).removeprefix('torch.')}", "real numbers")
    if given.dim() != len(shape) or any(n is not None and n != m for n, m in zip(shape, given.shape, strict=True)):
        wanted = "(" + ", ".join("N" if n is None else str(n) for n in shape) + ")"
        refuse(argument, f"shape {tuple(given.shape)}", wanted)
    return given.detach().to(torch.float64).contiguous()


def _flags(pbc: ArrayLike, n_crystals: int, device: torch.device) -> Tensor:
    given: Tensor | None = tensor(pbc)
    shapes = {(), (3,), (n_crystals, 3)}
    if given is not None and given.device == device and given.dtype == torch.bool and tuple(given.shape) in shapes:
        return given.detach().expand(n_crystals, 3).contiguous()
    return torch.tensor(flags(pbc, n_crystals), device=device)


def _largest(graph_ptr: NDArray[np.int64]) -> int:
    return int(np.diff(graph_ptr).max(initial=0))
