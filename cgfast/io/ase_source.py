"""ASE databases as a source: one file, or the shards of a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgfast.io import lmdb_pages
from cgfast.io.ase_lmdb import AseLmdb
from cgfast.io.ase_sqlite import AseSqlite
from cgfast.io.file_ids import unique_ids
from cgfast.io.records import Record, RecordSource, failed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cgfast.io.formats import Found, Options

__all__ = ["ase_source"]


def ase_source(found: Found, options: Options) -> RecordSource:
    """The rows of ASE databases, one after the other. Of several, one that cannot be opened is one failure.

    The id is the first key of `later.ID_NAMES` in a row's key-value pairs, else the row's number, after the name of the
    file where there are several.

    Raises:
        ValueError: The only file cannot be opened.
    """
    names = unique_ids([str(path.relative_to(found.root) if found.root else path) for path in found.paths])
    opened: list[AseSqlite | AseLmdb | Record] = []
    for path, name in zip(found.paths, names, strict=True):
        try:
            opened.append(_open(path, options.time_limit))
        except ValueError as error:
            if len(names) == 1:
                raise
            opened.append(failed(name, str(error)))

    def records() -> Iterator[Record]:
        for one, name in zip(opened, names, strict=True):
            if isinstance(one, Record):
                yield one
            else:
                yield from one.records(f"{name}:" if len(names) > 1 else "")

    total = sum(1 if isinstance(one, Record) else one.n_rows for one in opened)
    return RecordSource(
        found.format,
        found.paths,
        records,
        keep=options.keep,
        on_disorder=options.on_disorder,
        n_rows=total,
        id_source="an id among the key-value pairs, else the row number",
    )


def _open(path: Path, time_limit: float) -> AseSqlite | AseLmdb:
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror or error}"
        raise ValueError(message) from None
    return AseLmdb(path) if lmdb_pages.looks_like(head) else AseSqlite(path, time_limit)
