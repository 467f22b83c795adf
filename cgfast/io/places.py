"""Where structure files lie: paths, folders and globs, told apart by what is in them."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from cgfast.io import compression
from cgfast.io.formats import FORMATS, HEAD_BYTES, TABLE, Format, Found, by_content, by_name, known
from cgfast.io.gnome import gnome_table

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["counted", "find", "hidden"]

_ID_PROP = "id_prop.csv"
_SYSTEM = frozenset({"__MACOSX", "Thumbs.db", "ehthumbs.db", "desktop.ini"})


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
            one = one._replace(only=format)  # noqa: PLW2901
            last = found[-1] if found else None
            if last and one.format == last.format and known(one.format).joins and one.root == last.root:
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
    if wanted == "cgcnn" or (wanted is None and path.name == _ID_PROP):
        return Found("cgcnn", [path.parent])
    rows = _rows(wanted)
    fitting = by_name(path.name, rows) or (rows if len(rows) == 1 else [])
    if len(fitting) == 1 and (wanted is not None or fitting[0].sniff is None):
        return Found(fitting[0].name, [path])
    head = compression.head(path, HEAD_BYTES)
    row = by_content(head, fitting) or by_content(head, rows) or (fitting[0] if fitting else None)
    if row is not None:
        return Found(row.name, [path])
    if wanted is not None:
        return Found(wanted, [path])
    endings = ", ".join(one.suffixes[0] for one in TABLE if one.suffixes)
    message = (
        f"{path} is no structure file that is known by its name or content: expected {endings}, or a folder (or say format=)"
    )
    raise ValueError(message)


def _rows(wanted: str | None) -> list[Format]:
    """The rows of the table that may be meant."""
    return [row for row in TABLE if wanted is None or wanted == row.name or wanted in row.holds]


def hidden(parts: Iterable[str]) -> bool:
    """Whether a path with these parts is hidden, or an operating system's own."""
    return any(part.startswith(".") or part in _SYSTEM for part in parts)


def counted(names: Iterable[str]) -> str:
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
        inner[:] = sorted(name for name in inner if not hidden([name]))
        yield folder, [name for name in names if not hidden([name])]


def _folder(path: Path, wanted: str | None) -> Found:
    if wanted == "cgcnn" or (wanted is None and (path / _ID_PROP).is_file()):
        return Found("cgcnn", [path])
    table = gnome_table(path) if wanted in {None, "gnome"} else None
    if table is not None:
        return Found("gnome", [table])
    rows = [row for row in _rows(wanted) if row.rank is not None]
    by_ending = {ending: row for row in rows for ending in row.endings}
    patterned = [row for row in rows if row.names]
    files: dict[str, list[Path]] = {row.name: [] for row in rows}
    others: list[str] = []
    for folder, names in _walk(path):
        for name in names:
            row = by_ending.get(_ending(name)) or next((one for one in patterned if one.fits_name(name)), None)
            if row is not None:
                files[row.name].append(Path(folder, name))
            else:
                others.append(name)
    occurring = [row for row in rows if files[row.name]]
    if not occurring:
        expected = _either([end for row in rows for end in row.suffixes[:1]], ["id_prop.csv"] if wanted is None else [])
        message = f"the folder {path} holds no {expected} file{counted(others)}"
        raise ValueError(message)
    lowest = min(row.rank or 0 for row in occurring)
    chosen = [row for row in occurring if row.rank == lowest]
    if len({row.open for row in chosen}) > 1:
        counts = " and ".join(
            f"{len(files[row.name])} {row.what.removesuffix(' file').removesuffix(' table')}" for row in chosen
        )
        say = " or ".join(f"format={row.name!r}" for row in chosen)
        message = f"{path} holds {counts} files: say {say}"
        raise ValueError(message)
    return Found(chosen[0].name, sorted(one for row in chosen for one in files[row.name]), path)


def _ending(name: str) -> str:
    """The suffix of a file name, lower case, with that of a packer."""
    stem, suffix = os.path.splitext(name.lower())  # noqa: PTH122 - a Path for each of a million names is slow
    return os.path.splitext(stem)[1] + suffix if suffix in compression.SUFFIXES else suffix  # noqa: PTH122


def _either(names: list[str], before: list[str]) -> str:
    names = [*before, *names]
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]
