"""Periodic neighbour lists: every pair within a radius, or the true k nearest, for one crystal or a batch.

An edge runs from `source` j to `target` i; its vector is r_ij = positions[j] - positions[i] + S @ cell with the integer
lattice shift S. All geometry is float64.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from cgfast._arrays import flags, floats, graph_pointers, refuse, tensor
from cgfast._devices import torch_device
from cgfast._native import address, core, thread_count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

TIES = ("canonical", "shell")
MISSING = ("drop", "pad-2018")
SORTS = ("source", "distance")


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """How crystals become graphs; part of every model, because weights mean nothing without it.

    cutoff: Å, inclusive. max_neighbors: k nearest inside the cutoff, None = all. ties: "canonical" cuts at exactly k in
    the order (distance rounded to 1e-6 Å, source, shift); "shell" keeps all that tie with the k-th within `tolerance` Å
    and lets them share its weight, which does not depend on the choice of cell. missing (fewer than k inside the cutoff):
    "drop" leaves the row shorter; "pad-2018" adds edges to the crystal's first atom at distance cutoff + 1, as the 2018
    code did.

    Raises ValueError for a value outside these.
    """

    cutoff: float = 8.0
    max_neighbors: int | None = 12
    ties: str = "canonical"
    tolerance: float = 1e-3
    missing: str = "drop"

    def __post_init__(self) -> None:
        object.__setattr__(self, "cutoff", _number(self.cutoff, "cutoff"))
        object.__setattr__(self, "tolerance", _number(self.tolerance, "tolerance"))
        if not (np.isfinite(self.cutoff) and self.cutoff > 0):
            msg = f"cutoff must be a positive number of Å, got {self.cutoff!r}"
            raise ValueError(msg)
        if not (np.isfinite(self.tolerance) and self.tolerance >= 0):
            msg = f"tolerance must be zero or a positive number of Å, got {self.tolerance!r}"
            raise ValueError(msg)
        if self.max_neighbors is not None:
            object.__setattr__(self, "max_neighbors", _neighbor_count(self.max_neighbors))
        _one_of(self.ties, TIES, "ties")
        _one_of(self.missing, MISSING, "missing")

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """The inverse of to_dict(). Raises ValueError for unknown fields."""
        unknown = sorted(set(fields) - set(cls.__dataclass_fields__))
        if unknown:
            msg = f"GraphSpec has no field {', '.join(unknown)}; it has {', '.join(cls.__dataclass_fields__)}"
            raise ValueError(msg)
        return cls(**fields)


@dataclass(frozen=True, slots=True, eq=False)
class NeighborList:
    """Edges of one crystal or a batch, in rows by target. NumPy arrays, or torch tensors if torch came in.

    edge_index: (2, E) int64, rows (source, target). shifts: (E, 3) int32. distances: (E,) float64, Å. row_ptr: (N + 1,)
    int64, the edges of target i are row_ptr[i]:row_ptr[i+1]. edge_weight: (E,) float64, only with ties="shell". few: (B,)
    int64, atoms of each crystal with fewer than max_neighbors neighbours inside the cutoff.
    """

    edge_index: Any
    shifts: Any
    distances: Any
    row_ptr: Any
    edge_weight: Any
    few: Any

    @property
    def source(self) -> Any:  # noqa: ANN401 - array or tensor
        """(E,) int64, neighbour j."""
        return self.edge_index[0]

    @property
    def target(self) -> Any:  # noqa: ANN401 - array or tensor
        """(E,) int64, centre i."""
        return self.edge_index[1]

    @property
    def n_edges(self) -> int:
        """Number of edges E."""
        return int(self.edge_index.shape[1])


def neighbor_list(
    positions: ArrayLike,
    cell: ArrayLike | None,
    pbc: ArrayLike,
    cutoff: float,
    *,
    max_neighbors: int | None = None,
    ties: str = "canonical",
    tolerance: float = 1e-3,
    missing: str = "drop",
    sort: str | None = None,
    graph_ptr: ArrayLike | None = None,
    threads: int | None = None,
    device: object = None,
) -> NeighborList:
    """Find the neighbours of every atom, exactly, in any cell.

    positions: (N, 3) Å, Cartesian, anywhere. cell: (3, 3) Å with lattice vectors as rows, or (B, 3, 3) for a batch; None
    or anything on open axes. pbc: bool, (3,) or (B, 3). graph_ptr: (B + 1,) int, for a batch. cutoff, max_neighbors, ties,
    tolerance, missing: see GraphSpec. sort: order inside a row, "source" (source, shift; default for radius lists) or
    "distance" (distance, source, shift; default for k nearest). device: a torch device for the answer; default: torch
    tensors in give torch tensors out, on the same device, detached, anything else NumPy arrays.

    Self-pairs are excluded by index and shift, never by distance: coincident atoms are neighbours at distance 0. A CUDA
    device searches itself if this build holds CUDA kernels, on torch's current stream, with one host synchronisation if all
    arguments are there.

    Returns a NeighborList. Raises ValueError, naming the argument, for values that are not finite, shapes that do not
    match, cells without volume on a periodic axis, and a device that torch does not have. Deterministic: same bits for any
    thread count and device. Releases the GIL.
    """
    spec = GraphSpec(cutoff, max_neighbors, ties, tolerance, missing)
    given = tensor(positions)
    place = torch_device(device) if device is not None else None if given is None else given.device
    if place is not None and place.type == "cuda" and core().cuda_built():
        from cgfast import _cuda_search

        return _cuda_search.neighbor_list(positions, cell, pbc, graph_ptr, spec, sort, place)
    flat = floats("positions", positions, (None, 3))
    pointers = graph_pointers(graph_ptr, len(flat))
    periodic = flags(pbc, len(pointers) - 1)
    cells = _cells(cell, periodic, batch=graph_ptr is not None)
    found = search(flat, cells, periodic, pointers, spec, sort=sort, threads=threads)
    return found if place is None else _to_torch(found, place)


def search(
    positions: NDArray[np.float64],
    cells: NDArray[np.float64],
    pbc: NDArray[np.bool_],
    graph_ptr: NDArray[np.int64],
    spec: GraphSpec,
    *,
    sort: str | None = None,
    threads: int | None = None,
    first_crystal: int = 0,
) -> NeighborList:
    """neighbor_list() on arrays that already have their final dtypes and shapes. first_crystal: what messages call it."""
    n_crystals = len(graph_ptr) - 1
    native = core().NeighborSearch(
        address(positions),
        address(cells),
        address(pbc),
        address(graph_ptr),
        n_crystals,
        *native_rules(spec, sort),
        thread_count(threads),
        first_crystal,
    )
    n_edges = native.n_edges
    edge_index = np.empty((2, n_edges), np.int64)
    shifts = np.empty((n_edges, 3), np.int32)
    distances = np.empty(n_edges, np.float64)
    edge_weight = np.empty(n_edges, np.float64) if spec.ties == "shell" else None
    row_ptr = np.empty(len(positions) + 1, np.int64)
    few = np.zeros(n_crystals, np.int64)
    native.fill(
        address(edge_index),
        address(edge_index) + 8 * n_edges,
        address(shifts),
        address(distances),
        address(edge_weight),
        address(row_ptr),
        address(few),
    )
    return NeighborList(edge_index, shifts, distances, row_ptr, edge_weight, few)


def native_rules(spec: GraphSpec, sort: str | None) -> tuple[float, int, bool, float, bool, bool]:
    """What the native searches are told of spec and sort: cutoff, k (0: all), shell, tolerance, pad_2018, by_distance.

    Raises ValueError for an order of edges that there is not.
    """
    k = spec.max_neighbors
    order = sort if sort is not None else ("source" if k is None else "distance")
    _one_of(order, SORTS, "sort")
    shell, pad_2018 = k is not None and spec.ties == "shell", k is not None and spec.missing == "pad-2018"
    return spec.cutoff, k or 0, shell, spec.tolerance, pad_2018, order == "distance"


def _number(value: object, name: str) -> float:
    try:
        if isinstance(value, str | bytes | bytearray):
            raise TypeError  # float() would read it
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        msg = f"{name} must be a number of Å, got {value!r}"
        raise ValueError(msg) from None


def _neighbor_count(value: object) -> int:
    valid = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not valid or int(value) < 1 or int(value) >= 2**31:  # type: ignore[call-overload]
        msg = f"max_neighbors must be None or a whole number of at least 1, got {value!r}"
        raise ValueError(msg)
    return int(value)  # type: ignore[call-overload, no-any-return]


def _one_of(value: object, allowed: tuple[str, ...], name: str) -> None:
    if value not in allowed:
        msg = f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}"
        raise ValueError(msg)


def _cells(cell: ArrayLike | None, pbc: NDArray[np.bool_], *, batch: bool) -> NDArray[np.float64]:
    n_crystals = len(pbc)
    if cell is not None:
        return floats("cell", cell, (n_crystals, 3, 3) if batch else (3, 3)).reshape(n_crystals, 3, 3)
    if pbc.any():
        refuse("cell", "the value None", f"lattice vectors, because pbc is {pbc.tolist()}")
    return np.zeros((n_crystals, 3, 3))


def _to_torch(found: NeighborList, device: object) -> NeighborList:
    import torch

    fields = (found.edge_index, found.shifts, found.distances, found.row_ptr, found.edge_weight, found.few)
    return NeighborList(*(None if f is None else torch.from_numpy(f).to(device) for f in fields))  # type: ignore[call-overload]
