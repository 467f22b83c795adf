"""JSON texts of any size, cut into the values of their containers without parsing them.

Brackets outside strings are found a chunk at a time with NumPy; a value goes to a parser alone. So memory holds one value
and one chunk, and a value that is no JSON harms no other.
"""

from __future__ import annotations

import codecs
import json
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np

from cgfast.io import compression

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["MAX_VALUE_BYTES", "Cutter", "Damaged", "loads", "open_text"]

MAX_VALUE_BYTES = 256 << 20  # a larger record is none: its brackets do not match
_CHUNK = 1 << 18
_STEPS = {"{": 1, "[": 1, "}": -1, "]": -1, '"': 2, "\\": 3}
# bytes.translate is several times as fast as indexing a NumPy table
_KINDS = bytes(_STEPS.get(chr(k), 0) & 0xFF for k in range(256))
_OF_INTEREST = bytes(int(chr(k) in _STEPS) for k in range(256))
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, ""),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as UTF-16's does
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Damaged(ValueError):  # noqa: N818 - what the text is
    """A text whose values cannot be told apart from some position on."""


def _fastest() -> Callable[[bytes], Any]:
    try:
        import orjson
    except ImportError:
        return json.loads
    else:
        loads_: Callable[[bytes], Any] = orjson.loads
        return loads_


_first_choice: list[Callable[[bytes], Any]] = []


def loads(data: bytes) -> Any:  # noqa: ANN401 - any JSON
    """Parse a JSON text; ``NaN`` and ``Infinity`` are numbers.

    Raises:
        ValueError: It is no JSON, is no UTF-8, or is nested too deeply.
    """
    if not _first_choice:
        _first_choice.append(_fastest())
    try:
        return _first_choice[0](data)
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(data)  # orjson knows neither NaN nor lone surrogates
    except RecursionError:
        message = "nested too deeply"
        raise ValueError(message) from None


class _Recoder:
    """A stream of UTF-16 or UTF-32 as UTF-8."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)()

    def read(self, size: int) -> bytes:
        while True:
            data = self._stream.read(size)
            text = self._decoder.decode(data, final=not data)
            if text or not data:
                return text.encode("utf-8", "surrogatepass")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.close()


def open_text(path: Path) -> Any:  # noqa: ANN401 - something with read() and close()
    """The unpacked content of a file as UTF-8 without a byte-order mark.

    Raises:
        ValueError: The file cannot be opened.
    """
    start = compression.head(path, 4)
    stream = compression.open_unpacked(path)
    for mark, encoding in _BYTE_ORDER_MARKS:
        if start.startswith(mark):
            if encoding:
                return _Recoder(stream, encoding)
            stream.read(len(mark))
            break
    return stream


class Cutter:
    """A walk over the containers of a JSON text.

    `next_open` finds the next value of the present container, then `take` gives its text or `enter` makes it the present one.

    The text itself counts as a container (level 0). Scalars among the values are in ``gap``, the text between.
    """

    def __init__(self, read: Callable[[int], bytes], name: str, chunk: int = _CHUNK) -> None:
        self._read = read
        self.name = name
        self._chunk = chunk
        self._buffer = bytearray()
        self._base = 0  # position in the text of the buffer's first byte
        self._position = 0  # up to here everything is dealt with
        self._depth = 0  # at the end of the buffer
        self._in_string = False
        self._escaped = False  # the next byte stands behind a backslash
        self._level = 0
        self._places: NDArray[np.int64] = np.empty(0, np.int64)  # brackets of the last chunk
        self._depths: NDArray[np.int32] = np.empty(0, np.int32)  # after each of them
        self._marks: Iterator[tuple[int, int]] = iter(())
        self._depth_at_start = 0
        self.opened = -1
        """Byte of the unpacked text where the value that was found begins, or the container ends."""
        self.gap = b""
        """The text between the last value and the one that was found, or the container's end."""

    def next_open(self) -> int:
        """Find the next value in brackets of the present container: its first byte, or 0 at the container's end."""
        place, depth = self._next_mark()
        if place < 0:
            self.gap = self._text(self._position, self._base + len(self._buffer))
            if self._level:
                message = f"{self.name} ends in the middle (byte {self._base + len(self._buffer):,}): is it cut short?"
                raise Damaged(message)
            self._position = self._base + len(self._buffer)
            return 0
        self.gap = self._text(self._position, place)
        self.opened = place
        if depth <= self._level:  # the container closes
            return 0
        return self._buffer[place - self._base]

    def take(self) -> bytes:
        """The text of the value that was found."""
        place, depth = self._next_mark()
        if place < 0:
            message = f"{self.name} ends in the middle of the value that begins at byte {self.opened:,}: is it cut short?"
            raise Damaged(message)
        if depth != self._level:
            message = f"{self.name}: the brackets do not match at byte {place:,}"
            raise Damaged(message)
        self._position = place + 1
        return self._text(self.opened, place + 1)

    def enter(self) -> None:
        """Make the value that was found the present container."""
        self._position = self.opened + 1
        self._level += 1
        self._mark()

    def leave(self) -> None:
        """Go back to the container of the present one, at whose end the walk is."""
        self._position = self.opened + 1
        self._level -= 1
        self._mark()

    def _text(self, start: int, stop: int) -> bytes:
        return bytes(self._buffer[start - self._base : stop - self._base])

    def _next_mark(self) -> tuple[int, int]:
        """The next bracket that begins or ends a value of this level, or ends the level; place -1 at the end of the text."""
        while True:
            mark = next(self._marks, None)
            if mark is not None:
                if mark[1] < 0:
                    message = f"{self.name}: the bracket at byte {mark[0]:,} closes none"
                    raise Damaged(message)
                return mark
            if not self._fill():
                return -1, 0

    def _mark(self) -> None:
        """Choose the brackets of this level that lie ahead in the chunk."""
        ahead = int(np.searchsorted(self._places, self._position))
        depths = self._depths[ahead:]
        before = np.empty_like(depths)
        before[1:] = depths[:-1]
        if len(depths):
            before[0] = self._depths[ahead - 1] if ahead else self._depth_at_start
        low = np.minimum(depths, before)
        chosen = np.flatnonzero((low == self._level) | (depths < self._level)) + ahead
        self._marks = iter(list(zip(self._places[chosen].tolist(), self._depths[chosen].tolist(), strict=True)))

    def _fill(self) -> bool:
        """Read a chunk and find its brackets; whether there was one."""
        done = max(self.opened, self._position) - self._base
        if done > 0:
            del self._buffer[:done]
            self._base += done
        if len(self._buffer) > MAX_VALUE_BYTES:
            message = (
                f"{self.name}: the value at byte {self._base:,} has over {MAX_VALUE_BYTES >> 20} MiB: do its brackets match?"
            )
            raise Damaged(message)
        try:
            data = self._read(self._chunk)
        except compression.UNPACKING as error:
            message = f"{self.name} is damaged near byte {self._base + len(self._buffer):,}: {error}"
            raise Damaged(message) from None
        except UnicodeDecodeError as error:
            message = f"{self.name} is no {error.encoding} text near byte {self._base + len(self._buffer):,}"
            raise Damaged(message) from None
        if not data:
            return False
        start = self._base + len(self._buffer)
        self._buffer += data
        self._depth_at_start = self._depth
        places, steps = self._brackets(data)
        self._places = places + start
        self._depths = np.cumsum(steps, dtype=np.int32) + np.int32(self._depth)
        if len(steps):
            self._depth = int(self._depths[-1])
        self._mark()
        return True

    def _brackets(self, data: bytes) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
        """Places of the brackets outside strings, and +1 or -1 for each."""
        places = np.flatnonzero(np.frombuffer(data.translate(_OF_INTEREST), np.bool_))
        kinds = np.frombuffer(data.translate(_KINDS), np.int8)[places]
        if self._escaped or (kinds == 3).any():
            places, kinds = self._unescaped(places, kinds, len(data))
        quotes = kinds == 2
        outside = (np.cumsum(quotes, dtype=np.int32) & 1) == self._in_string
        if len(outside):
            self._in_string = not outside[-1]
        free = np.flatnonzero(outside & ~quotes)
        return places[free], kinds[free]

    def _unescaped(
        self, places: NDArray[np.int64], kinds: NDArray[np.int8], n: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
        """Without backslashes and what they escape."""
        slashes = places[kinds == 3]
        if self._escaped and len(slashes) and slashes[0] == 0:
            slashes = slashes[1:]  # escaped itself: it escapes nothing
        # of a run of backslashes the first escapes the second, the third the fourth
        begins = np.ones(len(slashes), dtype=bool)
        begins[1:] = np.diff(slashes) != 1
        index = np.arange(len(slashes))
        in_run = index - index[begins][np.cumsum(begins) - 1] if len(slashes) else index
        escaped = slashes[in_run % 2 == 0] + 1
        if self._escaped:
            escaped = np.concatenate([[0], escaped])
        self._escaped = bool(len(escaped) and escaped[-1] == n)
        kept = (kinds != 3) & ~np.isin(places, escaped)
        return places[kept], kinds[kept]
