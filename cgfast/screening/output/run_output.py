"""The output of a screening run: rows are safe part by part, both files appear when all rows are done."""

from __future__ import annotations

import contextlib
import errno
import time
from typing import TYPE_CHECKING, Any, Self

from cgfast.screening.output.failures import failures_path
from cgfast.screening.output.finished import FinishedRun
from cgfast.screening.output.finished_parts import FinishedParts, load_parts
from cgfast.screening.output.joining import join_parts
from cgfast.screening.output.lock import PartsDirectory
from cgfast.screening.output.manifest import MANIFEST, differences, output_metadata, read_manifest, unverifiable, write_manifest
from cgfast.screening.output.parts import Part, PartReader, PartWriter, read_part
from cgfast.screening.output.writer import conform, publish
from cgfast.screening.selection.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    import pyarrow as pa

    from cgfast.io import Failure
    from cgfast.io.batch import Mark

# A part is complete after so many rows of input, or seconds: what a killed run loses at most. Where parts end has no influence
# on the output.
PART_ROWS = 32768
PART_SECONDS = 30.0


class RunOutput:
    """A table of predictions in the making, with its failures table, as a context manager.

    Rows go to parts in `.<name>.parts/` beside `out`, under a lock, with the `manifest` of the run. A part is there as a whole
    or not at all, on the disk before its name. `finish()` makes one file of the parts and moves it and the failures to their
    places by atomic rename. Leaving the context without it (an exception, Ctrl-C) keeps the finished parts, if there are any,
    and leaves what was at `out` before untouched. After a SIGKILL at any moment a run with `resume` does the
    rows that are in no part, and makes the same files, byte by byte, as one that was never disturbed.

    Raises ValueError, before anything is changed, for finished parts of an interrupted run without `resume` or `restart`;
    with `resume`, when the manifest differs from theirs. newest: see `FinishedRun.find`. selection: which of the predictions
    go to the output; the parts hold all of them.
    """

    def __init__(
        self,
        out: Path,
        manifest: Mapping[str, Any],
        *,
        resume: bool = False,
        restart: bool = False,
        newest: int = 0,
        selection: Selection | None = None,
    ) -> None:
        self.out = out
        self.failures_out = failures_path(out)
        self.notes: list[str] = []
        self.finished: FinishedRun | None = None
        self.n_filtered = 0  # predictions that are in parts and not in the output, as `finish()` finds
        self._selection = selection or Selection()
        self._manifest = manifest
        self._parts = FinishedParts()
        self._schema: pa.Schema | None = None
        self._writer: PartWriter | None = None
        self._rows = 0  # of input, in the part that is being written
        self._mark: Mark | None = None
        self._begun = 0.0
        self._folder = PartsDirectory(out, keep=True)
        try:
            self._take_up(newest, resume=resume, restart=restart)
        except BaseException:
            self._leave()
            raise

    def _take_up(self, newest: int, *, resume: bool, restart: bool) -> None:
        """Find out what an interrupted run has left, and whether it is to be used."""
        there = self._folder.has_parts
        if there and not (resume or restart):
            raise ValueError(self._folder.unfinished())
        if there and resume:
            self._check_manifest()
            self._parts, self._schema, notes = load_parts(self._folder.path)
            self.notes += notes
        if resume and not there:
            self.finished = FinishedRun.find(self.out, output_metadata(self._manifest), newest)
            if self.finished is not None:
                self.notes.append(f"{self.out} was complete already, so nothing was done")
                return
        if not self._parts:
            if resume:
                self.notes.append("there were no finished rows to go on from, so the run began with the first row")
            with self._disk():
                self._folder.clear()
                write_manifest(self._folder.path, self._manifest)

    def _check_manifest(self) -> None:
        then = read_manifest(self._folder.path)
        unknown = unverifiable(self._manifest)
        if unknown:
            found = [f"the model {unknown[0]} was never saved, so it has no hash to know it by"]
        elif then is None:
            found = [f"its {MANIFEST} is missing or damaged"]
        else:
            found = differences(then, self._manifest)
        if found:
            msg = (
                f"resume: cannot go on with the run in {self._folder.path}: {'; '.join(found)} "
                "(restart=True, --restart, throws its rows away)"
            )
            raise ValueError(msg)

    @property
    def finished_rows(self) -> int:
        """Rows of input in finished parts (counted from the first that the run is to do)."""
        return self._parts.rows if self.finished is None else self.finished.n_rows

    @property
    def taken_rows(self) -> int:
        """These, and those in the part that is being written."""
        return self.finished_rows + self._rows

    @property
    def next_row(self) -> int | None:
        """The first finished row behind rows that are still to do; None if there is none."""
        return self._parts.next_row

    def gaps(self, n_rows: int) -> list[tuple[int, int]]:
        """First row and stop row of what is still to do of `n_rows` rows."""
        return self._parts.gaps(n_rows)

    @property
    def complete(self) -> bool:
        """Whether all rows are done."""
        return self.finished is not None or self._parts.complete

    @property
    def mark(self) -> Mark | None:
        """Where reading can begin again for the next rows to do."""
        return self._parts.last.mark if self._parts.last else None

    @property
    def reader_notes(self) -> tuple[str, ...]:
        """What the reader had noted when the last part before them was written."""
        return self._parts.last.notes if self._parts.last else ()

    @property
    def n_rows(self) -> int:
        """Predictions so far."""
        if self.finished is not None:
            return self.finished.n_predictions
        return self._parts.predictions + (self._writer.predictions if self._writer else 0)

    @property
    def n_failures(self) -> int:
        """Failures so far."""
        if self.finished is not None:
            return self.finished.n_failures
        return self._parts.failures + (len(self._writer.failures) if self._writer else 0)

    @property
    def folder(self) -> Path:
        """Where the parts are."""
        return self._folder.path

    def adopt(self, parts: Sequence[Part]) -> None:
        """Take parts that others have written into `folder`. Raises ValueError for rows that are done already."""
        for part in parts:
            self._parts.add(part)
        if self._schema is None and parts:
            self._schema = read_part(self._folder.path / parts[0].name)[1]

    def done(self, first_row: int = 0) -> Iterator[tuple[pa.Table, list[Failure]]]:
        """What is finished from `first_row` on, where a part begins, to the first row that is not; in input order."""
        if self.finished is not None:
            yield from self.finished.read()
            return
        for part in self._parts.joined(first_row):
            reader = PartReader(self._folder.path / part.name)
            for table in reader.tables():
                yield table, []
            if self._schema is not None:
                yield self._schema.empty_table(), reader.failures

    def write(
        self, table: pa.Table, failures: Sequence[Failure], n_rows: int, mark: Mark | None = None, notes: Sequence[str] = ()
    ) -> None:
        """Take what became of the next `n_rows` rows of input. The first table fixes names and types, others are cast."""
        if self._schema is None:
            self._schema = table.schema
        table = conform(table, self._schema)
        with self._disk():
            if self._writer is None:
                self._begun = time.monotonic()
                self._writer = PartWriter(self._folder.path, self._schema)
            self._writer.write(table, failures)
            self._rows += n_rows
            self._mark = mark or self._mark
            if self._rows >= PART_ROWS or time.monotonic() - self._begun >= PART_SECONDS:
                self._cut(last=False, notes=notes)

    def cut(self, notes: Sequence[str] = ()) -> None:
        """Complete the part that is being written: what follows is in a finished one."""
        if self._writer is not None:
            with self._disk():
                self._cut(last=False, notes=notes)

    def _cut(self, *, last: bool, notes: Sequence[str]) -> None:
        if self._schema is None:
            msg = "finish: no table was written, not even an empty one"
            raise RuntimeError(msg)
        writer = self._writer or PartWriter(self._folder.path, self._schema)
        self._writer = writer
        start = self._parts.done_rows
        part = Part(start, start + self._rows, writer.predictions, len(writer.failures), last, self._mark, tuple(notes))
        writer.finish(part)
        self._writer = None
        self._rows = 0
        self._parts.add(part)

    def finish(self, notes: Sequence[str] = (), flags: Mapping[str, int] | None = None) -> None:
        """Make one file of the parts, and move it and the failures to their places. flags: predictions with each."""
        if self.finished is not None:
            self.n_filtered = self.finished.n_filtered
            self._folder.remove()
            return
        with self._disk():
            if not self.complete:
                self._cut(last=True, notes=notes)
            metadata = {**output_metadata(self._manifest), "flags": dict(flags or {})}
            table, failures, self.n_filtered = join_parts(
                self._folder.path, self._parts.all, self.out.suffix.lower(), self._schema, metadata, self._selection
            )
            publish(table, failures, self.out)
            # The manifest first: what a run that is killed here leaves is then no run to go on with.
            for name in (MANIFEST, *(part.name for part in self._parts.all)):
                (self._folder.path / name).unlink()
            self._folder.remove()

    def kept(self) -> str:
        """The sentence on what an interrupted run leaves; empty if nothing."""
        if not self._parts:
            return ""
        where = self._folder.path
        return f"{self.finished_rows:,} finished rows are kept in {where}: resume=True (--resume) goes on from there"

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        """Say in a sentence what the disk refuses."""
        try:
            yield
        except OSError as error:
            full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            why = "no space is left on the disk" if full else f"{error.strerror or error}"
            after = self.kept() or "nothing was written"
            msg = f"out: cannot write {self.out}: {why}; {after}"
            raise ValueError(msg) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        kept = self.kept()
        self._leave()
        if isinstance(error, KeyboardInterrupt) and kept:
            msg = f"interrupted; {kept}"
            raise KeyboardInterrupt(msg) from error
        if error is not None and kept and kept not in str(error):
            error.add_note(kept)

    def _leave(self) -> None:
        """Keep finished parts; else leave nothing."""
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None
        with contextlib.suppress(OSError):
            if not self._folder.has_parts:
                self._folder.remove()
        self._folder.release()
