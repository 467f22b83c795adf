"""Crystals in memory as a source to screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cgfast.io.batch import Mark, StructureBatch, drop_problems

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgfast.crystals import Crystals


class CrystalsReader:
    """Hands on `crystals` in batches, like a `cgfast.io.Reader`; those that cannot be used are failures."""

    kept_schema = None

    def __init__(self, crystals: Crystals, batch_rows: int = 1024) -> None:
        self.crystals = crystals
        self.batch_rows = batch_rows
        self.n_rows: int | None = len(crystals)

    def batches(self, start_row: int = 0, stop_row: int | None = None, mark: Mark | None = None) -> Iterator[StructureBatch]:
        """Batches of `batch_rows` crystals (the last may hold fewer), of the rows from start_row to before stop_row.

        start_row: a multiple of `batch_rows`, so that these batches are those of the whole.
        """
        del mark  # any row is found at once
        stop_row = len(self.crystals) if stop_row is None else min(stop_row, len(self.crystals))
        for start in range(start_row, stop_row, self.batch_rows):
            part = self.crystals[start : min(start + self.batch_rows, stop_row)]
            rows = np.arange(start, start + len(part))
            yield drop_problems(StructureBatch(part, rows, n_rows=len(part)))
