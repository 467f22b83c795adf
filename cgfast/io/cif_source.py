"""CIF files as rows of crystals and failures."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cgfast.crystals import Crystals
from cgfast.io import cif
from cgfast.io.batch import Failure, StructureBatch, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from cgfast.io.cif_fallback import Fallback
    from cgfast.io.entries import Entry

__all__ = ["Row", "batches_of", "read_rows"]


class Row(NamedTuple):
    """One row of input: a structure, or the reason why there is none."""

    id: str
    structure: cif.Structure | None
    reason: str = ""


def read_rows(entry: Entry, stem: str, fallback: Fallback, on_disorder: str, *, single: bool = False) -> list[Row]:
    """The rows of one CIF, at least one: a row for each data block with atoms (``single``: only the first).

    Raises:
        ValueError: A site is disordered and ``on_disorder`` is "error".
    """
    try:
        data = entry.read(cif.MAX_BYTES + 1)
        blocks = cif.parse(data)
    except cif.Refused as refusal:
        try:
            found = fallback.read(data)
        except cif.Unusable as error:
            return [Row(stem, None, f"gemmi: {refusal}; {error}")]
        blocks = [(name, block, "") for name, block in found]
    except cif.Unusable as error:
        return [Row(stem, None, str(error))]
    except (OSError, ValueError, EOFError) as error:
        return [Row(stem, None, f"{entry.name} cannot be read: {error}")]
    if not blocks:
        return [Row(stem, None, f"{entry.name} holds no data block with atoms")]
    if single:
        blocks = blocks[:1]
    names = _block_ids(stem, [name for name, _, _ in blocks])
    return [
        _row(entry, row_id, content, text, fallback, on_disorder)
        for row_id, (_, content, text) in zip(names, blocks, strict=True)
    ]


def _block_ids(stem: str, names: Sequence[str]) -> list[str]:
    if len(names) == 1:
        return [stem]
    count = Counter(names)
    seen: Counter[str] = Counter()
    ids = []
    for name in names:
        seen[name] += 1
        ids.append(f"{stem}:{name}" + (f"#{seen[name]}" if count[name] > 1 else ""))
    return ids


def _row(
    entry: Entry,
    row_id: str,
    content: cif.Block | cif.Refused | cif.Unusable,
    text: str,
    fallback: Fallback,
    on_disorder: str,
) -> Row:
    try:
        if isinstance(content, cif.Refused):
            content = _second_opinion(content, text, fallback)
        if isinstance(content, cif.Unusable):
            raise content
        return Row(row_id, cif.finish(content, on_disorder))
    except cif.Unusable as error:
        if error.disorder and on_disorder == "error":
            message = f"{entry.name}: {error} (on_disorder='error')"
            raise ValueError(message) from None
        return Row(row_id, None, str(error))


def _second_opinion(refusal: cif.Refused, text: str, fallback: Fallback) -> cif.Block:
    try:
        found = fallback.read(text.encode("utf-8", "replace"))
    except cif.Unusable as error:
        reason = f"{refusal}; {error}"
        raise cif.Unusable(reason) from None
    content = found[0][1] if found else cif.Unusable("pymatgen finds no atoms either")
    if isinstance(content, cif.Unusable):
        reason = f"{refusal}; {content}"
        raise cif.Unusable(reason)
    return content


def batches_of(
    rows: Iterable[Row], batch_rows: int, columns: Callable[[NDArray[np.int64]], pa.Table] | None = None
) -> Iterator[StructureBatch]:
    """Rows, numbered from 0, as batches; ``columns`` gives the kept columns of given rows."""
    pending: list[Row] = []
    start = 0
    for row in rows:
        pending.append(row)
        if len(pending) == batch_rows:
            yield _batch(pending, start, columns)
            start += len(pending)
            pending = []
    if pending:
        yield _batch(pending, start, columns)


def _batch(rows: list[Row], start: int, columns: Callable[[NDArray[np.int64]], pa.Table] | None) -> StructureBatch:
    good = [(start + k, printable(row.id), row.structure) for k, row in enumerate(rows) if row.structure is not None]
    failures = [
        Failure(printable(row.id), start + k, "read", printable(row.reason))
        for k, row in enumerate(rows)
        if row.structure is None
    ]
    counts = [len(s.numbers) for _, _, s in good]
    crystals = Crystals.from_arrays(
        np.concatenate([np.empty((0, 3)), *(s.positions for _, _, s in good)]),
        np.array([s.cell for _, _, s in good], dtype=np.float64).reshape(-1, 3, 3),
        np.concatenate([np.empty(0, np.int32), *(s.numbers for _, _, s in good)]),
        pbc=True,
        graph_ptr=np.cumsum([0, *counts]),
        ids=[name for _, name, _ in good],
    )
    index = np.array([row for row, _, _ in good], dtype=np.int64)
    return StructureBatch(crystals, index, failures, len(rows), None if columns is None else columns(index))
