"""GNoME's files: a CSV with one line a material, and zips (or folders) of CIFs named by material id or by formula.

Rows are the lines of the CSV, in order; its columns can be kept under their own names ("Formation Energy Per Atom").
"""

from __future__ import annotations

import csv
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from cgfast.io import compression
from cgfast.io.cif_fallback import Fallback
from cgfast.io.cif_source import Row, batches_of, read_rows
from cgfast.io.entries import Archive, Entry, FileEntry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

    from cgfast.io.batch import StructureBatch
    from cgfast.io.formats import Options

__all__ = ["GnomeTable", "gnome_table", "looks_like"]

_ID = "MaterialId"
_FORMULAS = ("Composition", "Reduced Formula")  # by which CIFs may be named too
_LOOK_AT = 1 << 16  # bytes
_BLOCK = 1 << 29  # bytes


def looks_like(head: bytes) -> bool:
    """Whether the first line of a text names GNoME's columns."""
    line = head.removeprefix(b"\xef\xbb\xbf").partition(b"\n")[0].decode("utf-8", "replace")
    try:
        names = next(csv.reader([line]), [])
    except csv.Error:
        return False
    return _ID in names and any(name in names for name in _FORMULAS)


def gnome_table(folder: Path) -> Path | None:
    """The CSV of GNoME in a folder; None if there is none.

    Raises:
        ValueError: There are several.
    """
    found = [
        path
        for path in sorted(folder.iterdir())
        if compression.without_suffix(path.name).lower().endswith(".csv")
        and not path.name.startswith(".")
        and path.is_file()
        and looks_like(compression.head(path, _LOOK_AT))
    ]
    if len(found) > 1:
        message = f"{folder} holds several tables of GNoME ({', '.join(path.name for path in found)}): say which"
        raise ValueError(message)
    return found[0] if found else None


class GnomeTable:
    """A CSV of GNoME and the CIFs beside it. A line without a CIF is a failure; a CIF without a line is no row (`notes`).

    A CIF is looked for by MaterialId, then by Composition, then by Reduced Formula if no other line has the same one.

    Raises:
        ValueError: The CSV cannot be read or lacks a column, or there is no CIF beside it.
    """

    def __init__(self, path: Path, options: Options) -> None:
        self.format = "gnome"
        self.id_source = _ID
        self._path = path
        self._options = options
        self._table, self._broken = _read_csv(path)
        missing = [name for name in (_ID, *options.keep) if name not in self._table.column_names]
        if missing:
            message = f"{path} has no column {', '.join(missing)}. Columns found: {', '.join(self._table.column_names)}"
            raise ValueError(message)
        self._ids: list[str] = [name or "" for name in self._table[_ID].to_pylist()]
        self._containers: list[Archive] = []
        self._entries = self._find()
        self.n_rows: int | None = len(self._ids)
        self.n_rows_estimate: int | None = len(self._ids)

    @property
    def n_files(self) -> int:
        """CIFs that belong to a line."""
        return sum(not isinstance(entry, str) for entry in self._entries)

    def files(self) -> list[Path]:
        """The CSV, and the zips or CIFs that are read."""
        loose = [entry.path for entry in self._entries if isinstance(entry, FileEntry)]
        return [self._path, *(archive.path for archive in self._containers), *dict.fromkeys(loose)]

    def columns(self) -> dict[str, str]:
        """The columns of the CSV -> their type."""
        return {field.name: str(field.type) for field in self._table.schema}

    def property_names(self) -> list[str]:
        """Columns that can be kept, without the ids."""
        return [name for name in self._table.column_names if name != _ID]

    def kept_schema(self) -> pa.Schema:
        """Types of the kept columns."""
        return self._table.select(list(self._options.keep)).schema

    def pieces(self, batch_rows: int) -> Iterator[StructureBatch]:
        """All rows in order, at most ``batch_rows`` at a time."""
        kept = self._table.select(list(self._options.keep)) if self._options.keep else None
        with ExitStack() as stack:
            for archive in self._containers:
                stack.enter_context(archive)
            fallback = stack.enter_context(Fallback(self._options.time_limit))
            rows = (self._row(name, entry, fallback) for name, entry in zip(self._ids, self._entries, strict=True))
            yield from batches_of(rows, batch_rows, None if kept is None else kept.take)

    def _row(self, name: str, entry: Entry | str, fallback: Fallback) -> Row:
        if isinstance(entry, str):
            return Row(name, None, entry)
        return read_rows(entry, name, fallback, self._options.on_disorder, single=True)[0]

    def _find(self) -> list[Entry | str]:
        """The CIF of each line, or why there is none; and notes on CIFs without a line."""
        entries: list[Entry | str] = [
            self._broken.get(k, f"no CIF is named by the material {name}") for k, name in enumerate(self._ids)
        ]
        self.notes: list[str] = []
        places = _places(self._path.parent)
        if not places:
            message = f"beside {self._path} there is no zip or folder of CIFs"
            raise ValueError(message)
        rows = [k for k in range(len(entries)) if k not in self._broken]
        for where, files in places.items():
            used: set[str] = set()
            for column in (_ID, *_FORMULAS):
                if rows and column in self._table.column_names:
                    rows = _match(rows, self._table[column].to_pylist(), files, entries, used, "" if column == _ID else column)
            if used:
                self._use(where, files, len(files) - len(used))
            if not rows:
                break
        return entries

    def _use(self, where: str, files: dict[str, Entry], n_unnamed: int) -> None:
        archives = {id(file.archive): file.archive for file in files.values() if hasattr(file, "archive")}
        self._containers += archives.values()
        if n_unnamed:
            self.notes.append(f"{n_unnamed} CIFs in {where} are named by no line of {self._path.name}: they are not read")


def _match(
    rows: list[int],
    keys: list[str | None],
    files: dict[str, Entry],
    entries: list[Entry | str],
    used: set[str],
    formula: str,
) -> list[int]:
    """Put the files that the keys of ``rows`` name into ``entries``; the rows that are left.

    ``formula`` is the name of the keys' column where they are no ids: then several rows may have one key.
    """
    count = Counter(keys[k] for k in rows) if formula else Counter()
    left = []
    for k in rows:
        key = keys[k] or ""
        file = files.get(key)
        if file is None:
            left.append(k)
            continue
        used.add(key)
        if count[key] > 1:
            entries[k] = f"{count[key]} materials have the {formula} {key}, by which one CIF is named"
            left.append(k)
        else:
            entries[k] = file
    return left


def _places(folder: Path) -> dict[str, dict[str, Entry]]:
    """CIFs by their names without suffix, in each zip and subfolder: those by id first, then by composition, then others."""

    def order(path: Path) -> tuple[int, str]:
        name = path.name.lower()
        return next((k for k, word in enumerate(("by_id", "by_composition", "by_reduced")) if word in name), 3), path.name

    found: dict[str, dict[str, Entry]] = {}
    for path in sorted((one for one in folder.iterdir() if not one.name.startswith(".")), key=order):
        entries: Sequence[tuple[str, Entry]] = ()
        if path.suffix.lower() == ".zip" and path.is_file():
            entries = [(entry.info.filename, entry) for entry in Archive(path).members()]
        elif path.is_dir():
            entries = [(one.name, FileEntry(one)) for one in sorted(path.iterdir())]
        cifs = {stem: entry for name, entry in entries if (stem := _stem(name))}
        if cifs:
            found[str(path)] = cifs
    loose = {stem: FileEntry(one) for one in sorted(folder.iterdir()) if (stem := _stem(one.name))}
    if loose:
        found[str(folder)] = dict(loose)
    return found


def _stem(name: str) -> str:
    """The name of a CIF without folders and suffix; "" if it is none."""
    last = compression.without_suffix(name.rsplit("/", 1)[-1])
    return last[:-4] if last.lower().endswith(".cif") and not last.startswith(".") and "__MACOSX/" not in name else ""


def _read_csv(path: Path) -> tuple[Any, dict[int, str]]:
    """The table, and reasons for lines that do not fit (which stand there as null)."""
    import pyarrow as pa
    import pyarrow.csv as pcsv

    broken: dict[int, str] = {}

    def invalid(row: Any) -> str:  # noqa: ANN401
        # numbers count the header, and from 1
        broken[row.number - 2] = (
            f"line {row.number} of {path.name} has {row.actual_columns} columns: expected {row.expected_columns}"
        )
        return "skip"

    # types are inferred from the first block: let it be the file
    packed = path.suffix.lower() in compression.SUFFIXES
    block = _BLOCK if packed else min(path.stat().st_size + 1, _BLOCK)
    text = {name: pa.string() for name in (_ID, *_FORMULAS)}
    try:
        table = pcsv.read_csv(
            path,
            pcsv.ReadOptions(use_threads=False, block_size=block),
            pcsv.ParseOptions(newlines_in_values=True, invalid_row_handler=invalid),
            pcsv.ConvertOptions(column_types=text),
        )
    except (pa.ArrowException, OSError) as error:
        message = f"{path} cannot be read as CSV: {str(error).splitlines()[0]}"
        raise ValueError(message) from None
    table = table.select([k for k, name in enumerate(table.column_names) if name and table.column_names.count(name) == 1])
    if broken:
        # null lines in the places of the broken ones, so that rows and lines go together
        index: list[int | None] = list(range(table.num_rows))
        for k in sorted(broken):
            index.insert(k, None)
        table = table.take(pa.array(index, pa.int64()))
    return table, broken
