"""The 2018 folder layout: ``id_prop.csv`` (id, target, ...) and one ``ID.cif`` for each id."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cgfast.io.cif_fallback import Fallback
from cgfast.io.cif_source import Row, batches_of, read_rows
from cgfast.io.entries import FileEntry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from cgfast.io.batch import StructureBatch

__all__ = ["CgcnnFolder"]

# The last word of a heading over ids: "id", "mp_id", "cif file", "Material". No digits, which ids mostly have.
_ID_HEADER = re.compile(
    r"(?:[a-z_ -]*[_ -])?(ids?|cifid|jid|cif|name|file|filename|structure|material|crystal|compound|formula)", re.IGNORECASE
)


class CgcnnFolder:
    """Rows are the lines of ``id_prop.csv``; the targets may be missing.

    An id without a file is a failure; files that the CSV does not name are no rows. Kept columns: ``target``,
    ``target_1``, ``target_2``, ... for the columns after the id, and a header's own names if there is a
    header. A column is float64 when all its entries are numbers, else text; missing entries are null.
    """

    def __init__(self, folder: Path, on_disorder: str, time_limit: float, keep: Sequence[str]) -> None:
        self.format = "cgcnn"
        self.id_source = "id_prop.csv"
        self.folder = folder
        self.on_disorder = on_disorder
        self.time_limit = time_limit
        self.keep = list(keep)
        path = folder / "id_prop.csv"
        lines = _lines(path)
        _check_separator(lines, path)
        header = _is_header(lines, folder)
        self.ids = [line[0].strip() for line in lines[header:]]
        if not self.ids:
            message = f"{path} names no crystals: expected lines like 'ID,target'"
            raise ValueError(message)
        width = max(len(line) for line in lines)
        self._columns: dict[str, list[str]] = {}
        for k in range(1, width):
            values = [line[k].strip() if k < len(line) else "" for line in lines[header:]]
            self._columns["target" if k == 1 else f"target_{k - 1}"] = values
            if header and k < len(lines[0]) and lines[0][k].strip():
                self._columns.setdefault(lines[0][k].strip(), values)
        missing = [name for name in self.keep if name not in self._columns]
        if missing:
            found = ", ".join(self._columns) or "none"
            message = f"{path} has no column {', '.join(missing)}. Columns found: {found}"
            raise ValueError(message)
        self.n_rows: int | None = len(self.ids)
        self.n_rows_estimate: int | None = len(self.ids)

    @property
    def n_files(self) -> int:
        """CIF files that the CSV names."""
        return len(self.ids)

    def columns(self) -> dict[str, str]:
        """Names of the columns that can be kept -> their type."""
        return {name: str(_typed(values).type) for name, values in self._columns.items()}

    def kept_schema(self) -> pa.Schema:
        """Types of the kept columns."""
        return self._table().schema

    def files(self) -> list[Path]:
        """The CSV and the CIFs that it names; an id that is no file name has none."""
        names = [name for name in dict.fromkeys(self.ids) if self._is_inside(name)]
        files = dict.fromkeys(self._path(name) for name in names)
        return [self.folder / "id_prop.csv", *files]

    def _table(self) -> pa.Table:
        import pyarrow as pa

        return pa.table({name: _typed(self._columns[name]) for name in self.keep})

    def pieces(self, batch_rows: int) -> Iterator[StructureBatch]:
        """All rows in order, at most ``batch_rows`` at a time."""
        table = self._table() if self.keep else None
        with Fallback(self.time_limit) as fallback:
            rows = (self._row(name, fallback) for name in self.ids)
            yield from batches_of(rows, batch_rows, table.take if table is not None else None)

    def _row(self, name: str, fallback: Fallback) -> Row:
        if not self._is_inside(name):
            return Row(name, None, f"the id {name[:60]!r} is no file name inside {self.folder}")
        path = self._path(name)
        try:
            if not path.is_file():
                return Row(name, None, f"id_prop.csv names {name}, but there is no file {name}.cif")
        except OSError as error:
            return Row(name[:200], None, f"{name[:60]}.cif cannot be read: {error.strerror}")
        return read_rows(FileEntry(path), name, fallback, self.on_disorder, single=True)[0]

    @staticmethod
    def _is_inside(name: str) -> bool:
        """Ids come from a file of unknown origin: they must not lead out of the folder."""
        inside = PurePosixPath(name.replace("\\", "/"))
        bad = not name or "\0" in name or inside.is_absolute() or ".." in inside.parts
        return not bad and bool(inside.parts) and ":" not in inside.parts[0]

    def _path(self, name: str) -> Path:
        """ID.cif; or ID itself where that ends in .cif and ID.cif is not there."""
        path = self.folder / f"{name}.cif"
        return self.folder / name if name.lower().endswith(".cif") and not _exists(path) else path


def _lines(path: Path) -> list[list[str]]:
    """Lines of the CSV that are not blank, without a byte-order mark, whatever the line ends."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            return [line for line in csv.reader(file) if any(cell.strip() for cell in line)]
    except FileNotFoundError:
        message = f"{path.parent} has no id_prop.csv: expected the 2018 layout, id_prop.csv and ID.cif"
        raise ValueError(message) from None
    except (OSError, csv.Error) as error:
        message = f"{path} cannot be read as CSV: {error}"
        raise ValueError(message) from None


def _check_separator(lines: list[list[str]], path: Path) -> None:
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        firsts = [line[0].strip() for line in lines]
        if firsts and all(separator in first for first in firsts) and not _exists(path.parent / f"{firsts[0]}.cif"):
            message = f"{path} has {name} between its columns: expected commas, like 'ID,target'"
            raise ValueError(message)


def _is_header(lines: list[list[str]], folder: Path) -> bool:
    """Whether the first line names columns: it is headed by a word for ids, holds no number, and no file has its id.

    A first row of data whose file is missing and whose target is text must not pass for a header: it would vanish.
    """
    if not lines:
        return False
    first = [cell.strip() for cell in lines[0]]
    if not _ID_HEADER.fullmatch(first[0][:60]) or any(_is_number(cell) for cell in first[1:] if cell):
        return False
    return not _exists(folder / f"{first[0]}.cif") and not _exists(folder / first[0])


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _typed(values: list[str]) -> pa.Array:
    import pyarrow as pa

    if all(_is_number(value) for value in values if value):
        numbers = [float(value) if value else math.nan for value in values]
        return pa.array([x if value else None for x, value in zip(numbers, values, strict=True)], pa.float64())
    return pa.array([value or None for value in values], pa.string())
