"""The table of input formats: how each is told from the others, and what reads it.

To add a format, add a row to `TABLE`. Nothing else knows formats by name: places, the Reader, the command line and their
messages ask here. Sources are imported when they are opened.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cgfast.io import compression

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from cgfast.io.batch import StructureBatch

__all__ = [
    "FILES",
    "FORMATS",
    "HEAD_BYTES",
    "TABLE",
    "Format",
    "Found",
    "Options",
    "Source",
    "by_content",
    "by_name",
    "known",
    "open_source",
]

HEAD_BYTES = 1 << 16  # of the unpacked content, for telling formats apart


class Found(NamedTuple):
    """Files of one format that belong together."""

    format: str  # name of a row of TABLE
    paths: list[Path]  # for "cgcnn": the folder
    root: Path | None = None  # paths are named relative to it
    only: str | None = None  # the format that was asked for


class Options(NamedTuple):
    """What `cgfast.io.read` was asked for."""

    columns: Mapping[str, str] | None = None
    keep: Sequence[str] = ()
    on_disorder: str = "skip"
    time_limit: float = 10.0


class Source(Protocol):
    """One input that can be read from its beginning any number of times."""

    format: str
    n_rows: int | None  # None where only reading tells
    n_rows_estimate: int | None  # None where it cannot even be guessed
    id_source: str

    @property
    def n_files(self) -> int:
        """Files read, counting those in a zip."""
        ...

    def pieces(self, batch_rows: int) -> Iterator[StructureBatch]:
        """All rows in order, at most ``batch_rows`` at a time, rows and failures numbered from 0."""
        ...

    def files(self) -> list[Path]:
        """The files read, for messages and so that none of them is overwritten."""
        ...

    def columns(self) -> dict[str, str]:
        """Names of the columns that can be kept -> their type (and unit)."""
        ...

    def kept_schema(self) -> pa.Schema:
        """Types of the kept columns."""
        ...


@dataclass(frozen=True)
class Format:
    """A row of the table.

    name: What ``format=`` and ``--format`` say. what: It in words, for messages. open: Makes the source. suffixes: Endings
    of file names, lower case, most telling first. names: Patterns of whole file names ("POSCAR*"). sniff: Whether the
    first `HEAD_BYTES` of the unpacked content are of this format; content goes before a name that does not fit. packed:
    Whether ``.gz``, ``.bz2`` and ``.xz`` are read. joins: Whether neighbouring files become one source. rank: In folders,
    files of the lowest rank that occurs are taken, so that a JSON file of settings does not make a folder of CIFs
    ambiguous; None: never looked for in folders. keeps: Whether there are properties to keep. renames: Whether ``columns``
    has a meaning. holds: Formats whose files it may hold, for a container; it goes by their names. Files of formats with
    the same ``open`` are read together from a folder.
    """

    name: str
    what: str
    open: Callable[[Found, Options], Source]
    suffixes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    sniff: Callable[[bytes], bool] | None = None
    packed: bool = False
    joins: bool = True
    rank: int | None = 0
    keeps: bool = True
    renames: bool = False
    holds: tuple[str, ...] = ()
    endings: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        packed = [s + c for s in self.suffixes for c in compression.SUFFIXES] if self.packed else []
        object.__setattr__(self, "endings", (*self.suffixes, *packed))

    def fits_name(self, name: str) -> bool:
        """Whether a file name is one of this format's."""
        if name.lower().endswith(self.endings):
            return True
        if not self.names:
            return False
        plain = compression.without_suffix(name) if self.packed else name
        return any(fnmatch(plain, pattern) for pattern in self.names)


def _parquet(found: Found, options: Options) -> Source:
    from cgfast.io.parquet import ParquetSource

    return ParquetSource(found.paths, options.columns, options.keep, options.on_disorder)


def _cgcnn(found: Found, options: Options) -> Source:
    from cgfast.io.cgcnn_folder import CgcnnFolder

    return CgcnnFolder(found.paths[0], options.on_disorder, options.time_limit, options.keep)


def _files(found: Found, options: Options) -> Source:
    from cgfast.io.structure_files import open_files

    return open_files(found, options)


def _zip(found: Found, options: Options) -> Source:
    from cgfast.io.structure_files import open_zip

    return open_zip(found, options)


def _tar(found: Found, options: Options) -> Source:
    from cgfast.io.structure_files import open_tar

    return open_tar(found, options)


def _gnome(found: Found, options: Options) -> Source:
    from cgfast.io.gnome import GnomeTable

    return GnomeTable(found.paths[0], options)


def _ase(found: Found, options: Options) -> Source:
    from cgfast.io.ase_source import ase_source

    return ase_source(found, options)


def _json(found: Found, options: Options) -> Source:
    from cgfast.io.json_source import json_source

    return json_source(found.paths, options)


def _is_json(head: bytes) -> bool:
    from cgfast.io.json_source import looks_like_json

    return looks_like_json(head)


def _is_zip(head: bytes) -> bool:
    return head.startswith(b"PK\x03\x04")


def _is_tar(head: bytes) -> bool:
    from cgfast.io.tar_stream import looks_like

    return looks_like(head)


def _is_extxyz(head: bytes) -> bool:
    from cgfast.io.extxyz import looks_like

    return looks_like(head)


def _is_sqlite(head: bytes) -> bool:
    from cgfast.io.ase_sqlite import looks_like

    return looks_like(head)


def _is_lmdb(head: bytes) -> bool:
    from cgfast.io.lmdb_pages import looks_like

    return looks_like(head)


def _is_gnome(head: bytes) -> bool:
    from cgfast.io.gnome import looks_like

    return looks_like(head)


FILES = ("cif", "poscar", "extxyz")
"""Formats of files of structures, which lie in folders, zips and tars in any mixture."""
_VASP = ("POSCAR", "CONTCAR", "POSCAR[._-]*", "CONTCAR[._-]*", "*[._-]POSCAR", "*[._-]CONTCAR")
_TARS = (".tar", ".tgz", ".tbz2", ".txz")

# In the order in which their contents are tried.
TABLE: tuple[Format, ...] = (
    Format(
        "parquet", "Parquet table", _parquet, (".parquet", ".pq"), sniff=lambda head: head.startswith(b"PAR1"), renames=True
    ),
    Format("cgcnn", "2018 layout", _cgcnn, names=("id_prop.csv",), joins=False, rank=None),
    Format("gnome", "GNoME table", _gnome, (".csv",), sniff=_is_gnome, packed=True, joins=False, rank=None),
    Format("zip", "zip", _zip, (".zip",), sniff=_is_zip, joins=False, rank=None, holds=FILES),
    Format("tar", "tar", _tar, _TARS, sniff=_is_tar, packed=True, joins=False, rank=None, holds=FILES),
    Format("cif", "CIF file", _files, (".cif",), packed=True, keeps=False),
    Format("poscar", "POSCAR file", _files, (".vasp", ".poscar"), _VASP, packed=True),
    Format("extxyz", "extended XYZ file", _files, (".extxyz", ".xyz"), sniff=_is_extxyz, packed=True),
    Format("asedb", "ASE database", _ase, (".db",), sniff=_is_sqlite),
    Format("aselmdb", "ASE database in LMDB", _ase, (".aselmdb",), sniff=_is_lmdb),
    Format("json", "JSON", _json, (".json", ".jsonl", ".ndjson"), sniff=_is_json, packed=True, rank=1, renames=True),
)
FORMATS = tuple(row.name for row in TABLE if not row.holds)
"""Names that ``format`` may have."""
_BY_NAME = {row.name: row for row in TABLE}


def known(name: str) -> Format:
    """The row of this name."""
    return _BY_NAME[name]


def by_name(name: str, rows: Sequence[Format] = TABLE) -> list[Format]:
    """Rows whose file names look like this one."""
    return [row for row in rows if row.fits_name(name)]


def by_content(head: bytes, rows: Sequence[Format] = TABLE) -> Format | None:
    """The first row whose content begins like this."""
    return next((row for row in rows if row.sniff is not None and row.sniff(head)), None)


def open_source(found: Found, options: Options) -> Source:
    """The source of what was found.

    Raises:
        ValueError: It cannot be read, or has no use for an option that was given.
    """
    row = known(found.format)
    if options.columns and not row.renames:
        able = " or ".join(one.what for one in TABLE if one.renames)
        message = f"columns is given, but {found.paths[0]} is no {able}: expected it only for {able}"
        raise ValueError(message)
    if options.keep and not row.keeps:
        message = f"keep={list(options.keep)} names columns, but {row.what}s ({found.paths[0]}) have none"
        raise ValueError(message)
    return row.open(found, options)
