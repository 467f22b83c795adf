"""Crystals to measure on: real ones from Parquet tables, and large generated cells.

The tables lie under the folder named by CGFAST_SHARED (default: `../shared` beside the checkout); a benchmark
whose table is absent is skipped with the reason.
"""

from __future__ import annotations

import functools
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

if TYPE_CHECKING:
    import cgfast

SHARED = Path(os.environ.get("CGFAST_SHARED", Path(__file__).parents[2] / "shared"))
SILICON_EDGE = 5.43102  # Å, CODATA 2018
STRUCTURE = ["id", "lattice_vectors", "cartesian_site_positions", "species_at_sites"]


class Cell(NamedTuple):
    """What peers are called with: positions (n, 3) in Å, cell (3, 3) in Å by rows, atomic numbers (n,)."""

    positions: np.ndarray
    cell: np.ndarray
    numbers: np.ndarray


def parquet_path(name: str) -> Path:
    """Path of a table, or a skip that names what is missing."""
    path = SHARED / "data" / f"{name}.parquet"
    if not path.exists():
        pytest.skip(f"{path} is not there; set CGFAST_SHARED to the folder that holds data/{name}.parquet")
    return path


@functools.lru_cache(maxsize=8)
def crystals(name: str, rows: int) -> cgfast.Crystals:
    """`rows` crystals, evenly spread over a table, in its order."""
    import cgfast

    table = _spread(parquet_path(name), rows, STRUCTURE)
    site_lists = table["species_at_sites"].combine_chunks()
    flat = {column: _numbers(table[column].combine_chunks()) for column in ("cartesian_site_positions", "lattice_vectors")}
    return cgfast.Crystals.from_arrays(
        flat["cartesian_site_positions"].reshape(-1, 3),
        flat["lattice_vectors"].reshape(-1, 3, 3),
        _atomic_numbers(site_lists.flatten()),
        graph_ptr=np.concatenate([[0], np.cumsum(site_lists.value_lengths().to_numpy())]).astype(np.int64),
        ids=np.array(table["id"].to_pylist()),
    )


def cells(batch: cgfast.Crystals) -> list[Cell]:
    """The same crystals, one by one, as contiguous arrays of their own: what peers are called with."""
    ends = batch.graph_ptr
    return [
        Cell(batch.positions[a:b].copy(), batch.cell[i].copy(), batch.atomic_numbers[a:b].copy())
        for i, (a, b) in enumerate(itertools.pairwise(ends))
    ]


@functools.lru_cache(maxsize=1)
def silicon(repeats: tuple[int, int, int]) -> Cell:
    """Silicon, 8 * product(repeats) atoms, every one moved by about 0.05 Å so that no shell is exact."""
    face = np.array([[0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0]]) / 4
    basis = np.concatenate([face, face + 0.25])
    corners = np.stack(np.meshgrid(*map(np.arange, repeats), indexing="ij"), axis=-1).reshape(-1, 1, 3)
    positions = ((corners + basis) * SILICON_EDGE).reshape(-1, 3)
    positions += np.random.default_rng(0).normal(0.0, 0.05, positions.shape)
    return Cell(positions, np.diag(np.array(repeats) * SILICON_EDGE), np.full(len(positions), 14, np.int32))


def column(name: str, rows: int, wanted: str) -> np.ndarray:
    """A column of numbers for the same crystals."""
    return _numbers(_spread(parquet_path(name), rows, [wanted])[wanted].combine_chunks())


def _spread(path: Path, rows: int, columns: list[str]) -> Any:
    """That many rows of a table, evenly spread over it: neighbours in a table are often alike."""
    import pyarrow.parquet as pq

    table = pq.read_table(path, columns=columns)
    return table.take(np.unique(np.linspace(0, len(table) - 1, rows).astype(np.int64)))


def _numbers(column: Any) -> np.ndarray:
    """The numbers at the bottom of a column of nested lists."""
    while hasattr(column, "flatten") and "list" in str(column.type):
        column = column.flatten()
    numbers: np.ndarray = column.to_numpy(zero_copy_only=False)
    return numbers


def _atomic_numbers(symbols: Any) -> np.ndarray:
    import gemmi

    encoded = symbols.dictionary_encode()
    table = np.array([gemmi.Element(s).atomic_number for s in encoded.dictionary.to_pylist()], dtype=np.int32)
    numbers: np.ndarray = table[encoded.indices.to_numpy()]
    return numbers
