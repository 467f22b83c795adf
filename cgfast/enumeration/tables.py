"""Candidates as Arrow columns: names, ids and structures, without a Python object a row."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from cgfast.elements import SYMBOLS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["candidate_names", "columns_of", "row_ids", "structure_columns"]


def candidate_names(options: NDArray[np.intp]) -> pa.Array:
    """(n,) text: what each option (n, m) of a letter adds to a formula: `Ba`, `O3`, `O2N`."""
    import pyarrow as pa

    runs = [[(SYMBOLS[z], len(list(same))) for z, same in groupby(row)] for row in options.tolist()]
    return pa.array(["".join(f"{name}{count if count > 1 else ''}" for name, count in row) for row in runs], pa.string())


def columns_of(
    chosen: Sequence[NDArray[np.intp]], names: Mapping[str, pa.Array], prototype: str, volumes: Sequence[float]
) -> tuple[pa.Array, pa.Table]:
    """Ids (R,) of the rows, and their kept columns: candidates one after the other, each in all volumes.

    `chosen` holds an array of option indices (B,) for each letter, `names` what the options are called.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    n_candidates, n_volumes = len(chosen[0]), len(volumes)
    parts = [array.take(pa.array(index)) for index, array in zip(chosen, names.values(), strict=True)]
    empty = pa.scalar("")
    candidate = pc.binary_join_element_wise(pa.scalar(f"{prototype}-"), *parts, empty)
    row = pa.array(np.repeat(np.arange(n_candidates), n_volumes))
    suffixes = pa.array([f"-v{_shown(volume)}" for volume in volumes], pa.string())
    which = np.tile(np.arange(n_volumes), n_candidates)
    rows = candidate.take(row)
    ids = pc.binary_join_element_wise(rows, suffixes.take(pa.array(which)), empty)
    kept = {"candidate": rows, "volume_factor": pa.array(np.tile(np.array(volumes), n_candidates), pa.float64())}
    kept |= {f"site_{letter}": part.take(row) for letter, part in zip(names, parts, strict=True)}
    return ids, pa.table(kept)


def _shown(volume: float) -> str:
    short = f"{volume:.2f}"
    return short if float(short) == volume else repr(volume)


def row_ids(ids: pa.Array) -> NDArray[np.str_]:
    """Arrow text as NumPy's."""
    return np.array(ids.to_pylist(), dtype=str) if len(ids) else np.empty(0, dtype="<U1")


def structure_columns(
    cell: NDArray[np.float64], positions: NDArray[np.float64], numbers: NDArray[np.int32]
) -> dict[str, pa.Array]:
    """Columns with OPTIMADE's names for R crystals of n atoms: cells (R, 3, 3), positions (R, n, 3), numbers (R, n)."""
    import pyarrow as pa

    n_rows, n_sites = numbers.shape
    symbols = pa.array(SYMBOLS, pa.string()).take(pa.array(numbers.ravel()))
    return {
        "lattice_vectors": _lists(n_rows, 3, _lists(n_rows * 3, 3, pa.array(cell.ravel()))),
        "cartesian_site_positions": _lists(n_rows, n_sites, _lists(n_rows * n_sites, 3, pa.array(positions.ravel()))),
        "species_at_sites": _lists(n_rows, n_sites, symbols),
    }


def _lists(n_rows: int, size: int, values: pa.Array) -> pa.Array:
    import pyarrow as pa

    return pa.ListArray.from_arrays(pa.array(np.arange(n_rows + 1, dtype=np.int32) * np.int32(size)), values)
