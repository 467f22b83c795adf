"""What the beginning of a JSON file says of the rest: which container holds the records."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from cgfast.io.json_cut import loads
from cgfast.io.json_records import describe_keys, looks_like_record

__all__ = ["Layout", "Top", "layout_of", "partial"]

_PIECE = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+)', re.DOTALL)
_HEADER = "x-optimade"
_DATA = "data"
_SPLIT = frozenset({"index", "columns"})


class Top(NamedTuple):
    """The beginning of a JSON text as objects: what is cut off is left out."""

    value: Any
    complete: bool  # the value ends within the beginning
    more: bool  # and another one follows


class Layout(NamedTuple):
    """How the records lie in a file.

    kind: "array" (all elements), "member" (all elements of the list under ``key``), "mapping" (all values, their keys are
    ids), "values" (one record, or several one after the other), "split" and "columns" (pandas' tables).
    """

    kind: str
    key: str = ""


def partial(text: str) -> Top:
    """Parse the beginning of a JSON text, tolerantly: one record that is no JSON must not hide the others.

    Raises:
        ValueError: It does not begin as an object or a list does.
    """
    if text.lstrip()[:1] not in {"{", "["}:
        message = "expected an object or a list"
        raise ValueError(message)
    root: list[Any] = []
    stack: list[Any] = [root]
    key: str | None = None
    position = 0
    while (match := _PIECE.match(text, position)) is not None and (len(stack) > 1 or not root):
        piece = match.group(1)
        position = match.end()
        if piece in ",:":
            key = None if piece == "," else key
            continue
        if piece in "}]":
            stack.pop()
            key = None
            continue
        if piece not in "{[" and position == len(text):
            break  # a number may go on
        value: Any = {} if piece == "{" else [] if piece == "[" else _scalar(piece)
        if isinstance(stack[-1], list):
            stack[-1].append(value)
        elif key is not None:
            stack[-1][key] = value
            key = None
        elif isinstance(value, str):
            key = value
            continue
        if piece in "{[":
            stack.append(value)
    complete = len(stack) == 1
    return Top(root[0], complete, complete and bool(text[position:].strip()))


def _scalar(piece: str) -> Any:  # noqa: ANN401
    try:
        return loads(piece.encode("utf-8", "surrogatepass"))
    except ValueError:
        return piece


def layout_of(top: Top, fields: tuple[str, ...], name: str) -> Layout:
    """The container of the records of a file.

    ``fields`` are names of members that hold structures, the file is called ``name``.

    Raises:
        ValueError: There are no structures in it, as far as one sees.
    """
    value = top.value
    if isinstance(value, list):
        _check(value, fields, name)
        return Layout("array")
    if not isinstance(value, dict):
        message = f"{name} holds {describe_keys(value)}: expected structures"
        raise ValueError(message)  # noqa: TRY004 - bad input is a ValueError throughout
    if top.more or _HEADER in value or looks_like_record(value, fields):
        return Layout("values")
    found = _in_members(value, fields)
    if found is not None:
        return found
    _check(list(value.values()), fields, name, value)
    return Layout("mapping")


def _in_members(value: dict[str, Any], fields: tuple[str, ...]) -> Layout | None:
    names = list(value)
    data = value.get(_DATA)
    if names and names[0] in {*_SPLIT, _DATA} and isinstance(value[names[0]], list):
        first = value[names[0]][:1]
        if _SPLIT & set(names[:2]) or (first and isinstance(first[0], list)):
            return Layout("split", _DATA)
    if isinstance(data, dict) and looks_like_record(data, fields):
        return Layout("member", _DATA)
    if isinstance(data, list):
        return Layout("member", _DATA)
    for key, inner in value.items():
        if isinstance(inner, list) and (key == "entries" or any(looks_like_record(one, fields) for one in inner[:10])):
            return Layout("member", key)
    return Layout("columns") if _is_table(value, fields) else None


def _is_table(value: dict[str, Any], fields: tuple[str, ...]) -> bool:
    """Whether this is {"id": {"0": "a", ...}, "structure": {"0": {...}, ...}}: columns with the same labels."""
    columns = list(value.values())
    if (
        not columns
        or not all(isinstance(column, dict) and column for column in columns[:-1])
        or not isinstance(columns[-1], dict)
    ):
        return False
    labels = {next(iter(column)) for column in columns if column}
    if len(labels) != 1:
        return False
    scalar = not any(isinstance(one, dict | list) for one in list(columns[0].values())[:10])
    return scalar or any(field in value for field in fields)


def _check(values: list[Any], fields: tuple[str, ...], name: str, mapping: dict[str, Any] | None = None) -> None:
    """Refuse a container of other things. One bad record among good ones is a failure, and nothing seen is no reason."""
    if not values or any(_may_be_record(one, fields) for one in values[:1000]):
        return
    what = describe_keys(mapping if mapping is not None else values[0])
    message = f"{name} is JSON without structures that are known: it holds {what}"
    raise ValueError(message)


def _may_be_record(value: Any, fields: tuple[str, ...]) -> bool:  # noqa: ANN401
    if not isinstance(value, dict):
        return False
    if not value or looks_like_record(value, fields):
        return True  # nothing of it was seen, or enough
    return any(isinstance(one, dict) and (not one or looks_like_record(one, fields)) for one in value.values())
