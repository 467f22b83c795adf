"""ASE's database in LMDB files (``.aselmdb``), as the package ase-db-backends writes them: zlib-packed JSON under "1", "2", ...

Nothing is unpickled, locked or written. Rows are read by rising id.
"""

from __future__ import annotations

import json
import zlib
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from cgfast.io.later import Later, id_among
from cgfast.io.lmdb_pages import LmdbError, LmdbFile
from cgfast.io.records import Record, failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["AseLmdb"]

_MAX_JSON = 256 << 20  # bytes, unpacked
_STRUCTURE = frozenset({"numbers", "positions", "cell", "pbc", "key_value_pairs", "data", "constraints", "tags"})


class AseLmdb:
    """An ASE database on disk; `records` reads it from the beginning each time.

    Raises:
        ValueError: The file is no such database, or is cut short.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = LmdbFile(path)
            with self._file as file:
                self._end, self._deleted = _ids(file)
        except (LmdbError, OSError) as error:
            message = f"{path} cannot be read as an ASE database in LMDB: {error}"
            raise ValueError(message) from None
        self.n_rows = self._end - 1 - len(self._deleted)
        if self.n_rows > self._file.n_entries:
            message = f"{path} says that it has {self.n_rows} rows, and holds {self._file.n_entries} entries: it is damaged"
            raise ValueError(message)

    def records(self, prefix: str = "") -> Iterator[Record]:
        """All rows by rising id; ``prefix`` stands before ids that are row numbers. A row that cannot be read is a failure."""
        with self._file as file:
            for row_id in range(1, self._end):
                if row_id not in self._deleted:
                    yield _record(file, row_id, prefix)


def _ids(file: LmdbFile) -> tuple[int, frozenset[int]]:
    """The id after the last one, and ids below it that were deleted."""
    packed = file.get(b"nextid")
    if packed is None:
        message = "it has no entry 'nextid'" if file.n_entries else "it is empty"
        raise LmdbError(message)
    deleted = file.get(b"deleted_ids")
    try:
        end = _decode(packed)
        gone = [] if deleted is None else _plain(_decode(deleted))
    except ValueError as error:
        message = f"its ids cannot be read: {error}"
        raise LmdbError(message) from None
    if not _is_id(end) or not isinstance(gone, list) or not all(map(_is_id, gone)):
        message = "its ids are no positive integers"
        raise LmdbError(message)
    return end, frozenset(one for one in gone if one < end)


@cache
def _loads() -> Callable[[bytes], Any]:
    """JSON text as Python objects: with orjson where it is installed, which reads most of it five times faster."""
    try:
        import orjson
    except ImportError:
        return json.loads

    def loads(text: bytes) -> Any:  # noqa: ANN401
        try:
            return orjson.loads(text)
        except ValueError:
            return json.loads(text)  # NaN and the like

    return loads


def _is_id(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**62


def _decode(packed: bytes) -> Any:  # noqa: ANN401 - JSON
    """What was encoded.

    Raises:
        ValueError: It is no zlib-packed JSON, or too much of it.
    """
    try:
        unpack = zlib.decompressobj()
        text = unpack.decompress(packed, _MAX_JSON)
        if not unpack.eof:
            message = f"more than {_MAX_JSON >> 20} MiB" if unpack.unconsumed_tail else "cut short"
            raise ValueError(message)
        return _loads()(text)
    except (zlib.error, RecursionError) as error:
        raise ValueError(str(error)) from None


def _record(file: LmdbFile, row_id: int, prefix: str) -> Record:
    name = f"{prefix}{row_id}"
    try:
        packed = file.get(b"%d" % row_id)
        if packed is None:
            return failed(name, f"row {row_id} is missing")
        row = _decode(packed)
        if not isinstance(row, dict):
            return failed(name, f"row {row_id} holds no structure")
        numbers, positions = _array(row.get("numbers")), _array(row.get("positions"))
        cell, pbc = _array(row.get("cell")), _array(row.get("pbc"))
    except (ValueError, TypeError, OverflowError, OSError) as error:
        return failed(name, f"row {row_id} cannot be read: {error}")
    properties = Later(partial(_properties, row, row_id))
    own = row.get("key_value_pairs")
    data = row.get("data")
    name = (id_among(own) if isinstance(own, dict) else None) or (id_among(data) if isinstance(data, dict) else None) or name
    return Record(name, numbers, positions, cell, pbc=False if pbc is None else pbc, properties=properties)


def _array(value: Any) -> Any:  # noqa: ANN401 - whatever the JSON holds
    """ASE's JSON of an array as one."""
    if isinstance(value, dict) and "__ase_objtype__" in value:  # a Cell
        value = value.get("array")
    if isinstance(value, dict) and "__ndarray__" in value:
        shape, kind, flat = value["__ndarray__"]
        dtype = np.dtype(kind)
        if dtype.kind not in "biuf":
            message = f"an array of {kind}"
            raise ValueError(message)
        return np.array(flat, dtype).reshape(shape)
    return value


def _plain(value: Any) -> Any:  # noqa: ANN401
    """ASE's JSON with lists in place of its arrays, inside dictionaries and lists too."""
    if isinstance(value, dict):
        if "__ndarray__" in value:
            try:
                return _array(value).tolist()
            except (ValueError, TypeError, OverflowError):
                return None
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _properties(row: dict[str, Any], row_id: int) -> dict[str, Any]:
    found = {"row_id": row_id} | {key: _plain(value) for key, value in row.items() if key not in _STRUCTURE}
    own, data = row.get("key_value_pairs"), row.get("data")
    if isinstance(data, dict) and data:
        found["data"] = _plain(data)
    return found | (_plain(own) if isinstance(own, dict) else {})
