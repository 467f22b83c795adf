"""Tables of structures: Parquet files with OPTIMADE column names, streamed row group by row group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cgfast.io.optimade_table import COLUMNS, OptimadeTables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from cgfast.io.batch import StructureBatch

__all__ = ["COLUMNS", "ParquetSource"]


class ParquetSource:
    """Rows of several Parquet files, one after the other; footers are read at once, rows when iterated."""

    def __init__(
        self, paths: Sequence[Path], columns: Mapping[str, str] | None, keep: Sequence[str], on_disorder: str = "skip"
    ) -> None:
        self.format = "parquet"
        self.paths = list(paths)
        self._tables = OptimadeTables(columns, keep, on_disorder)
        self.keep = self._tables.keep
        self.n_rows: int | None = None
        self.schemas = []
        self._counts: list[int] = []
        self.largest_group = 0  # rows; a reading that begins in the middle of a group decodes what is before it
        for path in self.paths:
            file = self._open(path)
            try:
                schema = file.schema_arrow
                self._tables.check(path, schema)
                self.schemas.append(schema)
                self._counts.append(file.metadata.num_rows)
                groups = (file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups))
                self.largest_group = max(self.largest_group, *groups, 0)
            finally:
                file.close()
        self.n_rows = total = sum(self._counts)
        self.n_rows_estimate: int | None = total
        sources = {self._tables.present(schema).get("id", "row number") for schema in self.schemas}
        self.id_source = ", ".join(sorted(sources))

    @property
    def n_files(self) -> int:
        """Files read."""
        return len(self.paths)

    def files(self) -> list[Path]:
        """The files read."""
        return self.paths

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
        used = {name for schema in self.schemas for name in self._tables.present(schema).values()}
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

    def pieces(self, batch_rows: int) -> Iterator[StructureBatch]:
        """All rows in order, at most ``batch_rows`` at a time."""
        return self.pieces_from(batch_rows, 0)

    def pieces_from(self, batch_rows: int, first_row: int) -> Iterator[StructureBatch]:
        """The same without the files and row groups that end before ``first_row``, which are not read."""
        import pyarrow as pa

        kept = self.kept_schema() if self.keep else None
        row = 0
        for path, schema, count in zip(self.paths, self.schemas, self._counts, strict=True):
            if row + count <= first_row:
                row += count
                continue
            here = self._tables.present(schema)
            wanted = list(dict.fromkeys([*here.values(), *self.keep]))
            file = self._open(path)
            try:
                # one row group at a time: Arrow cannot join nested dictionaries of several
                for group in range(file.metadata.num_row_groups):
                    rows = file.metadata.row_group(group).num_rows
                    if row + rows <= first_row:
                        row += rows
                        continue
                    for batch in file.iter_batches(batch_rows, [group], columns=wanted, use_threads=False):
                        if batch.num_rows:
                            yield self._tables.decode(pa.table(batch), row, kept)
                        row += batch.num_rows
            except (pa.ArrowException, OSError) as error:
                message = f"{path} is damaged near row {row}: {_first_line(error)}"
                raise ValueError(message) from None
            finally:
                file.close()


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
