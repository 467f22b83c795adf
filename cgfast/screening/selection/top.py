"""What is kept of the predictions for showing: all rows, the first few, or the best few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

# Rows that may wait before the best are picked anew: bounds memory, and makes the picking cheap per row.
_WAITING_ROWS = 16384


class Collector(Protocol):
    """Takes tables as they come and gives one table at the end."""

    def add(self, table: pa.Table) -> None:
        """Take the next rows."""

    def finish(self) -> pa.Table | None:
        """Give the rows kept, or None when no table came."""


class First:
    """Keeps the first `limit` rows (None: all of them, so memory grows with the input)."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._tables: list[pa.Table] = []
        self._rows = 0

    def add(self, table: pa.Table) -> None:
        """Take the next rows."""
        if self._limit is not None:
            table = table.slice(0, max(self._limit - self._rows, 0))
        if table.num_rows or not self._tables:
            self._tables.append(table)
            self._rows += table.num_rows

    def finish(self) -> pa.Table | None:
        """Give the rows kept, in input order."""
        import pyarrow as pa

        return pa.concat_tables(self._tables) if self._tables else None


def check_rankable(schema: pa.Schema, by: str) -> None:
    """Raise ValueError unless `schema` has a column `by` of numbers."""
    import pyarrow as pa

    if by not in schema.names:
        msg = f"by: no column {by!r}; the columns are {', '.join(schema.names)}"
        raise ValueError(msg)
    kind = schema.field(by).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)):
        msg = f"by: column {by!r} holds {kind}, expected numbers"
        raise ValueError(msg)


class Top:
    """Keeps the `n` rows with the lowest (or highest) value of the column `by`, in memory bounded by `n`.

    Of rows with the same value the earlier ones win; missing and NaN values come last. Raises ValueError when
    the column is not there (with the names that are) or holds no numbers.
    """

    def __init__(self, n: int, by: str, *, descending: bool = False) -> None:
        self._n = n
        self._by = by
        self._descending = descending
        self._best: pa.Table | None = None
        self._waiting: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        """Take the next rows."""
        check_rankable(table.schema, self._by)
        self._waiting.append(table)
        if sum(part.num_rows for part in self._waiting) >= _WAITING_ROWS + self._n:
            self._pick()

    def finish(self) -> pa.Table | None:
        """Give the best rows, the best first."""
        self._pick()
        return self._best

    def _pick(self) -> None:
        import pyarrow as pa

        tables = self._waiting if self._best is None else [self._best, *self._waiting]
        self._waiting = []
        if tables:
            everything = pa.concat_tables(tables, promote_options="permissive")
            keys = ranking(everything, self._by, descending=self._descending)
            # Rows of earlier batches stand first, in order: a stable sort settles ties by input row.
            order = np.argsort(keys, kind="stable")[: self._n]
            self._best = everything.take(order)


def ranking(table: pa.Table, by: str, *, descending: bool) -> NDArray[np.float64]:
    """(B,) numbers that are the smaller, the better a row is: those of the column `by`, or less them; NaN comes last."""
    import pyarrow as pa

    column = table.column(by).cast(pa.float64(), safe=False)
    keys = np.asarray(column.to_numpy(), dtype=np.float64)
    # NaN sorts last either way, and minus NaN is NaN.
    return -keys if descending else keys
