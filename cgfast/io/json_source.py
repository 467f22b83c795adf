"""JSON of every known kind as a source of structures: OPTIMADE, pymatgen, JARVIS, ASE, Materials Project, matbench, WBM, MPtrj.

Kinds are told record by record (`cgfast.io.json_records`), containers file by file (`cgfast.io.json_head`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgfast.io import json_ase, json_optimade
from cgfast.io.compression import without_suffix
from cgfast.io.json_cut import Damaged, open_text
from cgfast.io.json_head import layout_of
from cgfast.io.json_records import IDS, Decoder
from cgfast.io.json_tables import ColumnsTable, split_items
from cgfast.io.json_walk import Item, Text, array_items, line_items, mapping_items, member, parsed
from cgfast.io.records import Record, RecordSource, failed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cgfast.io.formats import Options, Source
    from cgfast.io.json_cut import Cutter

__all__ = ["json_source", "looks_like_json"]

_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def looks_like_json(head: bytes) -> bool:
    """Whether a text begins as JSON's objects and lists do."""
    for mark in _MARKS:
        head = head.removeprefix(mark)
    return head.lstrip(b" \t\r\n\0")[:1] in {b"{", b"["}


def json_source(paths: Sequence[Path], options: Options) -> Source:
    """A source of the structures in JSON files, one file after the other.

    Raises:
        ValueError: The only file is empty, is no JSON, or holds no structures that are known.
    """
    files = _Files(paths, options)
    source, kind = files.look()
    return RecordSource(
        "json",
        paths,
        files.records,
        keep=options.keep,
        on_disorder=options.on_disorder,
        id_source=source,
        kind=kind,
    )


class _Files:
    """JSON files that are read one after the other."""

    def __init__(self, paths: Sequence[Path], options: Options) -> None:
        self._paths = list(paths)
        self._decoder = Decoder(options.columns, options.on_disorder)
        self._wanted = {*options.keep, *IDS, *(options.columns or {}).values()}
        self._tables: dict[Path, ColumnsTable] = {}

    def look(self) -> tuple[str, str]:
        """Where ids come from and what kind of records there are, as far as the first record tells."""
        for path in self._paths[:10]:
            for item in self._items(path):
                if not item.error:
                    return self._decoder.describe(item.value, item.key, item.label)
                break
        return "row number", ""

    def records(self) -> Iterator[Record]:
        """The records of all files."""
        for path in self._paths:
            for item in self._items(path):
                if item.error:
                    yield failed(item.key or item.label, item.error)
                    continue
                for record in self._decoder.records(item.value, item.key):
                    yield record if record.id is not None else record._replace(id=item.label)

    def _items(self, path: Path) -> Iterator[Item]:
        """The values of a file's container. One file among many that gives none is a failure: it may be a single record."""
        begun = False
        try:
            for item in self._values(path):
                begun = True
                yield item
        except ValueError as error:
            if begun or len(self._paths) == 1:
                raise
            yield Item(label=_stem(path), error=str(error))

    def _values(self, path: Path) -> Iterator[Item]:
        if path in self._tables:
            yield from self._tables[path].items()
            return
        with open_text(path) as stream:
            text = Text(stream, path)
            if not text.head.strip():
                message = f"{path} is empty"
                raise ValueError(message)
            top = text.top()
            if text.has_lines(top):
                for item in line_items(text.read, text.name):
                    if not (isinstance(item.value, dict) and json_optimade.is_other(item.value)):
                        yield item
                return
            layout = layout_of(top, self._decoder.fields, text.name)
            if layout.kind == "values" and text.is_whole and top.complete and not top.more:
                yield Item(top.value, label=_stem(path))
                return
            if layout.kind != "columns":
                yield from _container(text.cutter(), layout.kind, layout.key, _stem(path))
                return
        self._tables[path] = ColumnsTable(path, self._decoder.fields, self._wanted)
        yield from self._tables[path].items()


def _container(cutter: Cutter, kind: str, key: str, stem: str) -> Iterator[Item]:
    if kind == "values":
        for k, item in enumerate(array_items(cutter)):
            yield item._replace(label=stem if not k else None)
        return
    cutter.next_open()
    cutter.enter()
    if kind == "array":
        yield from array_items(cutter)
    elif kind == "mapping":
        yield from (item for item in mapping_items(cutter) if not json_ase.is_bookkeeping(item.key, item.value))
    elif kind == "split":
        yield from split_items(cutter)
    else:
        yield from _member_items(cutter, key)
    cutter.leave()
    if cutter.next_open() or cutter.gap.strip():
        message = f"{cutter.name} goes on behind its end at byte {cutter.opened:,}: expected one list or object"
        raise Damaged(message)


def _member_items(cutter: Cutter, wanted: str) -> Iterator[Item]:
    """The elements of the list that an object has under this name, or the record there."""
    while found := cutter.next_open():
        key, _ = member(cutter, at_end=False)
        if key == wanted and found == ord("["):
            cutter.enter()
            yield from array_items(cutter)
            cutter.leave()
        elif key == wanted:
            begin = cutter.opened
            yield parsed(cutter.take(), None, begin, cutter.name)
        else:
            cutter.take()


def _stem(path: Path) -> str:
    name = without_suffix(path.name)
    return name.rpartition(".")[0] or name
