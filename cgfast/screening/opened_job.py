"""A screening job with everything open and checked, ready to run."""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cgfast.screening.flags import count_flags
from cgfast.screening.job import metadata
from cgfast.screening.loop import Loop
from cgfast.screening.output.fingerprint import fingerprint, newest
from cgfast.screening.output.run_output import RunOutput
from cgfast.screening.predict import graph_specs
from cgfast.screening.ray.engine import make_parts
from cgfast.screening.ray.worker import range_job
from cgfast.screening.result import Progress, ScreenResult

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cgfast.io import Reader
    from cgfast.screening.computing import Computing
    from cgfast.screening.crystals_reader import CrystalsReader
    from cgfast.screening.output.shards import Share
    from cgfast.screening.output_columns import OutputColumns
    from cgfast.screening.ray.options import RayOptions
    from cgfast.screening.selection.selection import Selection, SelectionStream
    from cgfast.screening.selection.top import Collector

    OnProgress = Callable[[Progress], None] | None


@dataclass(frozen=True, slots=True)
class OpenedJob:
    """What is read (`share` of `reader`), computed (`computing`, `columns`), selected, kept (`collector`) and written (`path`).

    on_ray: how to use Ray; None: this process computes.
    """

    path: Path | None
    on_ray: RayOptions | None
    computing: Computing
    reader: Reader | CrystalsReader
    share: Share
    columns: OutputColumns
    selection: Selection
    stream: SelectionStream
    collector: Collector | None

    @property
    def metadata(self) -> dict[str, Any]:
        """What the output says of itself."""
        on = self.computing
        return metadata(on.models, self.columns.names, graph_specs(on.models, on.ties), on.batch_atoms, on.kind)

    @property
    def manifest(self) -> dict[str, Any]:
        """Everything that decides the output."""
        hull = self.columns.hull
        options = {
            **getattr(self.reader, "settings", {}),
            **asdict(self.computing.policies),
            **self.share.options,
            **self.selection.options,
            **({} if hull is None else {"hull": hull.sha256}),
        }
        return {**self.metadata, "options": options, "input": fingerprint(self.reader)}

    def run(self, *, resume: bool, restart: bool, on_progress: OnProgress) -> ScreenResult:
        """Predict every row of the share. Raises what `screen` does."""
        resumed = None
        with contextlib.ExitStack() as stack:
            predictor = self.computing.predictor(stack.enter_context(self.computing.new_pool()))
            file = None if self.path is None else stack.enter_context(self._output(self.path, resume=resume, restart=restart))
            loop = Loop(predictor, self.columns.names, file, self.collector, self.columns.hull)
            if self.on_ray is not None and file is not None:
                resumed = file.finished_rows
                self._make_parts(file, self.on_ray, on_progress)
            loop.run(self.share, on_progress)
            if file is not None:
                file.finish(tuple(getattr(self.share.reader, "notes", ())), count_flags(loop.flags.items()))
        return self._result(loop, file, resumed)

    def _output(self, path: Path, *, resume: bool, restart: bool) -> RunOutput:
        latest = newest(self.reader)
        return RunOutput(path, self.manifest, resume=resume, restart=restart, newest=latest, selection=self.selection)

    def _make_parts(self, file: RunOutput, on_ray: RayOptions, on_progress: OnProgress) -> None:
        """Have a Ray cluster do what is not done."""
        on = self.computing
        job = range_job(
            self.share,
            on.models,
            on.policies,
            ties=on.ties,
            batch_atoms=on.batch_atoms,
            threads=on.threads,
            hull=self.columns.hull,
            device=on.kind,
        )
        make_parts(file, self.share, job, on_ray, on_progress)

    def _result(self, loop: Loop, file: RunOutput | None, resumed: int | None) -> ScreenResult:
        """The account. resumed: rows that were done before Ray began; None: the loop knows."""
        table = self.collector.finish() if self.collector is not None else None
        filtered = loop.predictions - self.stream.n_selected if file is None else file.n_filtered
        return ScreenResult(
            n_rows=loop.rows,
            n_predictions=loop.predictions,
            n_failures=loop.failures,
            seconds=time.perf_counter() - loop.started,
            out=self.path,
            failures_out=file.failures_out if file is not None else None,
            table=table,
            failures=tuple(loop.first_failures),
            units=self.columns.units,
            notes=_notes(file, self.share),
            n_resumed=loop.resumed if resumed is None else resumed,
            flags=count_flags(loop.flags.items()),
            n_filtered=filtered if self.selection else None,
        )


def _notes(file: RunOutput | None, share: Share) -> tuple[str, ...]:
    """What the user should hear of beside the rows: of the output, of the rows read earlier, of those read now."""
    notes: list[Any] = [*_empty(share), *getattr(share.reader, "notes", ())]
    if file is not None:
        notes = [*file.notes, *file.reader_notes, *notes]
    return tuple(dict.fromkeys(notes))


def _empty(share: Share) -> list[str]:
    """A sentence if it is a shard without rows."""
    shard = share.options.get("shard")
    if shard is None or shard["first"] < shard["stop"] or not shard["of"]:
        return []
    why = f"there are {shard['of']:,} {shard['by']}"
    if shard["by"] == "rows" or shard["of"] >= shard["count"]:
        why = f"shards begin at multiples of {getattr(share.reader, 'batch_rows', 1):,} {shard['by']}, and {why}"
    return [f"shard {shard['index']}/{shard['count']} is empty: {why}"]
