"""Runs that are interrupted, and what they leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cgfast.screening import screen

if TYPE_CHECKING:
    from pathlib import Path


def kept(at: int) -> int:
    """Rows in whole parts when the reader fails at row `at`: two batches of 4 rows are not taken yet."""
    return max(at - 8, 0) // 8 * 8


class StopError(Exception):
    """What interrupts the runs here."""


def stopping(make_rows, rows, at, error=StopError, **options):
    """Rows whose reader raises `error` when it comes to row `at`."""

    def on_batch(start: int) -> None:
        if start == at:
            raise error

    return make_rows(rows, on_batch=on_batch, **options)


def interrupt(make_rows, make_model, rows, out: Path, at: int = 28, error=StopError, **options) -> None:
    with pytest.raises(error):
        screen(stopping(make_rows, rows, at, error), make_model(), out=out, **options)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def both(out: Path) -> tuple[bytes, bytes]:
    return out.read_bytes(), out.with_name(f"{out.stem}-failures.csv").read_bytes()


def table_of(path: Path, n: int) -> None:
    lattice = np.eye(3).tolist()
    rows = [
        {"id": f"c{k}", "lattice_vectors": lattice, "cartesian_site_positions": [[0.0] * 3], "species_at_sites": ["Na"]}
        for k in range(n)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
