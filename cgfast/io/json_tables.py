"""Tables that pandas wrote as JSON, row by row: ``orient="split"`` (matbench) and the default by columns (WBM)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cgfast.io.json_cut import Cutter, Damaged
from cgfast.io.json_walk import Item, array_items, mapping_items, member, open_cutter
from cgfast.io.kept import LOOK_AT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

__all__ = ["ColumnsTable", "split_items"]

_BRACKET, _BRACE = ord("["), ord("{")


def split_items(cutter: Cutter) -> Iterator[Item]:
    """Rows of ``{"columns": [...], "index": [...], "data": [[...], ...]}`` as objects; the cutter has entered the object.

    The index labels a row that has no id of its own, if it stands before the data.

    Raises:
        Damaged: There are no columns before the data.
    """
    columns: list[str] | None = None
    index: Sequence[Any] = ()
    while found := cutter.next_open():
        key, _ = member(cutter, at_end=False)
        if key != "data" or found != _BRACKET:
            value = next(_one(cutter)).value
            if key == "columns" and isinstance(value, list):
                columns = [str(name) for name in value]
            elif key == "index" and isinstance(value, list):
                index = value
            continue
        if columns is None:
            message = f"{cutter.name} has its data (byte {cutter.opened:,}) before its columns: expected the columns first"
            raise Damaged(message)
        cutter.enter()
        for k, item in enumerate(array_items(cutter)):
            yield _row(item, columns, str(index[k]) if k < len(index) else None)
        cutter.leave()


def _one(cutter: Cutter) -> Iterator[Item]:
    from cgfast.io.json_cut import loads

    data = cutter.take()
    try:
        yield Item(loads(data))
    except ValueError as error:
        message = f"{cutter.name} is no JSON near byte {cutter.opened:,}: {error}"
        raise Damaged(message) from None


def _row(item: Item, columns: list[str], label: str | None) -> Item:
    values = item.value
    if item.error:
        return item._replace(label=label)
    if not isinstance(values, list) or len(values) != len(columns):
        came = f"{len(values)} values" if isinstance(values, list) else "no list"
        return Item(label=label, error=f"the row is {came}: expected {len(columns)}, one for each column")
    return Item(dict(zip(columns, values, strict=True)), label=label)


class ColumnsTable:
    """Rows of ``{"id": {"0": ..., ...}, "structure": {"0": {...}, ...}, ...}``.

    The file holds one column after the other, so it is read twice: for the columns without structures, of which those
    in ``wanted`` are held in memory (of the others the first rows, for `Reader.describe`), and for the structures.
    """

    def __init__(self, path: Path, fields: Sequence[str], wanted: Collection[str]) -> None:
        self._path = path
        self._columns: dict[str, dict[str, Any]] = {}
        others: list[str] = []
        stream, cutter = open_cutter(path)
        with stream:
            cutter.next_open()
            cutter.enter()
            while found := cutter.next_open():
                name, _ = member(cutter, at_end=False)
                if found != _BRACE:
                    cutter.take()
                    continue
                cutter.enter()
                if cutter.next_open():
                    others.append(name)
                    cutter.take()
                    while cutter.next_open():
                        cutter.take()
                else:
                    _, values = member(cutter, at_end=True)
                    self._columns[name] = dict(values if name in wanted else values[:LOOK_AT])
                cutter.leave()
        known = [field for field in fields if field in others]
        if not known:
            found_names = ", ".join([*others, *self._columns][:20])
            message = (
                f"{path} is a table by columns without one of structures ({', '.join(fields)}): its columns are {found_names}"
            )
            raise ValueError(message[:2000])
        self._field = known[0]

    def items(self) -> Iterator[Item]:
        """All rows, in the order of the column of structures."""
        stream, cutter = open_cutter(self._path)
        with stream:
            cutter.next_open()
            cutter.enter()
            while cutter.next_open():
                name, _ = member(cutter, at_end=False)
                if name != self._field:
                    cutter.take()
                    continue
                cutter.enter()
                for item in mapping_items(cutter):
                    label = item.key or ""
                    row = {column: values[label] for column, values in self._columns.items() if label in values}
                    yield item._replace(value={**row, self._field: item.value}, key=None, label=label)
                return
