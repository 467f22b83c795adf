"""The output file: rows are written as they come, the file appears whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TextIO

from cgfast.screening.output.failures import FailuresWriter, failures_path
from cgfast.screening.output.lock import PartsDirectory
from cgfast.screening.output.parts import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    import pyarrow as pa

    from cgfast.io import Failure

SUFFIXES = (".parquet", ".csv")
_GROUP_ROWS = 32768
_GROUP_BYTES = 32 << 20
_BLOCK_ROWS = 1024


def check_out(out: str | os.PathLike[str]) -> Path:
    """`out` as a path that can be written, or a ValueError that says why not."""
    path = Path(out)
    if path.suffix.lower() not in SUFFIXES:
        msg = f"out: {path} ends in {path.suffix or 'nothing'!r}, expected one of {', '.join(SUFFIXES)}"
        raise ValueError(msg)
    if path.is_dir():
        msg = f"out: {path} is a folder, expected a file name"
        raise ValueError(msg)
    if failures_path(path).is_dir():
        msg = f"out: the failures go to {failures_path(path)}, which is a folder"
        raise ValueError(msg)
    if not path.parent.is_dir():
        what = "is not a folder" if path.parent.exists() else "does not exist"
        msg = f"out: the folder {path.parent} {what}"
        raise ValueError(msg)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        msg = f"out: cannot write in the folder {path.parent} (no permission)"
        raise ValueError(msg)
    return path


class Sink(Protocol):
    """A file that takes tables."""

    def write(self, table: pa.Table) -> None:
        """Append rows."""

    def close(self) -> None:
        """Complete the file."""


def open_sink(path: Path, schema: pa.Schema | None, metadata: dict[str, Any]) -> Sink:
    """Begin the file `path`, `.csv` or Parquet; `metadata` goes into the Parquet schema under the key `cgfast`, as JSON."""
    if schema is None:
        msg = "no table was written, not even an empty one"
        raise RuntimeError(msg)
    if path.suffix == ".csv":
        return _CsvSink(path, schema)
    return _ParquetSink(path, schema.with_metadata({b"cgfast": json.dumps(metadata, sort_keys=True).encode()}))


class _ParquetSink:
    """Collects rows into row groups of 32,768 rows, or 32 MiB where these are more.

    The groups, and with them the bytes of the file, depend on the rows alone, not on the tables that they come in.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        import pyarrow.parquet as pq

        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._waiting: list[pa.Table] = []  # less than a block
        self._blocks: list[pa.Table] = []
        self._bytes = 0

    def write(self, table: pa.Table) -> None:
        import pyarrow as pa

        self._waiting.append(table)
        if sum(part.num_rows for part in self._waiting) < _BLOCK_ROWS:
            return
        rows = pa.concat_tables(self._waiting)
        while rows.num_rows >= _BLOCK_ROWS:
            self._add(rows.slice(0, _BLOCK_ROWS))
            rows = rows.slice(_BLOCK_ROWS)
        self._waiting = [rows] if rows.num_rows else []

    def _add(self, block: pa.Table) -> None:
        self._blocks.append(block)
        self._bytes += block.nbytes
        if len(self._blocks) * _BLOCK_ROWS >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._blocks:
            table = pa.concat_tables(self._blocks)
            self._blocks, self._bytes = [], 0
            self._writer.write_table(table, row_group_size=max(table.num_rows, 1))

    def close(self) -> None:
        self._blocks += self._waiting
        self._waiting = []
        self._flush()
        self._writer.close()


class _CsvSink:
    """CSV with shortest round-trip floats; an absent value is empty, a nested one is JSON."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._file: TextIO = path.open("w", newline="", encoding="utf-8")
        self._csv = csv.writer(self._file, lineterminator="\n")
        self._csv.writerow(schema.names)

    def write(self, table: pa.Table) -> None:
        columns = [column.to_pylist() for column in table.columns]
        self._csv.writerows([_csv_cell(value) for value in row] for row in zip(*columns, strict=True))

    def close(self) -> None:
        self._file.close()


def _csv_cell(value: Any) -> Any:  # noqa: ANN401 - any Arrow value
    return json.dumps(value, default=str) if isinstance(value, list | dict) else value


def sync(path: Path) -> None:
    """Have the file's bytes on the disk before its name says that it is complete."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def publish(table: Path, failures: Path, out: Path) -> None:
    """Move both files, which are on the disk, to their places: the failures first, no result without them."""
    failures.replace(failures_path(out))
    table.replace(out)
    sync_folder(out.parent)


class OutputFile:
    """A table of predictions in the making, with its failures table, as a context manager.

    Rows go to `.<name>.parts/` beside `out`, under a lock; `commit()` moves both files to their place by
    atomic rename. Leaving the context without it (an exception, Ctrl-C) removes the parts and leaves what was
    at `out` before untouched. `metadata` goes into the Parquet schema under the key `cgfast`, as JSON.
    """

    def __init__(self, out: Path, metadata: dict[str, Any]) -> None:
        self.out = out
        self.failures_out = failures_path(out)
        self.n_rows = 0
        self._metadata = metadata
        self._parts = PartsDirectory(out)
        self._part = self._parts.path / f"predictions{out.suffix.lower()}"
        self._sink: Sink | None = None
        self._schema: pa.Schema | None = None
        try:
            self._failures = FailuresWriter(self._parts.path / "failures.csv")
        except OSError:
            self._parts.remove()
            raise

    def __enter__(self) -> Self:
        return self

    def write(self, table: pa.Table) -> None:
        """Append the rows of `table`. The first table fixes names and types; others are cast to them."""
        if self._sink is None:
            self._schema = table.schema
            self._sink = open_sink(self._part, self._schema, self._metadata)
        self._sink.write(conform(table, self._schema))
        self.n_rows += table.num_rows

    def write_failures(self, failures: Iterable[Failure]) -> None:
        """Append to the failures table."""
        self._failures.write(failures)

    @property
    def n_failures(self) -> int:
        """Failures written so far."""
        return self._failures.n_rows

    def commit(self) -> None:
        """Complete both files and move them to their places."""
        if self._sink is None:
            msg = "commit: no table was written, not even an empty one"
            raise RuntimeError(msg)
        self._sink.close()
        self._failures.close()
        sync(self._part)
        publish(self._part, self._failures.path, self.out)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # After a commit both are closed; without one, what closing has to say about a part is of no use.
        with contextlib.suppress(Exception):
            if self._sink is not None:
                self._sink.close()
        with contextlib.suppress(OSError):
            self._failures.close()
        self._parts.remove()


def conform(table: pa.Table, schema: pa.Schema | None) -> pa.Table:
    """Cast `table` to the types of the first one; files may differ in how they store a kept column."""
    if schema is None:
        return table
    try:
        return table.cast(schema)
    except (ValueError, TypeError) as error:
        msg = f"keep: the kept columns change their names or types between input files ({error})"
        raise ValueError(msg) from error
