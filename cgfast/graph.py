"""CrystalGraph: a batch of crystals as one graph in compressed sparse rows, without padding."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from cgfast._arrays import any_array, floats, graph_pointers, integers, pointers, refuse, tensor
from cgfast._devices import torch_device
from cgfast._optional import require
from cgfast.neighbors import GraphSpec, search

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import ArrayLike, NDArray

    from cgfast.crystals import Crystals
    from cgfast.neighbors import NeighborList

# Atoms per batch of graphs. More leave the processor's caches and make torch fetch fresh pages for every temporary: at
# 32,768 a matrix product per atom takes twice as long. Fewer cost more calls.
BATCH_ATOMS = 8192
# On a CUDA device: enough rows to fill it and to make launching (about 40 kernels) a small part, in about 1 GB of its memory
# for models of 12 neighbours.
CUDA_BATCH_ATOMS = 262_144


@dataclass(frozen=True, slots=True, eq=False)
class CrystalGraph:
    """Edges of B crystals with N atoms, in rows by target. All arrays are NumPy, or all are torch tensors.

    edge_index: (2, E) int64, rows (source, target), numbered over the whole batch. row_ptr: (N + 1,) int64, the edges of
    target i are row_ptr[i]:row_ptr[i+1]. graph_ptr: (B + 1,) int64, the atoms of crystal b. atomic_numbers: (N,) int32.
    distances: (E,) float64 Å or None. shifts: (E, 3) int32 or None. edge_weight: (E,) float64 or None (ones). few: (B,)
    int64, atoms with fewer than max_neighbors neighbours inside the cutoff, or None. edge_attr: (E, K) features of a user's
    own, or None. spec: what made the edges, or None.

    Made by build_graphs(), or from_edges() for a user's own edges.
    """

    edge_index: Any
    row_ptr: Any
    graph_ptr: Any
    atomic_numbers: Any
    distances: Any = None
    shifts: Any = None
    edge_weight: Any = None
    few: Any = None
    edge_attr: Any = None
    spec: GraphSpec | None = None

    @property
    def source(self) -> Any:  # noqa: ANN401 - array or tensor
        """(E,) int64, neighbour j."""
        return self.edge_index[0]

    @property
    def target(self) -> Any:  # noqa: ANN401 - array or tensor
        """(E,) int64, centre i."""
        return self.edge_index[1]

    @property
    def n_atoms(self) -> int:
        """Number of atoms N."""
        return len(self.atomic_numbers)

    @property
    def n_crystals(self) -> int:
        """Number of crystals B."""
        return len(self.graph_ptr) - 1

    @property
    def n_edges(self) -> int:
        """Number of edges E."""
        return int(self.edge_index.shape[1])

    @property
    def few_neighbors(self) -> Any:  # noqa: ANN401 - array or tensor
        """(B,) bool: some atom has fewer than max_neighbors neighbours inside the cutoff. None if not known."""
        return None if self.few is None else self.few > 0

    @property
    def is_torch(self) -> bool:
        """True if the arrays are torch tensors."""
        return not isinstance(self.edge_index, np.ndarray)

    def torch(self) -> Self:
        """The same graph as torch tensors (sharing memory), on the CPU if it was NumPy."""
        if self.is_torch:
            return self
        import torch

        return self._convert(torch.from_numpy)

    def numpy(self) -> Self:
        """The same graph as NumPy arrays, copied from the device if need be."""
        return self._convert(lambda tensor: tensor.detach().cpu().numpy()) if self.is_torch else self

    def to(self, device: object) -> Self:
        """The same graph as torch tensors on `device`."""
        return self.torch()._convert(lambda tensor: tensor.to(device))  # noqa: SLF001 - own class

    def _convert(self, function: Callable[[Any], Any]) -> Self:
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "spec"}
        return replace(self, **{name: None if a is None else function(a) for name, a in arrays.items()})

    @classmethod
    def from_edges(
        cls,
        edge_index: ArrayLike,
        atomic_numbers: ArrayLike,
        *,
        graph_ptr: ArrayLike | None = None,
        distances: ArrayLike | None = None,
        shifts: ArrayLike | None = None,
        edge_weight: ArrayLike | None = None,
        edge_attr: ArrayLike | None = None,
    ) -> Self:
        """A graph from a user's own edges, in any order (sorted stably by target, with all that belongs to them).

        edge_index: (2, E) whole numbers, rows (source, target). atomic_numbers: (N,). graph_ptr: (B + 1,), default one
        crystal. distances, edge_weight: (E,). shifts: (E, 3) whole numbers. edge_attr: (E, K). If edge_index is a torch
        tensor so is the graph, on its device. Tensors among the rest keep their dtype and gradient.

        Raises ValueError for wrong shapes, atoms that do not exist, and edges between crystals.
        """
        edges, row_ptr, crystal_ptr, numbers, order = _sorted_edges(edge_index, atomic_numbers, graph_ptr)
        n_edges = edges.shape[1]
        extras = {
            "distances": _sorted_like("distances", distances, (n_edges,), order),
            "edge_weight": _sorted_like("edge_weight", edge_weight, (n_edges,), order),
            "edge_attr": _sorted_like("edge_attr", edge_attr, (n_edges, None), order),
            "shifts": None if shifts is None else _sorted_shifts(shifts, n_edges, order),
        }
        given = tensor(edge_index)
        if given is None:
            plain: dict[str, Any] = {name: None if v is None else any_array(name, v) for name, v in extras.items()}
            return cls(edges, row_ptr, crystal_ptr, numbers, **plain)
        import torch

        arrays = {"edge_index": edges, "row_ptr": row_ptr, "graph_ptr": crystal_ptr, "atomic_numbers": numbers, **extras}
        made: dict[str, Any] = {name: None if a is None else torch.as_tensor(a).to(given.device) for name, a in arrays.items()}
        return cls(**made)

    def to_pyg(self) -> Any:  # noqa: ANN401 - torch_geometric is optional
        """A torch_geometric `Batch` with z, edge_index, distances, shifts, edge_weight, edge_attr, batch and ptr.

        It is for layers and models; it does not come apart into single Data objects.

        Raises ImportError with the command to install torch_geometric if it is missing.
        """
        data = require("torch_geometric.data", "pyg")
        torch = require("torch", "pyg")
        graph = self.torch()
        ptr = graph.graph_ptr
        crystal = torch.repeat_interleave(torch.arange(self.n_crystals, device=ptr.device), ptr[1:] - ptr[:-1])
        out = data.Batch(batch=crystal, ptr=ptr)
        out.z, out.edge_index, out.num_nodes = graph.atomic_numbers.long(), graph.edge_index, self.n_atoms
        for name in ("distances", "shifts", "edge_weight", "edge_attr"):
            if getattr(graph, name) is not None:
                setattr(out, name, getattr(graph, name))
        return out

    @classmethod
    def from_pyg(cls, data: Any) -> Self:  # noqa: ANN401 - torch_geometric is optional
        """The inverse of to_pyg(), for any Data or Batch with z and edge_index (ptr or a sorted batch, distances, shifts,
        edge_weight and edge_attr where present).

        Raises ValueError if z or edge_index is missing, or batch is not sorted.
        """
        for name in ("z", "edge_index"):
            if getattr(data, name, None) is None:
                msg = f"data must have the attribute {name!r}, got {type(data).__name__} with {sorted(data.keys())}"
                raise ValueError(msg)
        return cls.from_edges(
            data.edge_index,
            data.z,
            graph_ptr=_pyg_pointers(data),
            distances=getattr(data, "distances", None),
            shifts=getattr(data, "shifts", None),
            edge_weight=getattr(data, "edge_weight", None),
            edge_attr=getattr(data, "edge_attr", None),
        )


def build_graphs(
    crystals: Crystals, spec: GraphSpec | None = None, *, threads: int | None = None, device: object = None
) -> CrystalGraph:
    """Build the graph of a batch of crystals, with the atoms numbered as in `crystals`.

    spec: default GraphSpec() (12 nearest inside 8 Å). device: None returns a NumPy CrystalGraph, whose `.torch()` shares its
    memory; a torch device returns tensors there, and a CUDA device searches itself if this build holds CUDA kernels, with
    one host synchronisation. Raises ValueError for a crystal that has no graph (see Crystals.problems()) and for a device
    that torch does not have. Same bits for any thread count and device.
    """
    if not hasattr(crystals, "graph_ptr"):
        msg = f"crystals must be cgfast.Crystals, got {type(crystals).__name__}; see Crystals.from_pymatgen, .from_ase"
        raise ValueError(msg)
    spec = GraphSpec() if spec is None else spec
    if not isinstance(spec, GraphSpec):
        refuse("spec", f"the value {spec!r}", "a GraphSpec")
    # Copies: those of a mapped file could not become tensors.
    graph_ptr = np.array(crystals.graph_ptr, np.int64)
    atomic_numbers = np.array(crystals.atomic_numbers, np.int32)
    positions = np.ascontiguousarray(crystals.positions)
    cell, pbc = np.ascontiguousarray(crystals.cell), np.ascontiguousarray(crystals.pbc)
    place = None if device is None else torch_device(device)
    if place is not None:
        from cgfast import _cuda_search

        if _cuda_search.searches(place):
            moved = _cuda_search.search(positions, cell, pbc, graph_ptr, atomic_numbers, spec, place)
            return _graph(*moved, spec)
    graph = _graph(search(positions, cell, pbc, graph_ptr, spec, threads=threads), graph_ptr, atomic_numbers, spec)
    return graph if place is None else graph.to(place)


def _graph(found: NeighborList, graph_ptr: Any, numbers: Any, spec: GraphSpec) -> CrystalGraph:  # noqa: ANN401
    extras = (found.distances, found.shifts, found.edge_weight, found.few)
    return CrystalGraph(found.edge_index, found.row_ptr, graph_ptr, numbers, *extras, spec=spec)


def batch_atoms_on(device: object) -> int:
    """How many atoms a batch has by default on a torch device."""
    return CUDA_BATCH_ATOMS if str(device).startswith("cuda") else BATCH_ATOMS


def split_by_atoms(graph_ptr: NDArray[np.int64], batch_atoms: int) -> Iterator[slice]:
    """Yield consecutive slices of crystals with at most `batch_atoms` atoms each.

    `graph_ptr` is (B+1,) int64. Slices are as long as the limit allows, cover 0..B in order and are never empty; a crystal
    larger than the limit gets a slice of its own (nothing is dropped). The cut depends on the crystals and `batch_atoms`
    alone, so that a run, a repeated run and a run on part of the rows put the same crystals together and give the same
    bits. Raises ValueError for batch_atoms < 1.
    """
    if batch_atoms < 1:
        msg = f"batch_atoms: got {batch_atoms}, expected at least 1"
        raise ValueError(msg)
    n_crystals = len(graph_ptr) - 1
    start = 0
    while start < n_crystals:
        limit = graph_ptr[start] + batch_atoms
        stop = int(np.searchsorted(graph_ptr, limit, side="right")) - 1
        stop = max(stop, start + 1)
        yield slice(start, stop)
        start = stop


def _sorted_edges(edge_index: ArrayLike, atomic_numbers: ArrayLike, graph_ptr: ArrayLike | None) -> tuple[Any, ...]:
    """Edges by target, row_ptr, graph_ptr, atomic numbers, and the permutation that sorted them (None: none needed)."""
    edges = any_array("edge_index", edge_index)
    if edges.size == 0:
        edges = edges.reshape(2, 0).astype(np.int64)
    if edges.ndim != 2 or edges.shape[0] != 2 or edges.dtype.kind not in "iu":
        refuse("edge_index", f"type {edges.dtype} and shape {edges.shape}", "integers of shape (2, E)")
    numbers = integers("atomic_numbers", atomic_numbers, np.int32)
    n_atoms = len(numbers)
    if edges.size and (edges.min() < 0 or edges.max() >= n_atoms):
        refuse("edge_index", f"atoms {edges.min()} to {edges.max()}", f"0 to {n_atoms - 1}")
    crystal_ptr = graph_pointers(graph_ptr, n_atoms)
    crystal = np.repeat(np.arange(len(crystal_ptr) - 1), np.diff(crystal_ptr))
    if np.any(crystal[edges[0]] != crystal[edges[1]]):
        refuse("edge_index", "an edge between two crystals", "edges inside crystals only")
    order = None if np.all(np.diff(edges[1]) >= 0) else np.argsort(edges[1], kind="stable")
    edges = np.ascontiguousarray(edges if order is None else edges[:, order], np.int64)
    row_ptr = pointers(np.bincount(edges[1], minlength=n_atoms))
    return edges, row_ptr, crystal_ptr, numbers, order


def _sorted_like(name: str, value: Any, shape: tuple[int | None, ...], order: NDArray[np.int64] | None) -> Any:  # noqa: ANN401
    """`value`, checked, in the order of the sorted edges; a tensor stays one, with its gradient."""
    given = tensor(value)
    if value is None or given is None:
        array = None if value is None else floats(name, value, shape)
        return array if array is None or order is None else array[order]
    if given.dim() != len(shape) or any(n not in (None, m) for n, m in zip(shape, given.shape, strict=True)):
        refuse(name, f"shape {tuple(given.shape)}", str(shape))
    import torch

    return given if order is None else given[torch.as_tensor(order, device=given.device)]


def _sorted_shifts(shifts: ArrayLike, n_edges: int, order: NDArray[np.int64] | None) -> NDArray[np.int32]:
    array = floats("shifts", shifts, (n_edges, 3))
    if not np.all((array == np.rint(array)) & (np.abs(array) < 2**31)):
        refuse("shifts", "values that are no whole numbers of 32 bits", "whole lattice shifts")
    return (array if order is None else array[order]).astype(np.int32)


def _pyg_pointers(data: Any) -> Any:  # noqa: ANN401 - torch_geometric is optional
    ptr = getattr(data, "ptr", None)
    batch = getattr(data, "batch", None)
    if ptr is not None or batch is None:
        return ptr
    crystal = batch.detach().cpu().numpy()
    if np.any(np.diff(crystal) < 0):
        msg = "data.batch must be sorted, got a decreasing one"
        raise ValueError(msg)
    return pointers(np.bincount(crystal))
