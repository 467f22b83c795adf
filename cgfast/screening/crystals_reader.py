"""Crystals in memory as a source to screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cgfast.io.batch import StructureBatch, drop_problems

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgfast.crystals import Crystals


class CrystalsReader:
    """Hands on `crystals` in batches, like a `cgfast.io.Reader`; those that cannot be used are failures."""

    kept_schema = None

    def __init__(self, crystals: Crystals, batch_rows: int) -> None:
        self._crystals = crystals
        self._batch_rows = batch_rows
        self.n_rows: int | None = len(crystals)

    def batches(self) -> Iterator[StructureBatch]:
        """Batches of `batch_rows` crystals (the last may hold fewer), from the beginning."""
        for start in range(0, len(self._crystals), self._batch_rows):
            part = self._crystals[start : start + self._batch_rows]
            rows = np.arange(start, start + len(part))
            yield drop_problems(StructureBatch(part, rows, n_rows=len(part)))
