"""Crystals in memory as a source to screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cgfast.io.batch import Mark, StructureBatch, drop_problems

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgfast.crystals import Crystals

_BATCH_ROWS = 1024  # as many as `cgfast.io.read` gives, so that both ways make the same batches


class CrystalsReader:
    """Hands on `crystals` in batches, like a `cgfast.io.Reader`; those that cannot be used are failures."""

    kept_schema = None
    batch_rows = _BATCH_ROWS

    def __init__(self, crystals: Crystals) -> None:
        self.crystals = crystals
        self.n_rows: int | None = len(crystals)

    def batches(self, start_row: int = 0, stop_row: int | None = None, mark: Mark | None = None) -> Iterator[StructureBatch]:
        """Batches of 1024 crystals (the last may hold fewer), of the rows from start_row, a multiple of that, to stop_row."""
        del mark  # any row is found at once
        stop_row = len(self.crystals) if stop_row is None else min(stop_row, len(self.crystals))
        for start in range(start_row, stop_row, _BATCH_ROWS):
            part = self.crystals[start : min(start + _BATCH_ROWS, stop_row)]
            rows = np.arange(start, start + len(part))
            yield drop_problems(StructureBatch(part, rows, n_rows=len(part)))
