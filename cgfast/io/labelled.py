"""Crystals with labels, read from anything that cgfast.io reads."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cgfast.crystals import Crystals
from cgfast.io.labels import Label, text_classes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from cgfast.io import Failure


@dataclass(frozen=True, slots=True)
class LabelledCrystals:
    """B crystals with T labels each.

    crystals: the B crystals. values: (B, T) float64, NaN where a label is missing; classes are 0.0 and 1.0. rows: (B,)
    int64 rows of the input. failures: rows that gave no crystal. n_rows: rows of input, B + failures. labels: the T labels
    as they were asked for. units: (T,) what the table says of its columns, "" where it says nothing. classes: (T,) the two
    names of a text column's classes, else None. binary: (T,) whether a label is a truth value or a question. notes: what a
    reader of the labels should know, a sentence each. extra: further columns that were asked for, by name. literal: those of
    the labels that are names of columns to the letter, though they look like `log10(...)` or a question.
    """

    crystals: Crystals
    values: NDArray[np.float64]
    rows: NDArray[np.int64]
    failures: list[Failure]
    n_rows: int
    labels: tuple[str, ...]
    units: tuple[str, ...]
    classes: tuple[tuple[str, ...] | None, ...]
    binary: tuple[bool, ...]
    notes: tuple[str, ...] = ()
    extra: dict[str, list[Any]] = field(default_factory=dict)
    literal: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.crystals)

    def misfit(self, index: int, classes: tuple[str, ...] | None) -> str | None:
        """Why the label of this index is not one of a target with these classes (None: of a number); None if it is.

        A clause to go behind the label's name: "is text (a and b), expected numbers".
        """
        words = self.classes[index]
        if classes is None:
            return None if words is None else f"is text ({' and '.join(words)}), expected numbers"
        if words is not None and words != classes:
            return f"has the classes {' and '.join(words)}, expected {' and '.join(classes)}"
        values = self.values[:, index]
        odd = values[~np.isnan(values) & ~np.isin(values, (0.0, 1.0))]
        if len(odd):
            return (
                f"holds {odd[0]:g}, expected 0 and 1 for {' and '.join(classes)}; a question like COLUMN<NUMBER makes "
                "classes of numbers"
            )
        return None

    def parsed(self) -> tuple[Label, ...]:
        """(T,) what each label reads."""
        return tuple(Label.parse(label, self.literal) for label in self.labels)

    def __getitem__(self, index: NDArray[np.int64]) -> LabelledCrystals:
        """The crystals of `index` (positions, not input rows), without the failures."""
        return LabelledCrystals(
            self.crystals[index],
            self.values[index],
            self.rows[index],
            [],
            len(index),
            self.labels,
            self.units,
            self.classes,
            self.binary,
            self.notes,
            {name: [column[i] for i in index.tolist()] for name, column in self.extra.items()},
            self.literal,
        )


def read_labelled(
    source: Any,  # noqa: ANN401 - what cgfast.io.read takes
    labels: Sequence[str],
    *,
    classes: Sequence[tuple[str, ...] | None] | None = None,
    extra: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    format: str | None = None,  # noqa: A002 - the word cgfast.io.read uses
    on_disorder: str = "skip",
    time_limit: float = 10.0,
) -> LabelledCrystals:
    """Read crystals and their labels into memory.

    source: what cgfast.io.read() takes (a 2018 folder's columns are `target`, `target_1`, ...). labels: each `COLUMN`,
    `log10(COLUMN)`, `COLUMN<NUMBER` or `COLUMN>NUMBER` (a question: 1.0 where it holds); if there is a column of that very
    name, it is meant. classes: for labels of text columns, the two class names in order; default: the two that are found,
    sorted. extra: columns to read beside.

    Raises ValueError for a column that is not there (naming those that are), labels that are no numbers (see Label.read),
    no row with a crystal, and what cgfast.io.read() refuses.
    """
    from cgfast.io import read

    options: dict[str, Any] = {"columns": columns, "format": format, "on_disorder": on_disorder, "time_limit": time_limit}
    if not isinstance(source, str | os.PathLike):
        source = list(source)  # it may be opened twice
    there = read(source, **options).properties() if any(map(_is_formula, labels)) else ()
    parsed = [Label.parse(label, there) for label in labels]
    wanted = list(dict.fromkeys([*(label.column for label in parsed), *extra]))
    reader = read(source, keep=wanted, **options)
    crystals: list[Crystals] = []
    rows: list[NDArray[np.int64]] = []
    tables: list[pa.Table] = []
    failures: list[Failure] = []
    n_rows = 0
    for batch in reader.batches():
        n_rows += batch.n_rows
        failures.extend(batch.failures)
        crystals.append(batch.crystals)
        rows.append(batch.rows)
        if batch.columns is not None:
            tables.append(batch.columns)
    if not sum(map(len, crystals)):
        why = f"; the first: {failures[0].id}: {failures[0].reason}" if failures else ""
        msg = f"source: none of {n_rows} rows has a crystal that can be used{why}"
        raise ValueError(msg)
    return _labelled(Crystals.concatenate(crystals), np.concatenate(rows), tables, failures, n_rows, parsed, classes, extra)


def _labelled(
    crystals: Crystals,
    rows: NDArray[np.int64],
    tables: list[pa.Table],
    failures: list[Failure],
    n_rows: int,
    parsed: list[Label],
    classes: Sequence[tuple[str, ...] | None] | None,
    extra: Sequence[str],
) -> LabelledCrystals:
    import pyarrow as pa

    table = pa.concat_tables(tables) if tables else pa.table({})
    known = [None] * len(parsed) if classes is None else list(classes)
    found = [_names(table, label) if names is None else names for label, names in zip(parsed, known, strict=True)]
    values = [label.read(table.column(label.column), names) for label, names in zip(parsed, found, strict=True)]
    return LabelledCrystals(
        crystals,
        np.stack(values, axis=1) if values else np.empty((len(crystals), 0)),
        rows,
        failures,
        n_rows,
        tuple(map(str, parsed)),
        tuple(_unit(table, label.column) for label in parsed),
        tuple(found),
        tuple(_is_binary(table, label) for label in parsed),
        tuple(_notes(parsed, values, table)),
        {name: table.column(name).to_pylist() for name in extra},
        tuple(text for label in parsed if label.is_plain and _is_formula(text := str(label))),
    )


def _is_formula(text: str) -> bool:
    """Whether `text` would mean something else than a column of this name."""
    try:
        return not Label.parse(text).is_plain
    except ValueError:
        return True


def _names(table: pa.Table, label: Label) -> tuple[str, ...] | None:
    """The classes of a text column, None for numbers."""
    import pyarrow as pa

    column = table.column(label.column)
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return None
    return text_classes(label.column, column.to_pylist())


def _is_binary(table: pa.Table, label: Label) -> bool:
    """Truth values, or words like yes and no, or a question about a number."""
    import pyarrow as pa

    kind = table.schema.field(label.column).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return label.relation is not None or bool(
        pa.types.is_boolean(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)
    )


def _notes(labels: list[Label], values: list[NDArray[np.float64]], table: pa.Table) -> Iterator[str]:
    for label, numbers in zip(labels, values, strict=True):
        if not label.log10:
            continue
        bad = int((np.isnan(numbers) & ~np.isnan(Label(label.column).read(table.column(label.column), None))).sum())
        if bad:
            yield f"{bad} rows have no {label}: their {label.column} is not positive; they count as not labelled"


def _unit(table: pa.Table, column: str) -> str:
    metadata = table.schema.field(column).metadata or {}
    unit: str = metadata.get(b"unit", b"").decode("utf-8", "replace")
    return unit
