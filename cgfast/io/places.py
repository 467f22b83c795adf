"""Where structure files lie: paths, folders, globs and zips, told apart by what is in them."""

from __future__ import annotations

import glob
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

__all__ = ["FORMATS", "Archive", "FileEntry", "Found", "ZipEntry", "find", "zip_entries"]

FORMATS = ("parquet", "cif", "cgcnn")
_PARQUET = (".parquet", ".pq")
_ID_PROP = "id_prop.csv"


class Found(NamedTuple):
    """Files of one format that belong together."""

    format: str  # one of FORMATS, or "zip"
    paths: list[Path]  # for "cgcnn": the folder
    root: Path | None = None  # paths are named relative to it


@dataclass(frozen=True)
class FileEntry:
    """A file on disk."""

    path: Path

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)

    def read(self, limit: int) -> bytes:
        """Its first ``limit`` bytes."""
        if not self.path.is_file():  # a pipe or device would block
            message = "it is no regular file"
            raise OSError(message)
        with self.path.open("rb") as file:
            return file.read(limit)


class Archive:
    """A zip that is open while it is entered."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: zipfile.ZipFile | None = None

    def __enter__(self) -> Self:
        self._open = zipfile.ZipFile(self.path)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def read(self, member: zipfile.ZipInfo, limit: int) -> bytes:
        """The first ``limit`` bytes of a member; no more is unpacked."""
        if self._open is None:
            message = "the zip is not open"
            raise OSError(message)
        with self._open.open(member) as file:
            return file.read(limit)


@dataclass(frozen=True)
class ZipEntry:
    """A member of a zip, read without extracting it to disk. Two members may share a name."""

    archive: Archive
    info: zipfile.ZipInfo

    @property
    def name(self) -> str:
        """The zip's path and the member's."""
        return f"{self.archive.path}/{self.info.filename}"

    def read(self, limit: int) -> bytes:
        """Its first ``limit`` bytes."""
        try:
            return self.archive.read(self.info, limit)
        except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, KeyError) as error:
            raise OSError(str(error)) from None


def zip_entries(path: Path) -> tuple[Archive, list[ZipEntry]]:
    """A zip and the CIFs in it, sorted by name.

    Raises:
        ValueError: The file is no zip, or holds no CIF.
    """
    try:
        with zipfile.ZipFile(path) as file:
            members = file.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        message = f"{path} cannot be read as a zip: {error}"
        raise ValueError(message) from None
    cifs = [one for one in members if one.filename.lower().endswith(".cif") and not _hidden(one.filename.split("/"))]
    if not cifs:
        message = f"{path} is a zip with {len(members)} entries and no .cif among them{_found(m.filename for m in members)}"
        raise ValueError(message)
    archive = Archive(path)
    return archive, [ZipEntry(archive, one) for one in sorted(cifs, key=lambda one: one.filename)]


def find(source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], format: str | None) -> list[Found]:  # noqa: A002
    """What a source names, in order; neighbours of one format are joined.

    Raises:
        ValueError: Nothing is there, or it is nothing that can be read.
    """
    if format is not None and format not in FORMATS:
        message = f"format is {format!r}: expected one of {', '.join(FORMATS)}, or None to tell by content"
        raise ValueError(message)
    if isinstance(source, str | os.PathLike):
        places: list[str | os.PathLike[str]] = [source]
    elif isinstance(source, Iterable):
        places = list(source)
    else:
        message = f"source is a {type(source).__name__}: expected a path, a glob pattern, or a sequence of them"
        raise ValueError(message)  # noqa: TRY004 - bad input is a ValueError throughout
    if not places:
        message = "source is an empty sequence: expected at least one path"
        raise ValueError(message)
    found: list[Found] = []
    for place in places:
        for one in _find_one(place, format):
            last = found[-1] if found else None
            if last and one.format == last.format and one.format in {"parquet", "cif"} and one.root == last.root:
                found[-1] = last._replace(paths=[*last.paths, *one.paths])
            else:
                found.append(one)
    return found


def _find_one(place: str | os.PathLike[str], wanted: str | None) -> list[Found]:
    if not isinstance(place, str | os.PathLike):
        message = f"source holds a {type(place).__name__}: expected paths or glob patterns"
        raise ValueError(message)  # noqa: TRY004 - bad input is a ValueError throughout
    path = Path(place)
    try:
        exists = path.exists()
    except (OSError, ValueError) as error:
        message = f"{str(place)[:200]!r} is no usable path: {error}"
        raise ValueError(message) from None
    if exists:
        return [_folder(path, wanted) if path.is_dir() else _file(path, wanted)]
    text = os.fspath(place)
    if isinstance(text, str) and glob.has_magic(text):
        matches = sorted(Path(name) for name in glob.glob(text, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        if matches:
            matches = _without_inner(matches, wanted)
            return [_folder(match, wanted) if match.is_dir() else _file(match, wanted) for match in matches]
        message = f"nothing matches the pattern {text!r}"
        raise ValueError(message)
    message = f"no such file or folder: {path}"
    raise ValueError(message)


def _without_inner(matches: list[Path], wanted: str | None) -> list[Path]:
    """Matches of a pattern without those that belong to another match.

    That is what lies in a folder that matches too, and beside an ``id_prop.csv`` its CIFs and ``atom_init.json``.
    """
    folders = {path for path in matches if path.is_dir()}
    layouts = {path.parent for path in matches if path.name == _ID_PROP} if wanted in {None, "cgcnn"} else set()

    def inner(path: Path) -> bool:
        if any(parent in folders for parent in path.parents):
            return True
        beside = path.parent in layouts and path.name != _ID_PROP
        return beside and (path.suffix.lower() == ".cif" or path.name == "atom_init.json")

    return [path for path in matches if not inner(path)]


def _file(path: Path, wanted: str | None) -> Found:
    suffix = path.suffix.lower()
    if wanted == "cgcnn" or (wanted is None and path.name == _ID_PROP):
        return Found("cgcnn", [path.parent])
    if suffix == ".zip" and wanted in {None, "cif"}:
        return Found("zip", [path])
    if wanted is not None:
        return Found(wanted, [path])
    if suffix in _PARQUET:
        return Found("parquet", [path])
    if suffix == ".cif":
        return Found("cif", [path])
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise ValueError(message) from None
    if head == b"PAR1":
        return Found("parquet", [path])
    if head == b"PK\x03\x04":
        return Found("zip", [path])
    message = (
        f"{path} is no structure file that is known by its name: expected .cif, .parquet, a .zip of CIFs, or a folder "
        "(or say format=)"
    )
    raise ValueError(message)


def _hidden(parts: Iterable[str]) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _found(names: Iterable[str]) -> str:
    """What lies there instead, for messages: "; found 12 .cif.gz, 1 .txt", the most frequent first."""
    kinds = Counter("".join(PurePath(name).suffixes[-2:]) or "without suffix" for name in names if not name.endswith("/"))
    shown = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))
    return f"; found {shown}" if shown else ""


def _walk(top: Path) -> Iterator[tuple[str, list[str]]]:
    """Folders under ``top`` with the names of their visible files; links are followed, each folder is seen once."""

    def unreadable(error: OSError) -> None:
        message = f"the folder {error.filename} cannot be listed: {error.strerror}"
        raise ValueError(message) from None

    seen: set[tuple[int, int]] = set()
    for folder, inner, names in os.walk(top, onerror=unreadable, followlinks=True):
        here = os.stat(folder)  # noqa: PTH116 - os.walk gives strings
        if (here.st_dev, here.st_ino) in seen:
            inner.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        # sorted: which of two ways to a folder is taken must not depend on the file system
        inner[:] = sorted(name for name in inner if not _hidden([name]))
        yield folder, [name for name in names if not _hidden([name])]


def _folder(path: Path, wanted: str | None) -> Found:
    if wanted == "cgcnn" or (wanted is None and (path / _ID_PROP).is_file()):
        return Found("cgcnn", [path])
    parquet: list[Path] = []
    cifs: list[Path] = []
    others: list[str] = []
    for folder, names in _walk(path):
        for name in names:
            suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a Path for each of a million names is slow
            if suffix in {*_PARQUET, ".cif"}:
                (cifs if suffix == ".cif" else parquet).append(Path(folder, name))
            else:
                others.append(name)
    if wanted is None and parquet and cifs:
        message = f"{path} holds {len(parquet)} Parquet and {len(cifs)} CIF files: say format='parquet' or format='cif'"
        raise ValueError(message)
    chosen = {"parquet": parquet, "cif": cifs, None: parquet or cifs}[wanted]
    if not chosen:
        expected = {"parquet": ".parquet", "cif": ".cif", None: "id_prop.csv, .cif or .parquet"}[wanted]
        message = f"the folder {path} holds no {expected} file{_found([*others, *(p.name for p in [*parquet, *cifs])])}"
        raise ValueError(message)
    return Found("parquet" if chosen is parquet else "cif", sorted(chosen), path)
