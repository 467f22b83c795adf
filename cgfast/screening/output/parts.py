"""Parts of a run: files with the predictions and failures of consecutive rows of input, whole or not there at all."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cgfast.io import Failure
from cgfast.io.batch import Mark, printable
from cgfast.screening.output.failures import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

PATTERN = "rows-*.arrow"
_INFO = b"part"


@dataclass(frozen=True, slots=True)
class Part:
    """Rows first_row to before stop_row of the input: so many predictions and failures. last: the input ends with it.

    mark: where reading can begin again for the rows behind. notes: what the reader had noted until then.
    """

    first_row: int
    stop_row: int
    predictions: int
    failures: int
    last: bool
    mark: Mark | None = None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"rows-{self.first_row:012}-{self.stop_row:012}.arrow"


def rows_of_name(path: Path) -> tuple[int, int]:
    """First row and stop row as the name of a part's file says. Raises ValueError for other names."""
    _, first, stop = path.stem.split("-")
    return int(first), int(stop)


class PartWriter:
    """A part in the making: tables go to a temporary file at once, failures wait until it is complete."""

    def __init__(self, folder: Path, schema: pa.Schema, *, temporary: str = "part.tmp") -> None:
        import pyarrow as pa

        self._folder = folder
        self._place = folder / temporary
        self._file = self._place.open("wb")
        try:
            # Not packed: that costs a hundredth of the time of a quick model, for half of some 30 bytes a row.
            self._stream = pa.ipc.new_stream(self._file, schema)
        except BaseException:
            self._file.close()
            raise
        self.predictions = 0
        self.failures: list[Failure] = []

    def write(self, table: pa.Table, failures: Sequence[Failure]) -> None:
        """Take the next rows."""
        self._stream.write_table(table)
        self.predictions += table.num_rows
        self.failures += failures

    def finish(self, part: Part) -> None:
        """Make the file appear: from here on its rows are done, whatever happens."""
        import pyarrow as pa

        self._stream.close()
        failures = _failures_table(self.failures, part)
        with pa.ipc.new_stream(self._file, failures.schema) as stream:
            stream.write_table(failures)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._place.replace(self._folder / part.name)
        sync_folder(self._folder)

    def abandon(self) -> None:
        """Throw away what was written. Never raises for what the disk has to say."""
        with contextlib.suppress(Exception):
            self._stream.close()
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._place.unlink(missing_ok=True)


class PartReader:
    """Reads a part: its tables one batch at a time, then its failures and its account."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.failures: list[Failure] = []
        self.part: Part | None = None
        self.schema: pa.Schema | None = None

    def tables(self) -> Iterator[pa.Table]:
        """The tables as they were written; when they are through, `failures` and `part` are set.

        Raises ValueError if the file is damaged, OSError if it cannot be read.
        """
        import pyarrow as pa

        rows = 0
        try:
            with self._path.open("rb") as file:
                with pa.ipc.open_stream(file) as stream:
                    self.schema = stream.schema
                    for batch in stream:
                        rows += batch.num_rows
                        yield pa.Table.from_batches([batch], schema=stream.schema)
                with pa.ipc.open_stream(file) as stream:
                    self.part = _part_of(stream.schema.metadata)
                    self.failures = [Failure(*line.values()) for batch in stream for line in batch.to_pylist()]
        except OSError as error:
            if error.errno is not None:
                raise
            raise ValueError(self._damaged(str(error))) from None  # Arrow's word for a file that ends too early
        except (pa.ArrowException, KeyError, TypeError) as error:
            raise ValueError(self._damaged(str(error))) from None
        found = (self.part.name, self.part.predictions, self.part.failures)
        if found != (self._path.name, rows, len(self.failures)):
            raise ValueError(self._damaged("its account does not add up"))

    def _damaged(self, why: str) -> str:
        return f"{self._path} is damaged: {one_line(why)}"


def read_part(path: Path) -> tuple[Part, pa.Schema]:
    """The account of a part, after reading all of it, and the schema of its tables. Raises ValueError if it is damaged."""
    reader = PartReader(path)
    for _ in reader.tables():
        pass
    if reader.part is None or reader.schema is None:
        msg = f"{path} is damaged: it ends too early"
        raise ValueError(msg)
    return reader.part, reader.schema


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failures_table(failures: Sequence[Failure], part: Part) -> pa.Table:
    import pyarrow as pa

    info = json.dumps(asdict(part))
    schema = pa.schema(
        [("id", pa.string()), ("row", pa.int64()), ("stage", pa.string()), ("reason", pa.string())],
        metadata={_INFO: info.encode()},
    )
    lines = [(printable(f.id), f.row, f.stage, one_line(printable(f.reason))) for f in failures]
    columns = zip(*lines, strict=True) if lines else ((), (), (), ())
    return pa.table([list(column) for column in columns], schema=schema)


def _part_of(metadata: dict[bytes, bytes]) -> Part:
    found: dict[str, Any] = json.loads(metadata[_INFO])
    mark = found.pop("mark")
    return Part(**{**found, "notes": tuple(found["notes"])}, mark=None if mark is None else Mark(*mark))
