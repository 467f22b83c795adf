"""Crystals as Arrow tables with OPTIMADE's names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cgfast import elements
from cgfast.io.batch import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from cgfast.crystals import Crystals

__all__ = ["NAMES", "column_names", "structure_table"]

NAMES = ("id", "lattice_vectors", "cartesian_site_positions", "species_at_sites", "dimension_types")
_READ_ALSO = ("species", "structure_features")  # would be taken for what is at the sites


def column_names(kept: Sequence[str]) -> list[str]:
    """Names of kept columns in the table: their own, or ``input.<name>`` where it has a meaning for structures."""
    taken = {*NAMES, *_READ_ALSO}
    return [f"input.{name}" if name in taken else name for name in kept]


def structure_table(crystals: Crystals, kept: pa.Table | None) -> pa.Table:
    """B crystals as B rows, and their kept columns. Numbers go over bit by bit."""
    import pyarrow as pa

    n = len(crystals)
    symbols = pa.array(elements.SYMBOLS, pa.string()).take(pa.array(crystals.atomic_numbers))
    columns = [
        pa.array([printable(name) for name in crystals.ids.tolist()], pa.string()),
        _lists(np.arange(n + 1) * 3, _vectors(crystals.cell)),
        _lists(crystals.graph_ptr, _vectors(crystals.positions)),
        _lists(crystals.graph_ptr, symbols),
        _lists(np.arange(n + 1) * 3, pa.array(crystals.pbc.ravel().astype(np.int32))),
    ]
    fields = [pa.field(name, column.type) for name, column in zip(NAMES, columns, strict=True)]
    if kept is not None:
        columns += kept.columns
        renamed = zip(kept.schema, column_names(kept.column_names), strict=True)
        fields += [field.with_name(name) for field, name in renamed]
    return pa.table(columns, schema=pa.schema(fields))


def _vectors(values: NDArray[np.float64]) -> pa.Array:
    import pyarrow as pa

    flat = np.ascontiguousarray(values).reshape(-1)
    return _lists(np.arange(len(flat) // 3 + 1) * 3, pa.array(flat))


def _lists(pointers: NDArray[np.int64], values: pa.Array) -> pa.Array:
    import pyarrow as pa

    return pa.ListArray.from_arrays(pa.array(pointers.astype(np.int32)), values)
