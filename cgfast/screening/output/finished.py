"""A run that is complete: its output, and how to know that it is this run's."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from cgfast.io import Failure
from cgfast.screening.output.failures import failures_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import pyarrow as pa

_ROWS = 16384  # read at a time


def read_metadata(path: Path) -> dict[str, Any] | None:
    """What a Parquet table of predictions says of its making; None for other files, and where there is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = json.loads((pq.read_schema(path).metadata or {}).get(b"cgfast", b"null"))
    except (OSError, pa.ArrowException, ValueError):
        return None
    return found if isinstance(found, dict) else None


def read_failures(path: Path) -> Iterator[Failure]:
    """The rows of a failures table, one at a time. Raises ValueError if it is none."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for line in csv.DictReader(file):
                yield Failure(line["id"], int(line["row"]), line["stage"], line["reason"])
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        msg = f"{path} is no table of failures: {getattr(error, 'strerror', None) or error}"
        raise ValueError(msg) from error


@dataclass(frozen=True)
class FinishedRun:
    """The complete output of a run in Parquet: `n_rows` of input gave `n_predictions` and `n_failures`.

    `n_filtered` of the predictions are not in it; `flags` counts all of them by their flags.
    """

    out: Path
    n_predictions: int
    n_failures: int
    n_filtered: int
    flags: dict[str, int]

    @property
    def n_rows(self) -> int:
        """Rows of input."""
        return self.n_predictions + self.n_failures

    @classmethod
    def find(cls, out: Path, metadata: Mapping[str, Any], newest: int) -> Self | None:
        """The output at `out` if it is that of a run with this metadata; None if it is not, or cannot be told (CSV).

        newest: the latest time of modification of the input, ns; an output that is older is of an input that was changed.
        """
        import pyarrow.parquet as pq

        there = read_metadata(out) if out.suffix.lower() == ".parquet" and out.is_file() else None
        if there is None:
            return None
        rows, failures, filtered, flags = (there.pop(key, None) for key in ("rows", "failures", "filtered", "flags"))
        if there != json.loads(json.dumps(metadata)) or out.stat().st_mtime_ns < newest:
            return None
        found = cls(out, pq.read_metadata(out).num_rows + (filtered or 0), failures, filtered or 0, flags or {})
        return found if found.n_rows == rows and failures_path(out).is_file() else None

    def read(self) -> Iterator[tuple[pa.Table, list[Failure]]]:
        """Predictions and failures, in input order each."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        file = pq.ParquetFile(self.out, memory_map=False, pre_buffer=False)
        try:
            for batch in file.iter_batches(_ROWS):
                yield pa.Table.from_batches([batch]).replace_schema_metadata(None), []
            yield file.schema_arrow.empty_table().replace_schema_metadata(None), list(read_failures(failures_path(self.out)))
        finally:
            file.close()
