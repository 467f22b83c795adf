"""A report in the making: checked before the job, listening while it runs, written after it."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cgfast.screening.report.throughput import Throughput
from cgfast.screening.report.write import check_report, write_report

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from cgfast.screening.job import Job
    from cgfast.screening.output.shards import Share
    from cgfast.screening.result import Progress

_PROGRAMS = ("cgfast", "__main__.py")


@dataclass
class Page:
    """Where the report goes, what output it is of, and how its candidates are ranked."""

    path: Path
    out: Path
    by: str | None = None
    top: int | None = None
    descending: bool = False
    throughput: Throughput = field(default_factory=Throughput)

    @classmethod
    def plan(cls, path: str | os.PathLike[str], out: Path | None, reader: Any, **ranking: Any) -> Self:  # noqa: ANN401
        """Check, before any work is done, that the report can be written. ranking: by, top, descending.

        Raises ValueError, and ImportError without plotly.
        """
        return cls(*check_report(path, out, reader), **ranking)

    def rank_by(self, by: str | None, job: Job, names: Sequence[str], values: Sequence[str], reader: Any) -> None:  # noqa: ANN401
        """Rank by the column `by`, or by the first of `values`. names, values: as `Job.top_column` has them.

        Raises ValueError where it can be told already that there is no such column of numbers.
        """
        self.by = values[0] if by is None else by
        if by is not None:
            known = hasattr(reader, "kept_schema")  # not so in a reader of one's own making
            ranking = dataclasses.replace(job, top=1, by=by)
            ranking.top_column(names, values, reader.kept_schema if known else None, kept_is_known=known)

    def listen(self, on_progress: Callable[[Progress], None] | None) -> Callable[[Progress], None]:
        """What the job should call instead of `on_progress`, which is called too."""

        def both(progress: Progress) -> None:
            self.throughput(progress)
            if on_progress is not None:
                on_progress(progress)

        return both

    def write(self, share: Share, *, n_rows: int, metadata: Mapping[str, Any]) -> Path:
        """Write it. share: what the job read, n_rows of it. Raises ValueError if that is impossible; the output stays."""
        try:
            return write_report(
                self.path,
                self.out,
                share.reader,
                metadata=metadata,
                by=self.by,
                descending=self.descending,
                top=self.top,
                first_row=share.start,
                n_rows=n_rows,
                throughput=self.throughput,
                facts=_facts(share),
            )
        except ValueError as error:
            msg = f"report: {error} (the job is done, and its output in {self.out} complete)"
            raise ValueError(msg) from error


def _facts(share: Share) -> dict[str, str]:
    facts = {}
    if Path(sys.argv[0]).name in _PROGRAMS and sys.argv[1:2] == ["screen"]:
        facts["command"] = shlex.join(["cgfast", *sys.argv[1:]])
    files = getattr(share.reader, "files", [])
    if files:
        facts["input"] = str(files[0]) if len(files) == 1 else f"{len(files):,} files, the first {files[0]}"
    options = {**getattr(share.reader, "settings", {}), **share.options}
    said = [f"{name} {value}" for name, value in options.items() if value not in (None, [], {}, "")]
    if said:
        facts["options"] = ", ".join(said)
    return facts
