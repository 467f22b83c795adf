"""Where structure files lie: paths, folders, globs and zips, told apart by what is in them."""

from __future__ import annotations

import glob
import os
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

__all__ = ["FORMATS", "FileEntry", "Found", "ZipEntry", "find", "zip_entries"]

FORMATS = ("parquet", "cif", "cgcnn")
_PARQUET = (".parquet", ".pq")


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


@dataclass(frozen=True)
class ZipEntry:
    """A member of a zip, read without extracting it to disk."""

    archive: zipfile.ZipFile
    member: str

    @property
    def name(self) -> str:
        """The zip's path and the member's."""
        return f"{self.archive.filename}/{self.member}"

    def read(self, limit: int) -> bytes:
        """Its first ``limit`` bytes; no more is unpacked."""
        try:
            with self.archive.open(self.member) as file:
                return file.read(limit)
        except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, KeyError) as error:
            raise OSError(str(error)) from None


def zip_entries(path: Path) -> list[ZipEntry]:
    """The CIFs in a zip, sorted by name.

    Raises:
        ValueError: The file is no zip, or holds no CIF.
    """
    try:
        archive = zipfile.ZipFile(path)
        names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        message = f"{path} cannot be read as a zip: {error}"
        raise ValueError(message) from None
    cifs = sorted(name for name in names if name.lower().endswith(".cif") and not _hidden(name.split("/")))
    if not cifs:
        message = f"{path} is a zip with {len(names)} entries and no .cif among them"
        raise ValueError(message)
    return [ZipEntry(archive, name) for name in cifs]


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
            return [_folder(match, wanted) if match.is_dir() else _file(match, wanted) for match in matches]
        message = f"nothing matches the pattern {text!r}"
        raise ValueError(message)
    message = f"no such file or folder: {path}"
    raise ValueError(message)


def _file(path: Path, wanted: str | None) -> Found:
    suffix = path.suffix.lower()
    if wanted == "cgcnn" or (wanted is None and path.name == "id_prop.csv"):
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
    return any(part.startswith((".", "_")) for part in parts)


def _folder(path: Path, wanted: str | None) -> Found:
    if wanted == "cgcnn" or (wanted is None and (path / "id_prop.csv").is_file()):
        return Found("cgcnn", [path])
    parquet: list[Path] = []
    cifs: list[Path] = []

    def unreadable(error: OSError) -> None:
        message = f"the folder {error.filename} cannot be listed: {error.strerror}"
        raise ValueError(message) from None

    for folder, inner, names in os.walk(path, onerror=unreadable):
        inner[:] = [name for name in inner if not _hidden([name])]
        for name in names:
            suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a Path for each of a million names is slow
            if not _hidden([name]) and suffix in {*_PARQUET, ".cif"}:
                (cifs if suffix == ".cif" else parquet).append(Path(folder, name))
    if wanted is None and parquet and cifs:
        message = f"{path} holds {len(parquet)} Parquet and {len(cifs)} CIF files: say format='parquet' or format='cif'"
        raise ValueError(message)
    chosen = {"parquet": parquet, "cif": cifs, None: parquet or cifs}[wanted]
    if not chosen:
        expected = {"parquet": ".parquet", "cif": ".cif", None: "id_prop.csv, .cif or .parquet"}[wanted]
        message = f"the folder {path} holds no {expected} file"
        raise ValueError(message)
    return Found("parquet" if chosen is parquet else "cif", sorted(chosen), path)
