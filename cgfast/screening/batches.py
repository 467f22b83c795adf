"""Cut a batch of structures into batches of bounded size.

The cut depends on the crystals and `batch_atoms` alone: never on timing, thread count or what came before. So
a run, a repeated run and a run on part of the rows put the same crystals together, and give the same bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


def split_by_atoms(graph_ptr: NDArray[np.int64], batch_atoms: int) -> Iterator[slice]:
    """Yield consecutive slices of crystals with at most `batch_atoms` atoms each.

    `graph_ptr` is (B+1,) int64. Slices are as long as the limit allows, cover 0..B in order and are never
    empty; a crystal larger than the limit gets a slice of its own (nothing is dropped). Raises ValueError for
    batch_atoms < 1.
    """
    if batch_atoms < 1:
        msg = f"batch_atoms: got {batch_atoms}, expected at least 1"
        raise ValueError(msg)
    n_crystals = len(graph_ptr) - 1
    start = 0
    while start < n_crystals:
        limit = graph_ptr[start] + batch_atoms
        stop = int(np.searchsorted(graph_ptr, limit, side="right")) - 1
        stop = max(stop, start + 1)
        yield slice(start, stop)
        start = stop
