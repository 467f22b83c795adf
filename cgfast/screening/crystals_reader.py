"""Crystals in memory as a source to screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cgfast.io.batch import StructureBatch, drop_problems

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgfast.crystals import Crystals

_BATCH_ROWS = 1024  # as many as `cgfast.io.read` gives, so that both ways make the same batches


class CrystalsReader:
    """Hands on `crystals` in batches, like a `cgfast.io.Reader`; those that cannot be used are failures."""

    kept_schema = None

    def __init__(self, crystals: Crystals) -> None:
        self._crystals = crystals
        self.n_rows: int | None = len(crystals)

    def batches(self) -> Iterator[StructureBatch]:
        """Batches of 1024 crystals (the last may hold fewer), from the beginning."""
        for start in range(0, len(self._crystals), _BATCH_ROWS):
            part = self._crystals[start : start + _BATCH_ROWS]
            rows = np.arange(start, start + len(part))
            yield drop_problems(StructureBatch(part, rows, n_rows=len(part)))
