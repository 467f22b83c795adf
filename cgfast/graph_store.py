"""GraphStore: the graphs of a whole data set in flat arrays, and batches of them without an object per crystal."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Self

import numpy as np

from cgfast._arrays import integers, pointers, refuse
from cgfast._growing_arrays import GrowingArrays
from cgfast._native import address, core, thread_count
from cgfast.graph import BATCH_ATOMS, CrystalGraph, build_graphs, split_by_atoms
from cgfast.neighbors import GraphSpec

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from cgfast.crystals import Crystals

MEMORY_LIMIT = 4 * 2**30  # bytes


class Sizes(NamedTuple):
    """How large the graph of each crystal is: (B,) int64 atoms, (B,) int64 edges."""

    atoms: NDArray[np.int64]
    edges: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class GraphStore:
    """The graphs of B crystals with N atoms and E edges, atoms numbered inside their crystal. Immutable.

    source: (E,) int32, neighbour j of the edges in rows by target. degree: (N,) int32, edges of each target. distances:
    (E,) float32 or float64 Å. edge_weight: (E,) of the same type, or None (ones; see GraphSpec). atomic_numbers: (N,)
    uint8. graph_ptr, edge_ptr: (B + 1,) int64, the atoms and the edges of crystal b. few: (B,) int64, atoms with fewer than
    max_neighbors neighbours inside the cutoff. spec: what made the edges. Positions, cells and lattice shifts are not kept:
    a batch has no forces and no stress.

    Made by build(). An edge takes 8 bytes with float32 distances (the default), 12 with float64; shell weights add 4 or 8.
    """

    source: NDArray[np.int32]
    degree: NDArray[np.int32]
    distances: NDArray[Any]
    edge_weight: NDArray[Any] | None
    atomic_numbers: NDArray[np.uint8]
    graph_ptr: NDArray[np.int64]
    edge_ptr: NDArray[np.int64]
    few: NDArray[np.int64]
    spec: GraphSpec

    @classmethod
    def build(
        cls,
        crystals: Crystals,
        spec: GraphSpec | None = None,
        *,
        dtype: DTypeLike = np.float32,
        threads: int | None = None,
        folder: str | os.PathLike[str] | None = None,
        memory_limit: float = MEMORY_LIMIT,
    ) -> Self:
        """Build the graphs of all crystals once, several batches at a time.

        spec: default GraphSpec() (12 nearest inside 8 Å). dtype: of distances and weights, float32 or float64. threads: see
        cgfast.neighbor_list. folder: where to keep the arrays as memory-mapped .npy files (made if need be; such files of
        an earlier store are replaced). Without it they stay in memory up to `memory_limit` bytes; more than that goes to
        files in the system's temporary directory (TMPDIR) that vanish with the store, also where the process is killed.

        Raises ValueError for a crystal that has no graph, with its index and id (see Crystals.problems()), and for another
        dtype. Same bits for any thread count.
        """
        if not hasattr(crystals, "graph_ptr"):
            msg = f"crystals must be cgfast.Crystals, got {type(crystals).__name__}; see Crystals.from_pymatgen, .from_ase"
            raise ValueError(msg)
        spec = GraphSpec() if spec is None else spec
        if not isinstance(spec, GraphSpec):
            refuse("spec", f"the value {spec!r}", "a GraphSpec")
        columns = _columns(spec, dtype)
        with GrowingArrays(columns, folder, memory_limit) as arrays:
            for part in _in_parallel(crystals, spec, thread_count(threads)):
                arrays.append(part)
            made: dict[str, Any] = arrays.finish()
        made.setdefault("edge_weight", None)
        edge_ptr = pointers(made.pop("edges"))
        return cls(**made, graph_ptr=np.array(crystals.graph_ptr, np.int64), edge_ptr=edge_ptr, spec=spec)

    def __len__(self) -> int:
        return len(self.graph_ptr) - 1

    def __repr__(self) -> str:
        return f"GraphStore({len(self)} crystals, {len(self.degree)} atoms, {len(self.source)} edges, {self.spec})"

    @property
    def sizes(self) -> Sizes:
        """Atoms and edges of every crystal."""
        return Sizes(np.diff(self.graph_ptr), np.diff(self.edge_ptr))

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, in memory or in files."""
        arrays = (getattr(self, field.name) for field in fields(self) if field.name != "spec")
        return sum(array.nbytes for array in arrays if array is not None)

    def batch(self, indices: ArrayLike, *, threads: int | None = None) -> CrystalGraph:
        """The graph of the crystals `indices` (b,), in any order, with repeats, as torch tensors of its own memory.

        It is what build_graphs() gives for crystals[indices], bit for bit, but for the dtype of distances and edge_weight
        (the store's) and shifts (None). One native call without the GIL; threads (see cgfast.neighbor_list) are used for
        large batches only. Same bits for any thread count.

        Raises ValueError for indices that are not whole numbers from 0 to B-1.
        """
        import torch

        chosen = self._indices(indices)
        n_atoms = int(_counts(self.graph_ptr, chosen).sum())
        n_edges = int(_counts(self.edge_ptr, chosen).sum())
        real = torch.float32 if self.distances.dtype == np.float32 else torch.float64
        graph = CrystalGraph(
            edge_index=torch.empty((2, n_edges), dtype=torch.int64),
            row_ptr=torch.empty(n_atoms + 1, dtype=torch.int64),
            graph_ptr=torch.empty(len(chosen) + 1, dtype=torch.int64),
            atomic_numbers=torch.empty(n_atoms, dtype=torch.int32),
            distances=torch.empty(n_edges, dtype=real),
            edge_weight=None if self.edge_weight is None else torch.empty(n_edges, dtype=real),
            few=torch.from_numpy(self.few[chosen]),
            spec=self.spec,
        )
        self._native().collate(
            address(chosen),
            len(chosen),
            n_atoms,
            n_edges,
            graph.source.data_ptr(),
            graph.target.data_ptr(),
            graph.row_ptr.data_ptr(),
            graph.graph_ptr.data_ptr(),
            graph.atomic_numbers.data_ptr(),
            graph.distances.data_ptr(),
            0 if graph.edge_weight is None else graph.edge_weight.data_ptr(),
            thread_count(threads),
        )
        return graph

    def _native(self) -> Any:  # noqa: ANN401 - the core has no static type here
        return core().StoredGraphs(
            address(self.graph_ptr),
            address(self.edge_ptr),
            len(self),
            len(self.degree),
            len(self.source),
            address(self.degree),
            address(self.source),
            address(self.atomic_numbers),
            address(self.distances),
            address(self.edge_weight),
            self.distances.itemsize,
        )

    def _indices(self, indices: ArrayLike) -> NDArray[np.int64]:
        chosen: NDArray[np.int64] = integers("indices", indices, np.int64)
        if len(chosen) and (chosen.min() < 0 or chosen.max() >= len(self)):
            refuse("indices", f"values from {chosen.min()} to {chosen.max()}", f"crystals 0 to {len(self) - 1}")
        return chosen


def _counts(ptr: NDArray[np.int64], indices: NDArray[np.int64]) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = ptr[indices + 1] - ptr[indices]
    return counts


def _columns(spec: GraphSpec, dtype: DTypeLike) -> dict[str, np.dtype[Any]]:
    """Name -> type of the arrays that grow as graphs are built."""
    try:
        real = np.dtype(object if dtype is None else dtype)  # None would be float64
    except TypeError:
        real = np.dtype(object)
    if real not in (np.float32, np.float64):
        refuse("dtype", f"the value {dtype!r}", "float32 or float64")
    plain = {"source": np.int32, "degree": np.int32, "atomic_numbers": np.uint8, "few": np.int64, "edges": np.int64}
    columns = {name: np.dtype(kind) for name, kind in plain.items()} | {"distances": real}
    return columns | {"edge_weight": real} if spec.ties == "shell" else columns


def _in_parallel(crystals: Crystals, spec: GraphSpec, threads: int) -> Iterator[dict[str, NDArray[Any]]]:
    """The graphs of consecutive crystals, in order. Each batch is built by one thread, so few are in memory at a time."""
    waiting: deque[Future[dict[str, NDArray[Any]]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="cgfast-graphs") as executor:
        for part in split_by_atoms(crystals.graph_ptr, BATCH_ATOMS):
            waiting.append(executor.submit(partial(_build_part, crystals[part], spec, part.start)))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _build_part(crystals: Crystals, spec: GraphSpec, first: int) -> dict[str, NDArray[Any]]:
    """The graphs of some crystals, the first of which is number `first` of all, as GraphStore keeps them."""
    for index, reason in crystals.problems().items():
        _refuse_crystal(first + index, crystals.ids[index], reason)
    try:
        graph = build_graphs(crystals, spec, threads=1)
    except ValueError as error:
        if len(crystals) == 1:
            _refuse_crystal(first, crystals.ids[0], str(error).replace("crystal 0", f"crystal {first}"))
        for index, crystal in enumerate(crystals):
            _build_part(crystal, spec, first + index)
        raise
    edges = np.diff(graph.row_ptr[graph.graph_ptr])
    return {
        "source": graph.source - np.repeat(graph.graph_ptr[:-1], edges),
        "degree": np.diff(graph.row_ptr),
        "atomic_numbers": graph.atomic_numbers,
        "few": graph.few,
        "edges": edges,
        "distances": graph.distances,
        "edge_weight": graph.edge_weight,
    }


def _refuse_crystal(index: int, name: str, reason: str) -> NoReturn:
    msg = f"crystals must all have a graph, got crystal {index} ({str(name)!r}) without: {reason}"
    raise ValueError(msg)
