"""Crystals for tests of formats, and what other packages read from the same files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cgfast.crystals import Crystals
from cgfast.io import Failure, read

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["assert_same", "everything", "ids", "real_crystals"]


def real_crystals(data: Path, n: int) -> Crystals:
    """The first crystals of a shared file."""
    return next(iter(read(data / "mp_2024_properties_3k.parquet", batch_rows=n)))


def everything(source: Any, **options: Any) -> tuple[Crystals, list[Failure]]:
    """All crystals and failures; rows in are rows out."""
    crystals, failures, rows, n = [], [], [], 0
    for batch in read(source, batch_rows=7, **options).batches():
        crystals.append(batch.crystals)
        failures += batch.failures
        rows += [*batch.rows.tolist(), *(failure.row for failure in batch.failures)]
        n += batch.n_rows
    assert sorted(rows) == list(range(n))
    return Crystals.concatenate(crystals), failures


def ids(source: Any, **options: Any) -> list[str]:
    """Ids of all crystals."""
    return [str(name) for name in everything(source, **options)[0].ids]


def assert_same(crystals: Crystals, atoms: list[Any], tolerance: float = 0.0) -> None:
    """Crystals are those of ASE, atom by atom."""
    assert len(crystals) == len(atoms)
    for one, other in zip(crystals, atoms, strict=True):
        assert np.array_equal(one.atomic_numbers, other.numbers)
        assert np.array_equal(one.pbc[0], other.pbc)
        assert np.allclose(one.cell[0], other.cell, rtol=0, atol=tolerance)
        assert np.allclose(one.positions, other.positions, rtol=0, atol=tolerance)
