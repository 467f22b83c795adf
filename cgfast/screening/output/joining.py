"""The parts of a run as one table and one list of failures."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from cgfast.screening.output.failures import FailuresWriter
from cgfast.screening.output.parts import PartReader
from cgfast.screening.output.writer import open_sink, sync

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from cgfast.screening.output.parts import Part
    from cgfast.screening.selection.selection import Selection


def join_parts(
    folder: Path,
    parts: Sequence[Part],
    suffix: str,
    schema: pa.Schema | None,
    metadata: Mapping[str, Any],
    selection: Selection,
) -> tuple[Path, Path, int]:
    """Write both files of a run, as they will be, into the folder of its parts; on return they are on the disk.

    Gives the table, the failures, and how many predictions `selection` leaves out. `metadata` goes into the table, with the
    counts of rows. Memory: one batch of rows and one row group. Where it fails, nothing of either file is left.
    """
    counts = {"rows": parts[-1].stop_row, "failures": sum(part.failures for part in parts)}
    filtered = 0
    if selection:
        selected = sum(table.num_rows for table in _selected(folder, parts, selection, None))
        filtered = counts["filtered"] = counts["rows"] - counts["failures"] - selected
    place = folder / f"predictions{suffix}"
    with contextlib.ExitStack() as undo:
        undo.callback(place.unlink, missing_ok=True)
        undo.callback((folder / "failures.csv").unlink, missing_ok=True)
        failures = FailuresWriter(folder / "failures.csv")
        sink = open_sink(place, schema, {**metadata, **counts})
        try:
            for table in _selected(folder, parts, selection, failures):
                sink.write(table)
            sink.close()
            failures.close()
        except BaseException:
            # What closing has to say about half a file is of no use.
            for close in (sink.close, failures.close):
                with contextlib.suppress(Exception):
                    close()
            raise
        sync(place)
        undo.pop_all()
    return place, failures.path, filtered


def _selected(folder: Path, parts: Sequence[Part], selection: Selection, failures: FailuresWriter | None) -> Iterator[pa.Table]:
    """The rows of the output, part by part, with the failures written beside."""
    stream = selection.stream()
    for part in parts:
        reader = PartReader(folder / part.name)
        for table in reader.tables():
            yield stream.push(table)
        if failures is not None:
            failures.write(reader.failures)
    rest = stream.finish()
    if rest is not None:
        yield rest
