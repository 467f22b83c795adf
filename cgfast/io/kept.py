"""Columns kept from the properties of records, whose types are nowhere written down.

Arrow wants a type before the first row. It is decided from the first `LOOK_AT` records (and further ones, up to `LOOK_FOR`,
while some column has no value yet): all truth values make a bool column, all numbers a float64 column, anything else text.
A later value that does not fit becomes null and is told in `KeptColumns.notes`; in a text column everything fits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

__all__ = ["LOOK_AT", "LOOK_FOR", "KeptColumns"]

LOOK_AT = 1000
LOOK_FOR = 20_000
_DEPTH = 4  # "a.b.c.d": properties are not looked for any deeper
_MAX_NAMES = 2000
_MISSING = object()
_BOOL, _NUMBER, _TEXT = "bool", "double", "string"


class KeptColumns:
    """The columns ``names`` of the properties that ``open_properties`` yields from the beginning each time."""

    def __init__(self, names: Sequence[str], open_properties: Callable[[], Iterator[Mapping[str, Any]]], where: str) -> None:
        self.names = list(names)
        self._open = open_properties
        self._where = where
        self._kinds: dict[str, str] | None = None
        self._found: dict[str, str] | None = None
        self._misfits: dict[str, tuple[int, str, str]] = {}

    def restart(self) -> None:
        """Forget the notes of an earlier reading."""
        self._misfits = {}

    def found(self) -> dict[str, str]:
        """All scalar properties of the first records -> their type; of nested ones as ``outer.inner``."""
        if self._found is None:
            kinds: dict[str, set[str]] = {}
            for k, properties in enumerate(self._open()):
                if k == LOOK_AT:
                    break
                for name, value in scalars(properties):
                    if name in kinds or len(kinds) < _MAX_NAMES:
                        kinds.setdefault(name, set()).update(_kind_of(value))
            self._found = {name: _common(found) for name, found in kinds.items()}
        return self._found

    def decide(self) -> dict[str, str]:
        """Types of the kept columns.

        Raises:
            ValueError: A name is in none of the first records.
        """
        if self._kinds is not None:
            return self._kinds
        seen: set[str] = set()
        kinds: dict[str, set[str]] = {name: set() for name in self.names}
        for k, properties in enumerate(self._open()):
            if k >= LOOK_FOR or (k >= LOOK_AT and all(kinds.values())):
                break
            for name in self.names:
                value = lookup(properties, name)
                if value is not _MISSING:
                    seen.add(name)
                    kinds[name].update(_kind_of(value))
        missing = [name for name in self.names if name not in seen]
        if missing:
            found = ", ".join(self.found()) or "none"
            message = f"{self._where} has no property {', '.join(missing)} in its first records. Properties found: {found}"
            raise ValueError(message[:4000])
        self._kinds = {name: _common(found) for name, found in kinds.items()}
        return self._kinds

    def schema(self) -> pa.Schema:
        """Types of the kept columns for Arrow."""
        import pyarrow as pa

        types = {_BOOL: pa.bool_(), _NUMBER: pa.float64(), _TEXT: pa.string()}
        return pa.schema([(name, types[kind]) for name, kind in self.decide().items()])

    def table(self, properties: Sequence[Mapping[str, Any]], ids: Sequence[str]) -> pa.Table:
        """The kept columns of some records."""
        import pyarrow as pa

        schema = self.schema()
        columns = [self._column(name, kind, properties, ids) for name, kind in self.decide().items()]
        return pa.table([pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema=schema)

    def _column(self, name: str, kind: str, properties: Sequence[Mapping[str, Any]], ids: Sequence[str]) -> list[Any]:
        values = [one[name] if name in one else lookup(one, name) for one in properties]
        for k, value in enumerate(values):
            if value is None or value is _MISSING:
                values[k] = None
            elif kind == _TEXT:
                values[k] = value if value.__class__ is str and value.isascii() else _text(value)
            elif _common(_kind_of(value)) == kind:
                if kind == _BOOL:
                    values[k] = bool(value)
                else:
                    try:
                        values[k] = float(value)
                    except OverflowError:
                        values[k] = None
                        self._misfit(name, value, ids[k])
            else:
                values[k] = None
                self._misfit(name, value, ids[k])
        return values

    def _misfit(self, name: str, value: Any, row_id: str) -> None:  # noqa: ANN401
        count, first, first_id = self._misfits.get(name, (0, _text(value)[:60], row_id))
        self._misfits[name] = (count + 1, first, first_id)

    def notes(self) -> list[str]:
        """A sentence for each column in which values did not fit."""
        kinds = {_BOOL: "truth values", _NUMBER: "numbers"}
        return [
            f"{self._where}: {count} values of {name} became null because they are no "
            f"{kinds[(self._kinds or {})[name]]} as in the first records; the first: {first!r} of {row_id}"
            for name, (count, first, row_id) in self._misfits.items()
        ]


def lookup(properties: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401
    """The property of this name, or of this path ("data.energy"); a mark of our own where there is none."""
    if name in properties:
        return properties[name]
    head, dot, rest = name.partition(".")
    inner = properties.get(head) if dot else None
    while isinstance(inner, Mapping):
        if rest in inner:
            return inner[rest]
        head, dot, rest = rest.partition(".")
        inner = inner.get(head) if dot else None
    return _MISSING


def scalars(properties: Mapping[str, Any], prefix: str = "", depth: int = 1) -> Iterator[tuple[str, Any]]:
    """Names and values of all properties that are text, numbers, truth values or null, nested ones by their path."""
    for name, value in properties.items():
        if not isinstance(name, str):
            continue
        if value is None or isinstance(value, str | int | float | np.generic):
            yield prefix + name, value
        elif isinstance(value, Mapping) and depth < _DEPTH:
            yield from scalars(value, f"{prefix}{name}.", depth + 1)


def _kind_of(value: Any) -> set[str]:  # noqa: ANN401
    """The type of one value, as a set; empty for null."""
    if value is None:
        return set()
    if isinstance(value, bool | np.bool_):
        return {_BOOL}
    return {_NUMBER} if isinstance(value, int | float | np.integer | np.floating) else {_TEXT}


def _common(kinds: set[str]) -> str:
    """One type for all these; numbers where there is no value at all."""
    return next(iter(kinds)) if len(kinds) == 1 else (_TEXT if kinds else _NUMBER)


def _text(value: Any) -> str:  # noqa: ANN401
    """A value as text: itself, or JSON of it."""
    from cgfast.io.batch import printable

    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return printable(value)
    try:
        return printable(json.dumps(value))
    except (TypeError, ValueError, RecursionError):
        return f"a {type(value).__name__}"
