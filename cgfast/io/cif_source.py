"""CIF files from wherever they lie, as rows of crystals and failures."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from cgfast.crystals import Crystals
from cgfast.io import cif
from cgfast.io.batch import Failure, StructureBatch, printable
from cgfast.io.cif_fallback import Fallback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from cgfast.io.places import Archive

__all__ = ["CifSource", "Entry", "Row", "batches_of", "read_rows", "unique_ids"]


class Entry(Protocol):
    """One CIF that may be read later."""

    @property
    def name(self) -> str:
        """Where it lies, for messages."""
        ...

    def read(self, limit: int) -> bytes:
        """Its bytes, at most ``limit`` of them; OSError or ValueError with a sentence if that fails."""
        ...


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


def unique_ids(names: Sequence[str]) -> list[str]:
    """Ids for CIF files from their paths: the stem, or the path without suffix where stems repeat.

    The second file of one path (a zip may hold such) gets ``#2`` after it, and so on.
    """
    paths = [printable(name.replace("\\", "/")) for name in names]
    trimmed = [path[: -len(".cif")] if path.lower().endswith(".cif") else path for path in paths]
    stems = [path.rsplit("/", 1)[-1] for path in trimmed]
    count = Counter(stems)
    ids = [stem if count[stem] == 1 else path for stem, path in zip(stems, trimmed, strict=True)]
    if len(set(ids)) == len(ids):
        return ids
    seen: Counter[str] = Counter()
    for k, name in enumerate(ids):
        seen[name] += 1
        if seen[name] > 1:
            ids[k] = f"{name}#{seen[name]}"
    return ids


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
    index = [row for row, _, _ in good]
    places = np.array(index, dtype=np.int64)
    table = columns(places) if columns is not None else None
    return StructureBatch(crystals, places, failures, len(rows), table)


class CifSource:
    """CIF files of a folder, glob or zip, each read when its turn comes."""

    def __init__(
        self,
        entries: Sequence[Entry],
        ids: Sequence[str],
        on_disorder: str,
        time_limit: float,
        archive: Archive | None = None,
    ) -> None:
        self.format = "cif"
        self.id_source = "file name"
        self.archive = archive
        self.entries = list(entries)
        self.ids = list(ids)
        self.on_disorder = on_disorder
        self.time_limit = time_limit
        # a file may hold several data blocks: only reading it tells
        self.n_rows: int | None = None
        self.n_rows_estimate = len(self.entries)

    def files(self) -> list[Path]:
        """The files read from: each CIF, or the zip they are in."""
        if self.archive is not None:
            return [self.archive.path]
        return [Path(entry.name) for entry in self.entries]

    def pieces(self, batch_rows: int) -> Iterator[StructureBatch]:
        """All rows in order, at most ``batch_rows`` at a time."""
        with self.archive or contextlib.nullcontext(), Fallback(self.time_limit) as fallback:
            rows = (
                row
                for entry, stem in zip(self.entries, self.ids, strict=True)
                for row in read_rows(entry, stem, fallback, self.on_disorder)
            )
            yield from batches_of(rows, batch_rows)
