"""Arrow tables with OPTIMADE column names: what they must hold, and their rows as crystals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cgfast.crystals import Crystals
from cgfast.io import arrow_lists
from cgfast.io import optimade_disorder as disorder
from cgfast.io.batch import Failure, StructureBatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["COLUMNS", "OptimadeTables"]

COLUMNS = (
    "id",
    "lattice_vectors",
    "cartesian_site_positions",
    "species_at_sites",
    "dimension_types",
    "species",
    "structure_features",
)
_REQUIRED = COLUMNS[1:4]
_OTHER_IDS = ("immutable_id", "material_id", "mat_id", "jid", "structure_id")  # where there is no id, the first of these
MAX_ID_LENGTH = 1000  # ids become fixed-width strings: one absurd id must not cost a gigabyte


def _names(columns: Mapping[str, str] | None) -> dict[str, str]:
    """Our name -> the file's name."""
    given = dict(columns or {})
    unknown = sorted(set(given) - set(COLUMNS))
    if unknown:
        message = f"columns has the keys {unknown}: expected some of {list(COLUMNS)}"
        raise ValueError(message)
    return {name: given.get(name, name) for name in COLUMNS}


class OptimadeTables:
    """How tables become crystals: the names of their columns, those that are kept, and what is done with disorder."""

    def __init__(self, columns: Mapping[str, str] | None, keep: Sequence[str], on_disorder: str = "skip") -> None:
        self.names = _names(columns)
        self.keep = list(keep)
        self.on_disorder = on_disorder
        self._overridden = set(columns or {})

    def decode(self, table: Any, first_row: int, kept: Any = None) -> StructureBatch:  # noqa: ANN401 - pyarrow has no types
        """Rows of an Arrow table as crystals, and as failures where a row does not fit. kept: schema of the columns to keep."""
        return _decode(table, self.present(table.schema), first_row, kept, self.on_disorder)

    def present(self, schema: Any) -> dict[str, str]:  # noqa: ANN401 - pyarrow has no types
        """Our name -> the file's name, of the columns that are there and read."""
        here = {name: column for name, column in self.names.items() if column in schema.names}
        if "id" not in here:
            others = [name for name in _OTHER_IDS if name in schema.names]
            here |= {"id": others[0]} if others else {}
        # other tables may use these two words for something else
        for name, fits in (("species", disorder.is_species), ("structure_features", disorder.is_features)):
            if name in here and (schema.names.count(here[name]) > 1 or not fits(schema.field(here[name]).type)):
                del here[name]
        return here

    def check(self, where: object, schema: Any) -> None:  # noqa: ANN401
        """Raise ValueError, saying `where`, for a schema that lacks a column or has one of another type."""
        import pyarrow.types as t

        needed = [self.names[name] for name in COLUMNS if name in _REQUIRED or name in self._overridden] + self.keep
        missing = sorted({name for name in needed if name not in schema.names})
        if missing:
            message = (
                f"{where} has no column {', '.join(missing)}. Columns found: {', '.join(schema.names) or 'none'}. "
                'Other names are given like columns={"species_at_sites": "elements_of_sites"}'
            )
            raise ValueError(message)
        for name in [*_REQUIRED, "dimension_types"]:
            column = self.names[name]
            if column not in schema.names:
                continue
            if schema.names.count(column) > 1:
                message = f"{where} has the column {column} {schema.names.count(column)} times: expected once"
                raise ValueError(message)
            kind = schema.field(column).type
            inner = kind.value_type if arrow_lists.is_list(kind) else None
            if name == "species_at_sites":
                text = inner.value_type if inner is not None and t.is_dictionary(inner) else inner
                fits = text is not None and (t.is_string(text) or t.is_large_string(text) or t.is_null(text))
                expected = "a list of strings"
            elif name == "dimension_types":
                fits = inner is not None and (_is_number(inner) or t.is_boolean(inner))
                expected = "a list of 3 integers or flags"
            else:
                item = inner.value_type if inner is not None and arrow_lists.is_list(inner) else None
                fits, expected = item is not None and _is_number(item), "a list of lists of 3 numbers"
            if not fits:
                message = f"{where}: column {column} has type {kind}: expected {expected}"
                raise ValueError(message)


def _is_number(kind: Any) -> bool:  # noqa: ANN401
    import pyarrow.types as t

    return bool(t.is_floating(kind) or t.is_integer(kind) or t.is_null(kind))


def _ids(table: Any, name: str | None, first_row: int) -> tuple[NDArray[np.str_], dict[int, str]]:  # noqa: ANN401
    """Ids as text; the row number where there is none; rows whose id is too long."""
    if name is None:
        return np.arange(first_row, first_row + table.num_rows).astype(np.str_), {}
    values = arrow_lists.column(table, name).to_pylist()
    bad = {}
    for k, value in enumerate(values):
        if value.__class__ is not str:
            values[k] = str(first_row + k) if value is None else str(value)
        if len(values[k]) > MAX_ID_LENGTH:
            bad[k] = f"{name} has {len(values[k])} characters: expected at most {MAX_ID_LENGTH}"
            values[k] = values[k][:40] + "..."
    return np.array(values, dtype=np.str_), bad


def _decode(
    table: Any,  # noqa: ANN401
    names: dict[str, str],
    first_row: int,
    kept: Any,  # noqa: ANN401
    on_disorder: str,
) -> StructureBatch:
    """Rows of an Arrow table as crystals, and as failures where a row does not fit."""
    n = table.num_rows
    ids, bad = _ids(table, names.get("id"), first_row)
    columns: Any = table.select(kept.names) if kept else None
    if "species" in names or "structure_features" in names:
        table, disordered, mixed = disorder.settle_table(table, names, ids, on_disorder)
    else:
        disordered, mixed = {}, set()
    rows = np.arange(first_row, first_row + n)
    cells, sites, kinds, flags = _read_columns(table, names)
    for column in (flags, kinds, sites, cells):
        bad |= column.bad if column is not None else {}
    bad |= disordered  # says more than that "Fe1" is no element
    for k in np.flatnonzero((sites.counts != kinds.counts) & (sites.counts >= 0) & (kinds.counts >= 0)).tolist():
        bad.setdefault(
            k,
            f"{names['species_at_sites']} holds {kinds.counts[k]} symbols and {names['cartesian_site_positions']} "
            f"{sites.counts[k]} positions: expected as many of one as of the other",
        )
    failures = [Failure(str(ids[k]), first_row + k, "read", reason) for k, reason in sorted(bad.items())]
    if bad:
        good = np.ones(n, dtype=bool)
        good[list(bad)] = False
        index = np.flatnonzero(good)
        table, ids, rows = table.take(index), ids[index], rows[index]
        columns = None if columns is None else columns.take(index)
        cells, sites, kinds, flags = _read_columns(table, names)
    count = len(rows)
    pointers = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(sites.counts, out=pointers[1:])
    crystals = Crystals(
        sites.values.reshape(-1, 3),
        cells.values.reshape(count, 3, 3),
        np.ones((count, 3), dtype=bool) if flags is None else flags.values,
        kinds.values,
        pointers,
        ids,
    )
    settled = np.isin(rows - first_row, list(mixed)) if mixed else None
    return StructureBatch(crystals, rows, failures, n, columns.cast(kept) if columns is not None else None, settled=settled)


def _read_columns(
    table: Any,  # noqa: ANN401
    names: dict[str, str],
) -> tuple[arrow_lists.Decoded, arrow_lists.Decoded, arrow_lists.Decoded, arrow_lists.Decoded | None]:
    lattice, positions, symbols = (names[name] for name in _REQUIRED)
    periodic = names.get("dimension_types")
    return (
        arrow_lists.vectors(arrow_lists.column(table, lattice), lattice, 3),
        arrow_lists.vectors(arrow_lists.column(table, positions), positions),
        arrow_lists.species(arrow_lists.column(table, symbols), symbols),
        None if periodic is None else arrow_lists.flag_lists(arrow_lists.column(table, periodic), periodic),
    )
