"""Of neighbouring rows with the same name the best one: the volume of a candidate with the lowest energy, and the like."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cgfast.screening.selection.top import check_rankable, ranking

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["BestOf"]


class BestOf:
    """Keeps, of each run of neighbouring rows with one value in `group`, the row with the lowest (or highest) `by`.

    Of equal ones the first; missing and NaN values come last. Tables come in one after the other; the run that may go on is
    held back as its best row, so that memory does not grow, and runs may cross from table to table. The result depends on
    the rows alone, not on how they are divided into tables.
    """

    def __init__(self, group: str, by: str, *, descending: bool = False) -> None:
        self.group = group
        self.by = by
        self._descending = descending
        self._held: pa.Table | None = None

    def check(self, schema: pa.Schema) -> None:
        """Raise ValueError unless a table of this schema has both columns, with numbers in `by`."""
        import pyarrow as pa

        check_rankable(schema, self.by)
        if self.group not in schema.names:
            msg = f"best_of: no column {self.group!r}; the columns are {', '.join(schema.names)}"
            raise ValueError(msg)
        kind = schema.field(self.group).type
        if pa.types.is_nested(kind):
            msg = f"best_of: column {self.group!r} holds {kind}, expected text or numbers"
            raise ValueError(msg)

    def push(self, table: pa.Table) -> pa.Table:
        """Take the next rows; give the best ones of the runs that are complete."""
        import pyarrow as pa

        self.check(table.schema)
        if self._held is not None:
            table = pa.concat_tables([self._held, table], promote_options="permissive")
        if table.num_rows == 0:
            return table
        best = table.take(_best_rows(_starts(table.column(self.group)), ranking(table, self.by, descending=self._descending)))
        self._held = best.slice(best.num_rows - 1)
        return best.slice(0, best.num_rows - 1)

    def finish(self) -> pa.Table | None:
        """The best row of the last run; None if there were no rows."""
        held, self._held = self._held, None
        return held


def _starts(names: pa.ChunkedArray) -> NDArray[np.intp]:
    """The first row of each run of equal values; null equals null."""
    codes = names.combine_chunks().dictionary_encode(null_encoding="encode")
    indices = np.asarray((codes.combine_chunks() if hasattr(codes, "combine_chunks") else codes).indices)
    return np.flatnonzero(np.concatenate([[True], indices[1:] != indices[:-1]]))


def _best_rows(starts: NDArray[np.intp], keys: NDArray[np.float64]) -> NDArray[np.intp]:
    """For each run the first row with its smallest key."""
    keys = np.where(np.isnan(keys), np.inf, keys)
    run = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(keys))))
    smallest = np.flatnonzero(keys == np.minimum.reduceat(keys, starts)[run])
    return smallest[np.unique(run[smallest], return_index=True)[1]]
