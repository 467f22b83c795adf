"""The records of one JSON file in order, parsed one at a time, whatever container they lie in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from cgfast.io import compression, json_head
from cgfast.io.formats import HEAD_BYTES
from cgfast.io.json_cut import MAX_VALUE_BYTES, Cutter, Damaged, loads, open_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["Item", "Text", "array_items", "line_items", "mapping_items", "member", "open_cutter", "parsed"]

_KEY = re.compile(rb'\s*,?\s*("(?:[^"\\]|\\.)*")\s*:\s*', re.DOTALL)
_LINES = (".jsonl", ".ndjson")
_BLANK = b" \t\r\n"


class Item(NamedTuple):
    """One value of the container of records."""

    value: Any = None
    key: str | None = None  # what the container calls it, which is its id
    label: str | None = None  # an id in case it has none of its own
    error: str = ""  # why it is no JSON


class Text:
    """The beginning of a file's text, and the rest."""

    def __init__(self, stream: Any, path: Path) -> None:  # noqa: ANN401 - something with read()
        self.name = str(path)
        self._stream = stream
        parts: list[bytes] = []
        size = 0
        try:
            while size < HEAD_BYTES and (part := stream.read(HEAD_BYTES - size)):
                parts.append(part)
                size += len(part)
        except (*compression.UNPACKING, UnicodeDecodeError) as error:
            message = f"{path} is damaged near byte {size:,}: {error}"
            raise Damaged(message) from None
        self.head = b"".join(parts)
        self.is_whole = size < HEAD_BYTES
        self._rest: bytes | None = self.head

    def read(self, size: int) -> bytes:
        """The next bytes from the beginning."""
        if self._rest:
            part, self._rest = self._rest[:size], self._rest[size:]
            return part
        data: bytes = self._stream.read(size)
        return data

    def top(self) -> json_head.Top:
        """The beginning as objects.

        Raises:
            ValueError: It is no JSON.
        """
        if self.is_whole:
            try:
                return json_head.Top(loads(self.head), complete=True, more=False)
            except ValueError:
                pass  # several values, or damaged further on
        try:
            return json_head.partial(self.head.decode("utf-8", "ignore" if not self.is_whole else "replace"))
        except ValueError as error:
            message = f"{self.name} is no JSON text: {str(error)[:200]}"
            raise ValueError(message) from None

    def has_lines(self, top: json_head.Top) -> bool:
        """Whether each line is a value of its own."""
        if compression.without_suffix(self.name).lower().endswith(_LINES):
            return True
        line, _, after = self.head.strip(_BLANK).partition(b"\n")
        if not top.more or not after:
            return False
        try:
            loads(line)
        except ValueError:
            return False
        return True

    def cutter(self) -> Cutter:
        """A walk over the text from its beginning."""
        return Cutter(self.read, self.name)


def open_cutter(path: Path) -> tuple[Any, Cutter]:
    """A file to close, and a walk over its text."""
    stream = open_text(path)
    return stream, Cutter(stream.read, str(path))


def parsed(data: bytes, key: str | None, begin: int, name: str) -> Item:
    """The value with this text, which begins at a byte of the file of this name."""
    try:
        return Item(loads(data), key)
    except ValueError as error:
        where = f"bytes {begin:,} to {begin + len(data):,} of {name}"
        return Item(key=key, error=f"no JSON ({where}): {' '.join(str(error).split())[:200]}")


def line_items(read: Callable[[int], bytes], name: str) -> Iterator[Item]:
    """The values of JSON Lines; blank lines count for nothing."""
    rest, number = b"", 0
    while True:
        try:
            data = read(1 << 18)
        except (*compression.UNPACKING, UnicodeDecodeError) as error:
            message = f"{name} is damaged after line {number:,}: {error}"
            raise Damaged(message) from None
        if not data and not rest:
            return
        lines = (rest + data).split(b"\n")
        rest = lines.pop() if data else b""
        for line in lines:
            number += 1
            text = line.strip(_BLANK)
            if text:
                try:
                    yield Item(loads(text))
                except ValueError as error:
                    yield Item(error=f"line {number:,} of {name} is no JSON: {' '.join(str(error).split())[:200]}")
        if len(rest) > MAX_VALUE_BYTES:
            message = f"{name}: line {number + 1:,} has more than {MAX_VALUE_BYTES >> 20} MiB: expected one record a line"
            raise Damaged(message)


def array_items(cutter: Cutter) -> Iterator[Item]:
    """The elements of the array that was entered."""
    name = cutter.name
    while True:
        found = cutter.next_open()
        gap = cutter.gap.strip(b" \t\r\n,")
        if gap:
            yield from (Item(value) for value in _scalars(b"[" + gap + b"]", cutter))
        if not found:
            return
        begin = cutter.opened
        yield parsed(cutter.take(), None, begin, name)


def mapping_items(cutter: Cutter) -> Iterator[Item]:
    """The members of the object that was entered."""
    name = cutter.name
    while True:
        found = cutter.next_open()
        key, before = member(cutter, at_end=not found)
        for other, value in before:
            yield Item(value, other)
        if not found:
            return
        begin = cutter.opened
        yield parsed(cutter.take(), key, begin, name)


def member(cutter: Cutter, *, at_end: bool) -> tuple[str, list[tuple[str, Any]]]:
    """The name of the member that was found, and the members without brackets that lie before it.

    Raises:
        Damaged: The text before it is no JSON.
    """
    if not at_end:
        match = _KEY.fullmatch(cutter.gap)
        if match:
            return str(_scalars(match.group(1), cutter)), []
        pairs = _scalars(b"{" + cutter.gap.strip(_BLANK).removeprefix(b",") + b"null}", cutter)
        (*before, (key, _)) = pairs.items()
        return key, before
    gap = cutter.gap.strip(b" \t\r\n,")
    return "", list(_scalars(b"{" + gap + b"}", cutter).items()) if gap else []


def _scalars(text: bytes, cutter: Cutter) -> Any:  # noqa: ANN401
    try:
        return loads(text)
    except ValueError:
        shown = cutter.gap.strip(_BLANK)[:40].decode("utf-8", "replace")
        message = f"{cutter.name} is no JSON near byte {cutter.opened:,}: {shown!r} stands between two values"
        raise Damaged(message) from None
