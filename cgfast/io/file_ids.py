"""Ids of structures that are files: the file's name, or its path where names repeat."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from cgfast.io import compression
from cgfast.io.batch import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["IdsAsTheyCome", "unique_ids"]

_SUFFIXES = (".cif", ".vasp", ".poscar", ".extxyz", ".xyz", ".db", ".aselmdb")
_BARE = ("POSCAR", "CONTCAR")  # the folder tells which


def _trimmed(path: str) -> str:
    """A path without the suffixes of packers and formats."""
    plain = compression.without_suffix(path)
    for suffix in _SUFFIXES:
        if plain.lower().endswith(suffix):
            return plain[: -len(suffix)]
    return plain


def _stem(trimmed: str) -> str:
    """The last part of a trimmed path; with its folder where that part is POSCAR or CONTCAR."""
    *_, folder, last = ["", *trimmed.split("/")]
    return f"{folder}/{last}" if folder and last in _BARE else last


def _path(name: str) -> str:
    path = printable(name.replace("\\", "/"))
    while path.startswith("./"):
        path = path[2:].lstrip("/")
    return path


def unique_ids(names: Sequence[str]) -> list[str]:
    """Ids for files from their paths: the stem, or the path without suffix where stems repeat ("mp-1/POSCAR" keeps its folder).

    Files that differ in their suffixes alone keep these. The second file of one path (a zip may hold such) gets ``#2``
    after it, and so on.
    """
    paths = [_path(name) for name in names]
    trimmed = [_trimmed(path) for path in paths]
    stems = [_stem(one) for one in trimmed]
    count = Counter(stems)
    ids = [stem if count[stem] == 1 else path for stem, path in zip(stems, trimmed, strict=True)]
    if len(set(ids)) == len(ids):
        return ids
    count = Counter(ids)
    kinds = Counter(name for name, _ in set(zip(ids, paths, strict=True)))
    ids = [path if count[name] > 1 and kinds[name] > 1 else name for name, path in zip(ids, paths, strict=True)]
    seen: Counter[str] = Counter()
    for k, name in enumerate(ids):
        seen[name] += 1
        if seen[name] > 1:
            ids[k] = f"{name}#{seen[name]}"
    return ids


class IdsAsTheyCome:
    """Ids where later files are not known yet: the second file of a stem gets its path, the second of a path ``#2``."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def of(self, name: str) -> str:
        """The id of the next file."""
        path = _path(name)
        trimmed = _trimmed(path)
        for choice in (_stem(trimmed), trimmed, path):
            if choice not in self._seen:
                self._seen[choice] = 1
                return choice
        self._seen[path] += 1
        return f"{path}#{self._seen[path]}"
