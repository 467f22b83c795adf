"""What a job reads, in a few numbers: enough to see that it is still the same."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cgfast.crystals import Crystals

_LISTED = 1000  # files that are named one by one, and whose beginnings and ends are looked at
_PROBE_BYTES = 1 << 16


def fingerprint(reader: Any) -> dict[str, Any]:  # noqa: ANN401 - Reader, CrystalsReader, or a reader of the user's own
    """The input of a reader. `content` is a SHA-256 over names, sizes and, up to 1000 files, their first and last 64 KiB.

    `times` is one over the times of modification, `listed` has both for each file of up to 1000. Names are relative to the
    folder that all files are in, so that the folder may be moved. Crystals in memory are hashed whole. A reader that is not
    cgfast's own is known by its type and its number of rows alone.
    """
    crystals = getattr(reader, "crystals", None)
    if crystals is not None:
        return {"crystals": len(crystals), "content": _hash_crystals(crystals)}
    files = getattr(reader, "files", None)
    if not isinstance(files, list) or not files:  # an answer to a query has no files; what was asked is among its settings
        rows = getattr(reader, "n_rows", None)
        return {"reader": type(reader).__name__, "rows": getattr(reader, "n_rows_estimate", None) if rows is None else rows}
    return _of_files(files)


def newest(reader: Any) -> int:  # noqa: ANN401
    """The latest time of modification of the files read, in ns; 0 where there are none."""
    return max((_size_and_time(path)[1] for path in getattr(reader, "files", ())), default=0)


def _of_files(files: Sequence[Path]) -> dict[str, Any]:
    places = [os.path.abspath(path) for path in files]  # noqa: PTH100 - there may be a million
    top = os.path.commonpath({os.path.dirname(place) for place in places})  # noqa: PTH120
    content, times, total = hashlib.sha256(), hashlib.sha256(), 0
    listed = []
    for path, place in zip(files, places, strict=True):
        name = place[len(top) :].lstrip(os.sep)
        size, time = _size_and_time(path)
        probe = _probe(path, size) if len(files) <= _LISTED else ""
        content.update(b"%s\0%d\0%s\0" % (os.fsencode(name), size, probe.encode()))
        times.update(b"%d\0" % time)
        total += max(size, 0)
        if len(files) <= _LISTED:
            listed.append([os.fsencode(name).decode("utf-8", "backslashreplace"), size, time, probe])
    return {
        "files": len(files),
        "bytes": total,
        "content": content.hexdigest(),
        "times": times.hexdigest(),
        "listed": listed,
    }


def _size_and_time(path: Path) -> tuple[int, int]:
    """Bytes and time of modification in ns; -1 and 0 for a file that is not there (a table may name such)."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return -1, 0
    return found.st_size, found.st_mtime_ns


def _probe(path: Path, size: int) -> str:
    try:
        with path.open("rb") as file:
            found = hashlib.sha256(file.read(_PROBE_BYTES))
            if size > _PROBE_BYTES:
                file.seek(max(size - _PROBE_BYTES, _PROBE_BYTES))
                found.update(file.read(_PROBE_BYTES))
    except (OSError, ValueError):
        return ""
    return found.hexdigest()[:16]


def _hash_crystals(crystals: Crystals) -> str:
    found = hashlib.sha256()
    for array in (crystals.positions, crystals.cell, crystals.pbc, crystals.atomic_numbers, crystals.graph_ptr):
        found.update(np.ascontiguousarray(array).data)
    found.update("\0".join(map(str, crystals.ids)).encode("utf-8", "surrogateescape"))
    return found.hexdigest()
