"""What a report says, gathered from the finished files of a job in memory that does not grow with them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cgfast.screening.columns import FLAGS, ID
from cgfast.screening.flags import count_flags
from cgfast.screening.report.candidates import Candidate
from cgfast.screening.report.distribution import Bins, Summary
from cgfast.screening.report.rows import read_rows
from cgfast.screening.report.structures import Wanted, find_structures, input_rows
from cgfast.screening.selection.top import Top

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from cgfast.io import Reader
    from cgfast.screening.crystals_reader import CrystalsReader

_NUMBER = "cgfast: row of the output"  # no column of a table has this name: theirs are known before


@dataclass(frozen=True)
class Column:
    """A column of numbers: name, unit, property, whether it is a probability, and the name of its model."""

    name: str
    unit: str
    property: str
    model: str
    is_probability: bool = False


@dataclass
class Ranking:
    """The rows to show: the best `top` by column `by`, the lowest first, or the highest with `descending`."""

    by: str
    top: int
    descending: bool = False


@dataclass
class Collected:
    """Number of predictions; by column its summary and bins; rows by flag; the best rows with their numbers in the output."""

    n_rows: int = 0
    summaries: dict[str, Summary] = field(default_factory=dict)
    bins: dict[str, Bins] = field(default_factory=dict)
    flags: dict[str, int] = field(default_factory=dict)
    best: list[Candidate] = field(default_factory=list)
    best_rows: list[int] = field(default_factory=list)


def prediction_columns_of(metadata: Mapping[str, Any]) -> list[Column]:
    """The columns of predictions, as the metadata of a table tells them."""
    found = []
    for model in metadata["models"]:
        targets = {target["column"]: target for target in model["targets"]}
        for name in model["columns"]:
            target = targets.get(name) or targets.get(name.removesuffix("_std"))
            of_std = name not in targets
            unit = target["unit"] if target else ""
            what = target["property"] if target else ""
            is_probability = bool(target and target["classes"] and not of_std)
            found.append(Column(name, unit, f"{what}, standard deviation" if of_std else what, model["name"], is_probability))
    return found


def collect(path: Path, columns: Sequence[Column], ranking: Ranking) -> Collected:
    """Read the table twice: once for extremes, flags and the best rows, once for the bins."""
    names = [column.name for column in columns]
    numbers = list(dict.fromkeys([*names, ranking.by]))
    found = Collected(summaries={name: Summary() for name in names})
    flags: Counter[str] = Counter()
    top = Top(ranking.top, ranking.by, descending=ranking.descending)
    for table in read_rows(path, [ID, *numbers, FLAGS], numbers):
        for name in names:
            found.summaries[name].add(_values(table, name))
        flags.update({pair["values"] or "": pair["counts"] for pair in table.column(FLAGS).value_counts().to_pylist()})
        rows = np.arange(found.n_rows, found.n_rows + table.num_rows)
        top.add(table.append_column(_NUMBER, [rows]))
        found.n_rows += table.num_rows
    found.flags = count_flags(flags.items())
    found.bins = {
        column.name: Bins(found.summaries[column.name].edges((0.0, 1.0) if column.is_probability else None))
        for column in columns
    }
    for table in read_rows(path, names, names):
        for name in names:
            found.bins[name].add(_values(table, name))
    best = top.finish()
    for row in best.to_pylist() if best is not None else ():
        found.best_rows.append(row.pop(_NUMBER))
        values = {name: row[name] for name in numbers}
        found.best.append(Candidate(row[ID] or "", values, row[FLAGS] or ""))
    return found


def add_structures(
    found: Collected, reader: Reader | CrystalsReader, failed_rows: NDArray[np.int64], first_row: int | None
) -> None:
    """Read the structures of the best rows from the input. first_row: of the rows of input that the output is of, None where
    some of them are neither in the output nor failed, so that only ids tell which is which.
    """
    rows: list[int | None] = [None] * len(found.best)
    if first_row is not None:
        rows = list(input_rows(np.array(found.best_rows, np.int64), failed_rows, first_row).tolist())
    wanted = [Wanted(candidate.id, row) for candidate, row in zip(found.best, rows, strict=True)]
    for candidate, crystal in zip(found.best, find_structures(reader, wanted), strict=True):
        candidate.crystal = crystal


def _values(table: pa.Table, name: str) -> NDArray[np.float64]:
    import pyarrow as pa

    return np.asarray(table.column(name).cast(pa.float64(), safe=False).to_numpy(), np.float64)
