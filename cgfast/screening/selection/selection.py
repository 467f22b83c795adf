"""Which predictions are wanted: those for which a condition holds, of a group the best; and their count."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

from cgfast.crystals import Crystals
from cgfast.screening.columns import ID
from cgfast.screening.selection.best_of import BestOf
from cgfast.screening.selection.where import Where

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from cgfast.screening.selection.top import Collector

__all__ = ["Selected", "Selection", "SelectionStream"]


class Selection:
    """The options `where` and `best_of`. Raises ValueError for a condition that is none.

    by, descending: the column that the best of a group has the lowest (highest) value of.
    """

    def __init__(
        self, *, where: str | None = None, best_of: str | None = None, by: str | None = None, descending: bool = False
    ) -> None:
        self._where = None if where is None else Where(where)
        self._best_of = best_of
        self._by = by
        self._descending = descending

    def __bool__(self) -> bool:
        return self._where is not None or self._best_of is not None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """The selection that has these `options`, among others."""
        names = ("where", "best_of", "by", "descending")
        return cls(**{name: options[name] for name in names if name in options})

    @property
    def options(self) -> dict[str, object]:
        """What decides the selection, for the record of a run; empty if all rows are wanted."""
        best = {"best_of": self._best_of, "by": self._by, "descending": self._descending}
        return {
            **({} if self._where is None else {"where": self._where.text}),
            **({} if self._best_of is None else best),
        }

    def columns_to_keep(self, source: Any, keep: Sequence[str]) -> Sequence[str]:  # noqa: ANN401 - what `screen` takes
        """`keep`, and the column of `best_of` where it must come from the input."""
        if self._best_of is None or not isinstance(keep, Iterable):
            return keep
        named = [keep] if isinstance(keep, str) else list(keep)
        needed = self._best_of not in {None, ID, *named} and not isinstance(source, Crystals) and not hasattr(source, "batches")
        return [*named, str(self._best_of)] if needed else keep

    def rank(self, by: str | None, schema: pa.Schema | None) -> None:
        """Go by the column `by`. Raises ValueError unless the selection has a meaning for tables of this schema, if known."""
        self._by = by
        if schema is None:
            return
        if self._where is not None:
            self._where.check(schema)
        best = self._new_best()
        if best is not None:
            best.check(schema)

    def stream(self) -> SelectionStream:
        """A pass over all rows in order."""
        return SelectionStream(self._where, self._new_best())

    def _new_best(self) -> BestOf | None:
        if self._best_of is None or self._by is None:
            return None
        return BestOf(self._best_of, self._by, descending=self._descending)


class SelectionStream:
    """One pass: tables in, the wanted rows out, in order. `n_selected` of the rows so far went out."""

    def __init__(self, where: Where | None, best: BestOf | None) -> None:
        self._where = where
        self._best = best
        self.n_selected = 0

    def push(self, table: pa.Table) -> pa.Table:
        """Take the next rows; give those of them, and of earlier ones, that are known to be wanted."""
        if self._where is not None:
            table = self._where.select(table)
        if self._best is not None:
            table = self._best.push(table)
        self.n_selected += table.num_rows
        return table

    def finish(self) -> pa.Table | None:
        """The rows that were held back; None if there are none."""
        table = None if self._best is None else self._best.finish()
        self.n_selected += 0 if table is None else table.num_rows
        return table


class Selected:
    """A collector behind a selection."""

    def __init__(self, stream: SelectionStream, collector: Collector) -> None:
        self._stream = stream
        self._collector = collector

    def add(self, table: pa.Table) -> None:
        """Take the next rows."""
        self._collector.add(self._stream.push(table))

    def finish(self) -> pa.Table | None:
        """Give the rows kept."""
        rest = self._stream.finish()
        if rest is not None:
            self._collector.add(rest)
        return self._collector.finish()
