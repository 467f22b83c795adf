"""The n-th part of an input, for jobs that run beside each other: which rows it is, and what its output is called."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from cgfast.io import Reader
from cgfast.io.batch import split_at
from cgfast.screening.crystals_reader import CrystalsReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cgfast.io import StructureBatch
    from cgfast.io.batch import Mark

_FORM = re.compile(r"(\d+)/(\d+)")
_SLURM = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_COUNT")
_MAX_SHARDS = 100_000


@dataclass(frozen=True, slots=True)
class Shard:
    """Number `index` of `count`, from 1."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """The shard that "3/8" or "slurm" means. Raises ValueError for anything else, and without Slurm's variables."""
        if text == "slurm":
            return cls(*_from_slurm())
        match = _FORM.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            msg = f"shard: got {text!r}, expected a number of a count like '3/8', or 'slurm'"
            raise ValueError(msg)
        index, count = int(match[1]), int(match[2])
        if not 1 <= index <= count <= _MAX_SHARDS:
            msg = f"shard: got {text}, expected i/n with 1 <= i <= n <= {_MAX_SHARDS}"
            raise ValueError(msg)
        return cls(index, count)

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def path(self, out: Path) -> Path:
        """Where the shard of the output `out` goes: `<stem>-3of8<suffix>` beside it, with zeros before so that names sort."""
        return out.with_name(f"{out.stem}-{self.index:0{len(str(self.count))}}of{self.count}{out.suffix}")

    def range_of(self, n: int, block: int) -> tuple[int, int]:
        """First and stop of this shard's share of n things that come in blocks. All shares are all things, once each."""
        blocks = -(-n // block)
        return min((self.index - 1) * blocks // self.count * block, n), min(self.index * blocks // self.count * block, n)


def _from_slurm() -> tuple[int, int]:
    values = {name: os.environ.get(name, "") for name in _SLURM}
    missing = [name for name, value in values.items() if not value.isdecimal()]
    if missing:
        msg = f"shard: 'slurm' needs {', '.join(missing)}, which a job array sets; elsewhere say i/n"
        raise ValueError(msg)
    task, first, last, count = (int(value) for value in values.values())
    if first not in {0, 1} or last - first + 1 != count or not first <= task <= last:
        msg = (
            f"shard: 'slurm' needs an array of consecutive tasks from 0 or 1, this is {first}..{last} with {count} tasks; "
            "for some tasks of a larger array say i/n, for example $SLURM_ARRAY_TASK_ID/8"
        )
        raise ValueError(msg)
    return task - first + 1, count


@dataclass(frozen=True, slots=True)
class Share:
    """What one run reads: rows start to before stop (None: to the end) of `reader`. options: the same, for the record."""

    reader: Any
    start: int
    stop: int | None
    options: dict[str, Any]

    @classmethod
    def of(cls, reader: Any, *, shard: Shard | None, limit: int | None) -> Self:  # noqa: ANN401 - see Share.batches
        """The share of a shard in the first `limit` rows of a reader.

        Rows are divided where their number is known; else files are, where there are several; else the rows are counted, for
        which the whole input is read once. Shares begin at whole batches, so that a row is in the same batch as ever. (The
        number of a row in a later share of files is not known before the shares are merged.)
        """
        options: dict[str, Any] = {"limit": limit}
        if shard is None:
            return cls(reader, 0, limit, options)
        batch_rows = getattr(reader, "batch_rows", 1)
        files = getattr(reader, "separate_files", 1)
        n_rows = reader.n_rows
        by = "rows"
        if n_rows is None and files > 1 and limit is None and _names_rows(reader):
            one_each = reader.n_rows_estimate == files
            first, stop = shard.range_of(files, batch_rows if one_each else 1)
            by, total = "files", files
            share = cls(reader.between_files(first, stop), 0, None, options)
        else:
            if n_rows is None:
                n_rows = sum(batch.n_rows for batch in batches_between(reader, 0, limit))
            total = n_rows if limit is None else min(n_rows, limit)
            first, stop = shard.range_of(total, batch_rows)
            share = cls(reader, first, stop, options)
        options["shard"] = {"index": shard.index, "count": shard.count, "by": by, "first": first, "stop": stop, "of": total}
        return share

    @property
    def n_rows(self) -> int | None:
        """Rows of the share; None where only reading tells."""
        known: int | None = self.reader.n_rows
        if known is None:
            return None if self.stop is None or not self.options.get("shard") else self.stop - self.start
        return max(min(known, known if self.stop is None else self.stop) - self.start, 0)

    def batches(self, done: int = 0, mark: Mark | None = None) -> Iterator[StructureBatch]:
        """The batches behind the first `done` rows of the share, their rows counted as the reader counts."""
        if self.stop is not None and self.start + done >= self.stop:
            return iter(())
        return batches_between(self.reader, self.start + done, self.stop, mark)


def _names_rows(reader: Any) -> bool:  # noqa: ANN401
    """Whether ids stay the same when a reading begins in the middle: not where they are row numbers."""
    return not any(source.id_source == "row number" for source in reader.sources)


def batches_between(
    reader: Any,  # noqa: ANN401 - Reader, CrystalsReader, or what has a method `batches()`
    start: int,
    stop: int | None,
    mark: Mark | None = None,
) -> Iterator[StructureBatch]:
    """Batches of the rows start to before stop; a reader of the user's own reads all and the rest is dropped."""
    if isinstance(reader, Reader | CrystalsReader):
        yield from reader.batches(start, stop, mark)
        return
    first = 0
    for whole in reader.batches():
        batch, behind = whole, first + whole.n_rows
        if behind > start:
            if first < start:
                batch = split_at(batch, first, start - first)[1]
            begin = max(first, start)
            if stop is not None and behind > stop:
                batch = split_at(batch, begin, stop - begin)[0]
            if batch.n_rows > 0:
                yield batch
        if stop is not None and behind >= stop:
            return
        first = behind
