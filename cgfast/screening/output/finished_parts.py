"""The parts of a run that are on the disk: those from the first row on, and those behind rows that are still to do."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

from cgfast.screening.output.parts import PATTERN, Part, read_part

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa


class FinishedParts:
    """Parts in the order of their rows. Workers of a cluster end in any order, and a part may be lost: there may be gaps."""

    def __init__(self) -> None:
        self.rows = 0  # of input, in all parts
        self.predictions = 0
        self.failures = 0
        self._parts: list[Part] = []
        self._joined = 0  # so many of them follow each other from the first row on

    def add(self, part: Part) -> None:
        """Take a part. Raises ValueError if another one holds some of its rows."""
        place = bisect.bisect(self._parts, _rows(part), key=_rows)
        before, behind = self._parts[max(place - 1, 0) : place], self._parts[place : place + 1]
        overlap = any(one.stop_row > part.first_row for one in before) or any(part.stop_row > one.first_row for one in behind)
        if overlap or self.complete:
            msg = f"part {part.name} holds rows that are done already"
            raise ValueError(msg)
        self._parts.insert(place, part)
        self.rows += part.stop_row - part.first_row
        self.predictions += part.predictions
        self.failures += part.failures
        while self._joined < len(self._parts) and self._parts[self._joined].first_row == self.done_rows:
            self._joined += 1

    def __len__(self) -> int:
        return len(self._parts)

    @property
    def all(self) -> list[Part]:
        """Every part, by its rows."""
        return list(self._parts)

    def joined(self, first_row: int = 0) -> list[Part]:
        """From `first_row` on those before the first gap."""
        return [part for part in self._parts[: self._joined] if part.first_row >= first_row]

    @property
    def last(self) -> Part | None:
        """The one before the first gap."""
        return self._parts[self._joined - 1] if self._joined else None

    @property
    def done_rows(self) -> int:
        """Rows before the first gap."""
        return self.last.stop_row if self.last else 0

    @property
    def next_row(self) -> int | None:
        """Where the first gap ends; None if there are no rows behind it."""
        return self._parts[self._joined].first_row if self._joined < len(self._parts) else None

    @property
    def complete(self) -> bool:
        """Whether all rows of the run are done."""
        return self.last is not None and self.last.last

    def gaps(self, n_rows: int) -> list[tuple[int, int]]:
        """First row and stop row of what is still to do of `n_rows` rows."""
        found, row = [], 0
        for first, stop in [*map(_rows, self._parts), (n_rows, n_rows)]:
            if first > row:
                found.append((row, first))
            row = stop
        return found


def load_parts(folder: Path) -> tuple[FinishedParts, pa.Schema | None, list[str]]:
    """The whole parts in a folder, the schema of their tables, and a sentence for each that is damaged; that one is removed."""
    parts, found, notes = FinishedParts(), None, []
    for path in sorted(folder.glob(PATTERN)):
        try:
            part, schema = read_part(path)
        except ValueError as error:
            notes.append(f"{error}; its rows are done anew")
            path.unlink()
            continue
        try:
            parts.add(part)
        except ValueError:  # its rows are in another part
            path.unlink()
            continue
        found = schema if found is None else found
    return parts, found, notes


def _rows(part: Part) -> tuple[int, int]:
    return part.first_row, part.stop_row
