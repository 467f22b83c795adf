"""The failures table: one row for every input row that has no prediction."""

from __future__ import annotations

import csv
import os
from typing import TYPE_CHECKING, TextIO

from cgfast.io.batch import printable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cgfast.io import Failure

HEADER = ("id", "row", "stage", "reason")
_MAX_REASON = 500


def one_line(text: str) -> str:
    """`text` without line breaks and cut to a length that a table bears."""
    line = " ".join(text.split())
    return line if len(line) <= _MAX_REASON else line[: _MAX_REASON - 3] + "..."


def describe_error(error: BaseException) -> str:
    """Say what an exception says in one line; others than ValueErrors also need their type."""
    message = one_line(str(error))
    if isinstance(error, ValueError) and message:
        return message
    name = type(error).__name__
    return f"{name}: {message}" if message else name


def failures_path(out: Path) -> Path:
    """Where the failures of the output `out` go: `<stem>-failures.csv` beside it."""
    return out.with_name(f"{out.stem}-failures.csv")


class FailuresWriter:
    """Appends failures to a CSV file (id, row, stage, reason) as they come; a header alone means none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.n_rows = 0
        self._file: TextIO = path.open("w", newline="", encoding="utf-8")
        self._csv = csv.writer(self._file, lineterminator="\n")
        self._csv.writerow(HEADER)

    def write(self, failures: Iterable[Failure]) -> None:
        """Append `failures`, in the order given."""
        for failure in failures:
            self._csv.writerow((printable(failure.id), failure.row, failure.stage, one_line(printable(failure.reason))))
            self.n_rows += 1

    def close(self) -> None:
        """Close the file; what was written is on the disk."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
