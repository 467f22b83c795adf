"""`Predictor`: models as a function from Arrow tables to Arrow tables, for engines that call it on batches of rows."""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from cgfast.batch_pool import BatchPool
from cgfast.graph import BATCH_ATOMS
from cgfast.io.batch import StructureBatch, drop_problems, printable
from cgfast.io.optimade_table import OptimadeTables
from cgfast.io.reader import ON_DISORDER
from cgfast.models.catalogue import NAMES_2018
from cgfast.models.own import DEFAULT_MODEL, own_names
from cgfast.screening.columns import FLAGS, ID, kept_columns, prediction_columns
from cgfast.screening.job import Job, open_models
from cgfast.screening.output.failures import one_line
from cgfast.screening.policies import Policies
from cgfast.screening.predict import BatchPredictor, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from cgfast.models import PropertyModel

STAGE, REASON = "stage", "reason"
_BATCH_ROWS = 1024  # as in `cgfast.screen`
_CHUNKS_AHEAD = 2


class Predictor:
    """Models as a function on Arrow tables: ``Predictor("band-gap")(table)``.

    The function for Ray Data, Dask, Spark's mapInArrow or a loop of one's own. It is cheap to make and to pickle: models given
    by name or path are loaded at the first call, once per process; loaded models travel with it.

    Args:
        models: As in `cgfast.screen`.
        keep: Columns of the table to carry over; one whose name is taken becomes ``input.<name>``.
        columns: Other names for the OPTIMADE columns, as in `cgfast.io.read`.
        batch_atoms, threads, ties, on_disorder, on_isolated, on_overlap, on_unknown_element, atom_init: As in `cgfast.screen`.
            A worker that shares its machine with others should be given as many `threads` as it has cores to itself.

    Calls from several threads at once are safe; each computes with `threads` threads of its own, and while one runs, torch
    computes with one thread per call in the whole process.

    Deterministic. A crystal gets the bits that `cgfast.screen` gives it, however the rows are divided into tables, with models
    whose layers are multiples of 32 wide (all that come with cgfast but `cgfast/elasticity`). With other widths this holds for
    tables that begin at a multiple of 1024 rows of the same input, and the last bit of a float32 may differ for others.

    Raises ValueError for options that are out of range, here; for models that cannot be loaded, at the first call.
    """

    def __init__(
        self,
        models: str | os.PathLike[str] | PropertyModel | Iterable[str | os.PathLike[str] | PropertyModel] = DEFAULT_MODEL,
        *,
        keep: Sequence[str] = (),
        columns: Mapping[str, str] | None = None,
        batch_atoms: int = BATCH_ATOMS,
        threads: int | None = None,
        ties: str | None = None,
        on_disorder: str = "skip",
        on_isolated: str = "flag",
        on_overlap: str = "flag",
        on_unknown_element: str = "flag",
        atom_init: str | os.PathLike[str] | None = None,
    ) -> None:
        Job(batch_atoms=batch_atoms, threads=threads, ties=ties, top=None, by=None, head=None)
        if on_disorder not in ON_DISORDER:
            msg = f"on_disorder is {on_disorder!r}: expected one of {', '.join(ON_DISORDER)}"
            raise ValueError(msg)
        several = isinstance(models, Iterable) and not isinstance(models, str | os.PathLike)
        self._models = [_portable(model) for model in (cast("Iterable[Any]", models) if several else [models])]
        self._keep = [keep] if isinstance(keep, str) else list(dict.fromkeys(keep))
        self._tables = OptimadeTables(columns, self._keep, on_disorder)
        policies = Policies(on_isolated=on_isolated, on_overlap=on_overlap, on_unknown_element=on_unknown_element)
        self._options: dict[str, Any] = {"ties": ties, "batch_atoms": batch_atoms, "policies": policies}
        self._threads = threads
        self._atom_init = None if atom_init is None else os.path.abspath(atom_init)  # noqa: PTH100 - workers run elsewhere

    def __call__(self, batch: pa.Table | pa.RecordBatch, *, first_row: int = 0) -> pa.Table:
        """Predict every row of `batch`: one row out for each row in, in order.

        batch: columns with OPTIMADE names: `lattice_vectors`, `cartesian_site_positions`, `species_at_sites`, optional `id`,
        `dimension_types`, `species`, `structure_features`. first_row: number of its first row, for ids where there is no
        column of them.

        Returns `id`, one float64 column per predicted property, `flags`, `stage`, `reason`, kept columns. `stage` ("read",
        "graph", "predict") and `reason` are null for a prediction; for a row without one the values and `flags` are null.
        Of an empty table, the names and types of the answer: ``predictor(schema.empty_table()).schema``.

        Raises ValueError for a batch that is no table, lacks a column or has one of another type. No row raises, unless an
        ``on_...`` option is "error".
        """
        import pyarrow as pa

        table = _table(batch)
        self._tables.check("batch", table.schema)
        loaded = self.load()
        names = prediction_columns(loaded)
        kept = kept_columns([*names, STAGE, REASON], self._keep)
        parts = []
        with BatchPool(self._threads) as pool:
            predictor = BatchPredictor(loaded, pool=pool, **self._options)
            for part, outcome, chunk in self._outcomes(predictor, table, first_row):
                head = answer_table(part, outcome, names)
                parts.append(pa.table([*head.columns, *chunk.columns], names=[*head.column_names, *kept]))
        return pa.concat_tables(parts).combine_chunks()

    def stream(self, batches: Iterable[pa.RecordBatch | pa.Table]) -> Iterator[pa.RecordBatch]:
        """The answer to each of `batches` in turn: what Spark's mapInArrow wants of a function."""
        for batch in batches:
            yield from self(batch).to_batches()

    def load(self) -> list[PropertyModel]:
        """The models; loads those that this process has not loaded yet. Raises ValueError where that is impossible."""
        names = [model for model in self._models if isinstance(model, str)]
        found = iter([_load(name, self._atom_init, _stamp(name)) for name in names])
        loaded = [next(found) if isinstance(model, str) else model for model in self._models]
        return open_models(loaded, atom_init=None)  # checks what was no name

    def _outcomes(
        self, predictor: BatchPredictor, table: pa.Table, first_row: int
    ) -> Iterator[tuple[StructureBatch, Outcome, pa.Table]]:
        """Chunks of rows with what became of them and their kept columns; a few chunks are computed at a time."""
        waiting: deque[tuple[StructureBatch, Callable[[], Outcome], pa.Table]] = deque()
        for start in range(0, max(table.num_rows, 1), _BATCH_ROWS):
            chunk = table.slice(start, _BATCH_ROWS)
            part = drop_problems(self._tables.decode(chunk, first_row + start))
            outcome = predictor.submit(part.crystals, rows=part.rows, settled=part.settled)
            part.rows = part.rows - (first_row + start)
            part.failures = [failure._replace(row=failure.row - first_row - start) for failure in part.failures]
            waiting.append((part, outcome, chunk.select(self._keep)))
            if len(waiting) > _CHUNKS_AHEAD:
                done, wait, kept = waiting.popleft()
                yield done, wait(), kept
        for done, wait, kept in waiting:
            yield done, wait(), kept


def answer_table(batch: StructureBatch, outcome: Outcome, names: Sequence[str]) -> pa.Table:
    """One row for every row of `batch` (rows and failures numbered from 0): `id`, `names`, `flags`, `stage`, `reason`."""
    import pyarrow as pa

    n, rows = batch.n_rows, np.asarray(batch.rows)
    ids, stages, reasons = ([None] * n for _ in range(3))
    values = np.full((n, len(names)), np.nan)
    flags: list[str | None] = [None] * n
    failed = np.ones(n, dtype=bool)
    for failure in batch.failures:
        ids[failure.row], stages[failure.row], reasons[failure.row] = failure.id, failure.stage, failure.reason  # type: ignore[call-overload]
    failed[rows] = False
    values[rows] = outcome.values
    for row, name, flag in zip(rows.tolist(), batch.crystals.ids.tolist(), outcome.flags, strict=True):
        ids[row], flags[row] = name, flag
    for index, (stage, reason) in outcome.failures.items():
        row = int(rows[index])
        failed[row], flags[row], stages[row], reasons[row] = True, None, stage, reason  # type: ignore[call-overload]
    texts = {
        ID: [printable(cast("str", name)) for name in ids],
        FLAGS: flags,
        STAGE: stages,
        REASON: [None if reason is None else one_line(printable(reason)) for reason in reasons],
    }
    columns: dict[str, Any] = {ID: pa.array(texts[ID], pa.string())}
    columns |= {name: pa.array(values[:, k], pa.float64(), mask=failed) for k, name in enumerate(names)}
    return pa.table(columns | {name: pa.array(texts[name], pa.string()) for name in (FLAGS, STAGE, REASON)})


def _table(batch: pa.Table | pa.RecordBatch) -> pa.Table:
    import pyarrow as pa

    if isinstance(batch, pa.RecordBatch):
        return pa.Table.from_batches([batch])
    if not isinstance(batch, pa.Table):
        msg = f"batch: got a {type(batch).__name__}, expected a pyarrow.Table or RecordBatch"
        raise ValueError(msg)  # noqa: TRY004 - bad input is a ValueError throughout
    return batch


def _portable(model: Any) -> Any:  # noqa: ANN401 - names, paths and models
    """A name as it is, a path so that it means the same in a worker that runs in another folder, a model as it is."""
    if not isinstance(model, str | os.PathLike):
        return model
    text = os.fspath(model)
    is_name = text in {*own_names(), *NAMES_2018}  # which goes before a file of that name
    return text if is_name or not Path(text).exists() else os.path.abspath(text)  # noqa: PTH100 - resolve() would follow links


@functools.lru_cache(maxsize=16)
def _load(name: str, atom_init: str | None, stamp: int) -> PropertyModel:
    del stamp  # so that a file that was written anew is read anew
    return open_models(name, atom_init=atom_init)[0]


def _stamp(name: str) -> int:
    path = Path(name)
    try:
        return max((one.stat().st_mtime_ns for one in (path, *(path.iterdir() if path.is_dir() else ()))), default=0)
    except OSError:
        return 0  # a name
