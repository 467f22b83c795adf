"""Files of structures (CIF, POSCAR, extended XYZ) in any mixture, from folders, zips and tars, each read in its turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgfast.io import compression, extxyz, poscar, tar_stream
from cgfast.io.batch import printable
from cgfast.io.cif import MAX_BYTES
from cgfast.io.cif_fallback import Fallback
from cgfast.io.cif_source import read_rows
from cgfast.io.entries import Archive, Entry, FileEntry, leads_out
from cgfast.io.file_ids import IdsAsTheyCome, unique_ids
from cgfast.io.formats import FILES, Found, Options, by_name, known
from cgfast.io.places import counted, hidden
from cgfast.io.records import Record, RecordSource, failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["open_files", "open_tar", "open_zip"]


class _FileSource(RecordSource):
    """A `RecordSource` that counts the files in an archive."""

    def __init__(
        self,
        kinds: Sequence[str],
        found: Found,
        records: Callable[[], Iterator[Record]],
        options: Options,
        n: int | None,
        kind: str = "",
    ) -> None:
        if options.keep and set(kinds) == {"cif"}:
            message = f"keep={list(options.keep)} names columns, but CIF files ({found.paths[0]}) have none"
            raise ValueError(message)
        self._n_files = n
        super().__init__(
            "+".join(sorted(set(kinds))),
            found.paths,
            records,
            keep=options.keep,
            on_disorder=options.on_disorder,
            n_rows_estimate=n,  # a file may hold several structures
            id_source="file name",
            kind=kind,
        )

    @property
    def n_files(self) -> int:
        """Files read, counting those in a zip."""
        return super().n_files if self._n_files is None else self._n_files


def open_files(found: Found, options: Options) -> RecordSource:
    """Files on disk."""
    names = [str(path.relative_to(found.root) if found.root else path) for path in found.paths]
    # a file that was named need not have a name that says what it is
    kinds = [_kind(path.name, found.only) or found.format for path in found.paths]
    jobs = [(kind, FileEntry(path), name) for kind, path, name in zip(kinds, found.paths, unique_ids(names), strict=True)]

    def records() -> Iterator[Record]:
        with Fallback(options.time_limit) as fallback:
            for kind, entry, name in jobs:
                yield from _records(kind, entry, name, fallback, options.on_disorder)

    return _FileSource(kinds, found, records, options, len(jobs))


def open_zip(found: Found, options: Options) -> RecordSource:
    """A zip, its files by rising name.

    Raises:
        ValueError: It is no zip, or holds no such file.
    """
    archive = Archive(found.paths[0])
    everything = archive.members()
    chosen = [(kind, one) for one in everything if (kind := _member_kind(one.info.filename, found.only))]
    if not chosen:
        message = f"{archive.path} is a zip with {len(everything)} files and no {_wanted(found.only)} among them"
        raise ValueError(message + counted(one.info.filename for one in everything))
    ids = unique_ids([one.info.filename for _, one in chosen])

    def records() -> Iterator[Record]:
        with archive, Fallback(options.time_limit) as fallback:
            for (kind, entry), name in zip(chosen, ids, strict=True):
                yield from _records(kind, entry, name, fallback, options.on_disorder)

    return _FileSource([kind for kind, _ in chosen], found, records, options, len(chosen), "in a zip")


def open_tar(found: Found, options: Options) -> RecordSource:
    """A tar, its files in the order in which they are in it; they are counted only as they are read.

    Raises:
        ValueError: It is no tar.
    """
    path = found.paths[0]
    if not compression.head(path, 1):
        message = f"{path} cannot be read as a tar: it is empty"
        raise ValueError(message)

    def records() -> Iterator[Record]:
        ids = IdsAsTheyCome()
        n = 0
        try:
            with Fallback(options.time_limit) as fallback:
                for entry in tar_stream.members(path):
                    kind = _member_kind(entry.path, found.only)
                    if kind:
                        n += 1
                        yield from _records(kind, entry, ids.of(entry.path), fallback, options.on_disorder)
        except tar_stream.TarError as error:
            yield failed(printable(path.name), f"{path} cannot be read beyond its file {n}: {error}")
        else:
            if not n:
                yield failed(printable(path.name), f"{path} holds no {_wanted(found.only)}")

    return _FileSource(["tar"], found, records, options, None, found.only or "")


def _wanted(only: str | None) -> str:
    rows = [known(name) for name in ([only] if only else FILES)]
    return " or ".join(row.suffixes[0] for row in rows) + " file"


def _kind(name: str, only: str | None) -> str:
    """The format that a file's name tells; "" if it is none of those that are meant."""
    rows = by_name(name, [known(one) for one in ([only] if only else FILES)])
    return rows[0].name if rows else ""


def _member_kind(path: str, only: str | None) -> str:
    parts = [part for part in path.replace("\\", "/").split("/") if part != "."]
    return "" if hidden(parts) and not leads_out(path) else _kind(parts[-1] if parts else "", only)


def _records(kind: str, entry: Entry, name: str, fallback: Fallback, on_disorder: str) -> Iterator[Record]:
    """The structures of a file, at least one record."""
    if kind == "cif":
        for row in read_rows(entry, name, fallback, on_disorder):
            s = row.structure
            yield failed(row.id, row.reason) if s is None else Record(row.id, s.numbers, s.positions, s.cell)
        return
    try:
        if kind == "poscar":
            yield poscar.parse(entry.read(MAX_BYTES + 1), name)
        else:
            with entry.reading() as read:
                yield from extxyz.frames(read, name)
    except OSError as error:
        yield failed(name, f"{entry.name} cannot be read: {error}")
