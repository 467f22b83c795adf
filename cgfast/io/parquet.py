"""Tables of structures: Parquet files with OPTIMADE column names, streamed row group by row group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cgfast.crystals import Crystals
from cgfast.io import arrow_lists
from cgfast.io import optimade_disorder as disorder
from cgfast.io.batch import Failure, StructureBatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["COLUMNS", "ParquetSource"]

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


class ParquetSource:
    """Rows of several Parquet files, one after the other; footers are read at once, rows when iterated."""

    def __init__(
        self, paths: Sequence[Path], columns: Mapping[str, str] | None, keep: Sequence[str], on_disorder: str = "skip"
    ) -> None:
        self.format = "parquet"
        self.on_disorder = on_disorder
        self.paths = list(paths)
        self.names = _names(columns)
        self._overridden = set(columns or {})
        self.keep = list(keep)
        self.n_rows: int | None = None
        self.schemas = []
        total = 0
        for path in self.paths:
            file = self._open(path)
            try:
                schema = file.schema_arrow
                self._check(path, schema)
                self.schemas.append(schema)
                total += file.metadata.num_rows
            finally:
                file.close()
        self.n_rows = total
        self.n_rows_estimate: int | None = total
        sources = {self._present(schema).get("id", "row number") for schema in self.schemas}
        self.id_source = ", ".join(sorted(sources))

    @property
    def n_files(self) -> int:
        """Files read."""
        return len(self.paths)

    def files(self) -> list[Path]:
        """The files read."""
        return self.paths

    def _present(self, schema: Any) -> dict[str, str]:  # noqa: ANN401 - pyarrow has no types
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

    def kept_schema(self) -> pa.Schema:
        """Types of the kept columns over all files."""
        import pyarrow as pa

        kept = [pa.schema([schema.field(name) for name in self.keep]) for schema in self.schemas]
        try:
            return pa.unify_schemas(kept, promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            message = f"the files disagree on the type of a column of keep={self.keep}: {error}"
            raise ValueError(message) from None

    def columns(self) -> dict[str, str]:
        """All columns of the first file -> their type and, where the file names it, unit."""
        found = {}
        for one in self.schemas[0]:
            unit = (one.metadata or {}).get(b"unit", b"").decode("utf-8", "replace")
            found[one.name] = str(one.type) + (f" ({unit})" if unit else "")
        return found

    def property_names(self) -> list[str]:
        """Columns of every file that have no part in the structures."""
        used = {name for schema in self.schemas for name in self._present(schema).values()}
        first, *others = self.schemas
        return [
            name
            for name in first.names
            if name not in used and first.names.count(name) == 1 and all(other.names.count(name) == 1 for other in others)
        ]

    def _open(self, path: Path) -> Any:  # noqa: ANN401 - pyarrow has no types
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            # pre_buffer would hold all row groups of the file in memory at once; a mapped file that another
            # process cuts short kills the reader with SIGBUS
            return pq.ParquetFile(path, memory_map=False, pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            size = path.stat().st_size if path.is_file() else None
            what = "is empty" if size == 0 else f"is no readable Parquet file: {_first_line(error)}"
            message = f"{path} {what}"
            raise ValueError(message) from None

    def _check(self, path: Path, schema: Any) -> None:  # noqa: ANN401
        import pyarrow.types as t

        needed = [self.names[name] for name in COLUMNS if name in _REQUIRED or name in self._overridden] + self.keep
        missing = sorted({name for name in needed if name not in schema.names})
        if missing:
            message = (
                f"{path} has no column {', '.join(missing)}. Columns found: {', '.join(schema.names) or 'none'}. "
                'Other names are given like columns={"species_at_sites": "elements_of_sites"}'
            )
            raise ValueError(message)
        for name in [*_REQUIRED, "dimension_types"]:
            column = self.names[name]
            if column not in schema.names:
                continue
            if schema.names.count(column) > 1:
                message = f"{path} has the column {column} {schema.names.count(column)} times: expected once"
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
                message = f"{path}: column {column} has type {kind}: expected {expected}"
                raise ValueError(message)

    def pieces(self, batch_rows: int) -> Iterator[StructureBatch]:
        """All rows in order, at most ``batch_rows`` at a time."""
        import pyarrow as pa

        kept = self.kept_schema() if self.keep else None
        row = 0
        for path, schema in zip(self.paths, self.schemas, strict=True):
            here = self._present(schema)
            wanted = list(dict.fromkeys([*here.values(), *self.keep]))
            file = self._open(path)
            try:
                # one row group at a time: Arrow cannot join nested dictionaries of several
                for group in range(file.metadata.num_row_groups):
                    for batch in file.iter_batches(batch_rows, [group], columns=wanted, use_threads=False):
                        if batch.num_rows:
                            yield _decode(pa.table(batch), here, row, kept, self.on_disorder)
                        row += batch.num_rows
            except (pa.ArrowException, OSError) as error:
                message = f"{path} is damaged near row {row}: {_first_line(error)}"
                raise ValueError(message) from None
            finally:
                file.close()


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


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
        table, disordered = disorder.settle_table(table, names, ids, on_disorder)
    else:
        disordered = {}
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
    return StructureBatch(crystals, rows, failures, n, columns.cast(kept) if columns is not None else None)


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
