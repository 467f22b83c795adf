"""ASE's database in one SQLite file (``.db``), read with Python's own sqlite3.

The tables: `ase.db.sqlite` of ASE, versions 5 to 9. The file is opened as one that does not change, so nothing is locked
or written beside it.
"""

from __future__ import annotations

import json
import sqlite3
import time
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from cgfast.io.later import ID_NAMES, Later, id_among
from cgfast.io.records import Record, failed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["AseSqlite", "looks_like"]

_NEEDED = ("id", "unique_id", "numbers", "positions", "cell", "pbc", "key_value_pairs")
_NUMBERS = ("energy", "free_energy", "magmom", "charge", "ctime", "mtime")
_TEXTS = ("calculator", "username")
_ARRAYS = ("forces", "stress", "dipole", "magmoms", "charges")
_ROWS = 256  # fetched at once
_STEPS = 100_000  # of SQLite's machine between two looks at the clock
_MAX_VALUE = 256 << 20  # bytes
_MARKS = tuple(f'"{name}"'.encode() for name in ID_NAMES)


def looks_like(head: bytes) -> bool:
    """Whether a file that begins like this is an SQLite database."""
    return head.startswith(b"SQLite format 3\0")


class AseSqlite:
    """An ASE database on disk; `records` reads it from the beginning each time.

    Raises:
        ValueError: The file is no ASE database, is older than version 5, or is being written.
    """

    def __init__(self, path: Path, time_limit: float) -> None:
        self.path = path
        self._time_limit = time_limit
        self._deadline = 0.0
        for suffix in ("-journal", "-wal"):
            beside = path.with_name(path.name + suffix)
            if beside.exists() and beside.stat().st_size:
                message = f"{path} is being written, or its writer died: {beside.name} is not empty"
                raise ValueError(message)
        try:
            with self._connect() as connection:
                self._columns = self._check(connection)
                (count,) = connection.execute("SELECT COUNT(*) FROM systems").fetchone()
        except sqlite3.Error as error:
            message = f"{path} cannot be read as an ASE database: {error}"
            raise ValueError(message) from None
        self._listed = ", ".join(f'"{name}"' for name in self._columns)
        self.n_rows = int(count)

    def _connect(self) -> sqlite3.Connection:
        # immutable: no locks, and no files beside it
        connection = sqlite3.connect(
            f"file:{quote(str(self.path.absolute()))}?mode=ro&immutable=1", uri=True, factory=_Closing, check_same_thread=False
        )
        connection.text_factory = bytes  # text need not be UTF-8
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.set_progress_handler(lambda: time.monotonic() > self._deadline, _STEPS)
        self._start_clock(10)
        return connection

    def _start_clock(self, times: int = 1) -> None:
        """Whatever SQLite does next may take as long as the time limit says."""
        self._deadline = time.monotonic() + times * self._time_limit

    def _check(self, connection: sqlite3.Connection) -> list[str]:
        """The columns to be read."""
        kinds = dict(connection.execute("SELECT name, type FROM sqlite_master").fetchall())
        if kinds.get(b"systems") != b"table":
            message = f"{self.path} is an SQLite file without ASE's table 'systems'"
            raise ValueError(message)
        there = {row[1].decode("utf-8", "replace") for row in connection.execute("PRAGMA table_info(systems)")}
        missing = [name for name in _NEEDED if name not in there]
        if missing:
            message = f"{self.path} has a table 'systems' without the column {missing[0]}: expected an ASE database"
            raise ValueError(message)
        if b"information" in kinds:
            found = connection.execute("SELECT value FROM information WHERE name = 'version'").fetchone()
            version = int(found[0]) if found and str(found[0], "ascii", "replace").isdigit() else 0
            if version > 9:
                message = f"{self.path} is of version {version} of ASE's database: expected 5 to 9"
                raise ValueError(message)
        return [*_NEEDED, *(name for name in (*_NUMBERS, *_TEXTS, *_ARRAYS) if name in there)]

    def records(self, prefix: str = "") -> Iterator[Record]:
        """All rows by rising id; ``prefix`` stands before ids that are row numbers. A row that cannot be read is a failure."""
        seen, last = 0, None
        damage = "it holds fewer rows than it counts"
        query = f"SELECT {self._listed} FROM systems ORDER BY id LIMIT {self.n_rows}"  # noqa: S608 - names of our own
        with self._connect() as connection:
            try:
                cursor = connection.execute(query)
                while rows := cursor.fetchmany(_ROWS):
                    for row in rows:
                        yield self._record(row, prefix)
                    seen, last = seen + len(rows), rows[-1][0]
                    self._start_clock()
            except sqlite3.Error as error:
                damage = str(error)
            if seen < self.n_rows:
                yield from self._one_by_one(connection, last, self.n_rows - seen, damage, prefix)

    def _one_by_one(
        self, connection: sqlite3.Connection, last: int | None, n: int, damage: str, prefix: str
    ) -> Iterator[Record]:
        """The last n rows, after the one with the id ``last``, where the file is damaged."""
        self._start_clock(10)
        try:
            ids = connection.execute("SELECT id FROM systems WHERE id > ? ORDER BY id", (-1 if last is None else last,))
            names = [row[0] for row in ids.fetchall()][:n]
        except sqlite3.Error:
            names = []
        for name in names:
            self._start_clock()
            try:
                row = connection.execute(f"SELECT {self._listed} FROM systems WHERE id = ?", (name,)).fetchone()  # noqa: S608
            except sqlite3.Error as error:
                yield failed(f"{prefix}{name}", f"row {name} of {self.path} cannot be read: {error}")
            else:
                yield self._record(row, prefix) if row else failed(f"{prefix}{name}", f"row {name} of {self.path} is missing")
        for _ in range(n - len(names)):
            yield failed(prefix or None, f"{self.path} is damaged after row {names[-1] if names else last}: {damage}")

    def _record(self, row: tuple[Any, ...], prefix: str) -> Record:
        row_id, _, numbers, positions, cell, pbc, pairs = row[:7]
        name = f"{prefix}{row_id}"
        properties = Later(partial(_properties, self._columns, row))
        if isinstance(pairs, bytes) and any(mark in pairs for mark in _MARKS):
            name = id_among(_pairs(pairs)) or name
        try:
            z = np.frombuffer(numbers, "<i4")
            xyz = np.frombuffer(positions, "<f8").reshape(-1, 3)
            vectors = None if cell is None else np.frombuffer(cell, "<f8").reshape(3, 3)
            flags = int(pbc or 0)
        except (TypeError, ValueError) as error:
            return failed(name, f"row {row_id} holds no arrays as ASE writes them: {error}")
        return Record(name, z, xyz, vectors, pbc=(bool(flags & 1), bool(flags & 2), bool(flags & 4)), properties=properties)


class _Closing(sqlite3.Connection):
    """A connection that is closed where its context ends; SQLite's own only commits."""

    def __exit__(self, *error: object) -> None:  # type: ignore[override]
        self.close()


def _properties(names: list[str], row: tuple[Any, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in zip(names, row, strict=True):
        if value is None or name in {"numbers", "positions", "cell", "pbc", "key_value_pairs"}:
            continue
        if name in _ARRAYS:
            found |= _array(name, value)
        elif isinstance(value, bytes):
            found[name] = value.decode("utf-8", "replace")
        else:
            found[name] = value
    found["row_id"] = found.pop("id")
    return found | _pairs(row[6])


def _array(name: str, value: Any) -> dict[str, Any]:  # noqa: ANN401
    if not isinstance(value, bytes) or len(value) % 8:
        return {}
    numbers = np.frombuffer(value, "<f8")
    return {name: numbers.reshape(-1, 3).tolist() if name == "forces" and len(numbers) % 3 == 0 else numbers.tolist()}


def _pairs(text: Any) -> dict[str, Any]:  # noqa: ANN401
    if not isinstance(text, bytes):
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
