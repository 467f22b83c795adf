"""A finished table of predictions, read back in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cgfast.screening.output import finished

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

_ROWS = 65_536


def read_metadata(path: Path) -> dict[str, Any]:
    """What the job wrote into the table about itself: version, models, columns.

    Raises ValueError for a CSV file, which has no place for it, and for a table that `cgfast screen` did not write.
    """
    if path.suffix.lower() == ".csv":
        msg = f"predictions: {path} is CSV, which does not say which models it is from: expected Parquet"
        raise ValueError(msg)
    known = finished.read_metadata(path)
    if known is None or not known.get("models"):
        msg = f"predictions: {path} is no table that `cgfast screen` wrote"
        raise ValueError(msg)
    return known


def read_rows(path: Path, columns: Sequence[str], numbers: Sequence[str]) -> Iterator[pa.Table]:
    """The table piece by piece. columns: those wanted, in this order; numbers: which of them are numbers, not text."""
    import pyarrow as pa

    if path.suffix.lower() == ".csv":
        yield from _read_csv(path, columns, numbers)
        return
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_ROWS, columns=list(columns)):
            yield pa.Table.from_batches([batch]).select(list(columns))


def _read_csv(path: Path, columns: Sequence[str], numbers: Sequence[str]) -> Iterator[pa.Table]:
    import pyarrow as pa
    from pyarrow import csv

    types = {name: pa.float64() if name in numbers else pa.string() for name in columns}
    with csv.open_csv(
        path,
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(include_columns=list(columns), column_types=types, strings_can_be_null=False),
    ) as reader:
        for batch in reader:
            if batch.num_rows:
                yield pa.Table.from_batches([batch])
