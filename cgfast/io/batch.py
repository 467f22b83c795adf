"""What a reader hands on: crystals with their rows, failures and kept columns, in batches of fixed size."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cgfast.crystals import Crystals

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["Failure", "StructureBatch", "drop_problems", "id_text", "printable", "rebatch"]


def printable(text: str) -> str:
    r"""`text` as valid Unicode: the bytes of a file name that are not UTF-8 become ``\xff`` and the like."""
    if text.isascii():
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # surrogates that stand for no byte
        return text.encode("utf-8", "backslashreplace").decode()


def id_text(name: str) -> str:
    r"""An id as CSV files hold it: printable, and a carriage return, which ends a line for those who read, as ``\r``."""
    return printable(name).replace("\r", "\\r")


class Failure(NamedTuple):
    """One input row that gave no crystal, and why."""

    id: str
    row: int  # 0-based over the whole input
    stage: str  # "read", "graph" or "predict"
    reason: str


@dataclass
class StructureBatch:
    """Consecutive input rows: each is either a crystal or a failure."""

    crystals: Crystals
    rows: NDArray[np.int64]  # (B,) input row of each crystal, rising
    failures: list[Failure] = field(default_factory=list)
    n_rows: int = 0  # rows of input covered: len(crystals) + len(failures)
    columns: pa.Table | None = None  # the kept columns, one row a crystal


def drop_problems(batch: StructureBatch) -> StructureBatch:
    """Turn crystals that cannot be used (`Crystals.problems`) into failures of the stage "read"."""
    problems = batch.crystals.problems()
    if not problems:
        return batch
    good = np.ones(len(batch.crystals), dtype=bool)
    good[list(problems)] = False
    failures = [Failure(str(batch.crystals.ids[b]), int(batch.rows[b]), "read", reason) for b, reason in problems.items()]
    return StructureBatch(
        batch.crystals[good],
        batch.rows[good],
        sorted([*batch.failures, *failures], key=lambda failure: failure.row),
        batch.n_rows,
        None if batch.columns is None else batch.columns.take(np.flatnonzero(good)),
    )


def _join(parts: list[StructureBatch]) -> StructureBatch:
    if len(parts) == 1:
        return parts[0]
    columns = None
    tables = [part.columns for part in parts if part.columns is not None]
    if tables:
        import pyarrow as pa

        columns = pa.concat_tables(tables)
    return StructureBatch(
        Crystals.concatenate([part.crystals for part in parts]),
        np.concatenate([part.rows for part in parts]),
        [failure for part in parts for failure in part.failures],
        sum(part.n_rows for part in parts),
        columns,
    )


def _split(batch: StructureBatch, first_row: int, n: int) -> tuple[StructureBatch, StructureBatch]:
    """The first ``n`` input rows of a batch that starts at ``first_row``, and the rest."""
    row = first_row + n
    k = int(np.searchsorted(batch.rows, row))
    early = [failure for failure in batch.failures if failure.row < row]
    late = [failure for failure in batch.failures if failure.row >= row]
    table = batch.columns
    return (
        StructureBatch(batch.crystals[:k], batch.rows[:k], early, n, None if table is None else table.slice(0, k)),
        StructureBatch(
            batch.crystals[k:],
            batch.rows[k:],
            late,
            batch.n_rows - n,
            None if table is None else table.slice(k),
        ),
    )


def rebatch(pieces: Iterable[StructureBatch], batch_rows: int) -> Iterator[StructureBatch]:
    """Pieces of any size, from row 0 on, as batches of exactly ``batch_rows`` rows (the last may be shorter).

    So the rows of a batch depend on the row index alone, never on row groups, files or failures.
    """
    pending: list[StructureBatch] = []
    n_pending = 0
    start = 0  # first row of what is pending
    for piece in pieces:
        pending.append(piece)
        n_pending += piece.n_rows
        if n_pending < batch_rows:
            continue
        rest = _join(pending)
        while n_pending > batch_rows:
            head, rest = _split(rest, start, batch_rows)
            yield head
            start += batch_rows
            n_pending -= batch_rows
        pending = [rest]
        if n_pending == batch_rows:
            yield rest
            start += batch_rows
            n_pending = 0
            pending = []
    if n_pending:
        yield _join(pending)
