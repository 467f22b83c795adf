"""Tar archives (.tar, or packed with gzip, bzip2 or xz) read once from the beginning to the end, nothing extracted.

Python's tarfile takes 80 microseconds a member and reads headers of any length into memory; here a member takes five, and
headers are bounded. Formats: POSIX ustar and pax, GNU, old V7 (https://www.gnu.org/software/tar/manual/html_node/Standard.html).
"""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING, Any

from cgfast.io.compression import UNPACKING, open_unpacked
from cgfast.io.entries import Entry, leads_out, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["TarEntry", "TarError", "looks_like", "members"]

_BLOCK = 512
_CHUNK = 1 << 20
_MAX_HEADER = 1 << 20  # bytes of a long name or of pax records
_MAX_SKIP = 64 << 30  # bytes of a member that are passed over on the way to the next
_REGULAR = b"\x000\x307"
_WHAT = {b"1": "a link", b"2": "a link", b"3": "a device", b"4": "a device", b"6": "a pipe", b"S": "a sparse file"}


class TarError(ValueError):
    """The archive cannot be read any further."""


def looks_like(head: bytes) -> bool:
    """Whether a file that begins like this (unpacked) is a tar of POSIX or GNU."""
    return head[257:262] == b"ustar" and _checksum_fits(head[:_BLOCK])


class TarEntry(Entry):
    """A member of a tar. It can be read once, before the next member is asked for."""

    def __init__(self, where: str, path: str, refusal: str, data: _Data) -> None:
        self.path = path
        self.refusal = refusal
        self._where = where
        self._data = data

    @property
    def name(self) -> str:
        """The tar's path and the member's."""
        return f"{self._where}/{self.path}"

    def _open(self) -> IO[bytes]:
        if self.refusal:
            raise OSError(self.refusal)
        return io.BufferedReader(self._data)

    def read(self, limit: int) -> bytes:
        """Its first ``limit`` unpacked bytes."""
        if self.refusal or self._data.left > limit:
            return super().read(limit)
        return unpack(self._data.take(), limit)


class _Data(io.RawIOBase):
    """The content of one member, from the stream that all of them are in."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        super().__init__()
        self.left = size
        self.damage = ""
        self._stream = stream

    def readable(self) -> bool:
        return True

    def take(self) -> bytes:
        """All that is left."""
        parts = []
        while self.left:
            parts.append(self._next(self.left))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - a writable buffer
        want = min(len(buffer), self.left)
        part = self._next(want) if want else b""
        buffer[: len(part)] = part
        return len(part)

    def _next(self, size: int) -> bytes:
        if self.damage:
            raise OSError(self.damage)
        try:
            part = self._stream.read(size)
        except UNPACKING as error:
            self.damage = str(error) or type(error).__name__
            raise OSError(self.damage) from None
        if not part:
            self.damage = "the archive ends early"
            raise OSError(self.damage)
        self.left -= len(part)
        return part


def members(path: Path) -> Iterator[TarEntry]:
    """The members in order, without folders. Links and devices are members that refuse to be read.

    Raises:
        TarError: The archive is damaged or ends early: what follows cannot be read.
    """
    with open_unpacked(path) as stream:
        # the next member's path and size from headers of their own
        name, size, refusal = "", -1, ""
        first = True
        while True:
            header = _read(stream, _BLOCK)
            if header is None or not header.strip(b"\0"):
                if header is None:
                    message = "it is empty" if first else "it ends without an end mark, so it may be cut short"
                    raise TarError(message)
                return
            if not _checksum_fits(header):
                message = "it is no tar" if first else "a header makes no sense"
                raise TarError(message)
            first = False
            kind, length = header[156:157], _number(header[124:136])
            if kind in b"xgLK":
                text = _long(stream, length)
                if kind == b"L":
                    name = _text(text.split(b"\0", 1)[0])
                elif kind == b"x":
                    name, size, refusal = _pax(text, name)
                continue
            name = name or _own_name(header)
            size = length if size < 0 else size
            has_data = kind in _REGULAR or kind not in b"123456"
            if kind == b"S":
                _skip_sparse_map(stream, header)
            data = _Data(stream, size if has_data else 0)
            if kind != b"5" and not name.endswith("/"):
                yield TarEntry(str(path), name, _refusal(kind, name, refusal), data)
            _finish(stream, data, -size % _BLOCK if has_data else 0)
            name, size, refusal = "", -1, ""


def _refusal(kind: bytes, name: str, refusal: str) -> str:
    if leads_out(name):
        return "its path leads out of the archive"
    if kind not in _REGULAR:
        return f"it is {_WHAT.get(kind, 'no regular file')}"
    return refusal


def _read(stream: IO[bytes], size: int) -> bytes | None:
    """Exactly so many bytes; None at the end of the file."""
    try:
        found = stream.read(size)
        while found and len(found) < size and (part := stream.read(size - len(found))):
            found += part
    except UNPACKING as error:
        raise TarError(str(error) or type(error).__name__) from None
    if found and len(found) < size:
        message = "it ends early"
        raise TarError(message)
    return found or None


def _finish(stream: IO[bytes], data: _Data, padding: int) -> None:
    """Pass over what is left of a member."""
    if data.damage:
        raise TarError(data.damage)
    left = data.left + padding
    if left > _MAX_SKIP:
        message = f"a member has {left >> 30} GiB that would have to be passed over"
        raise TarError(message)
    while left:
        part = _read(stream, min(left, _CHUNK))
        if part is None:
            message = "it ends early"
            raise TarError(message)
        left -= len(part)


def _long(stream: IO[bytes], size: int) -> bytes:
    if size > _MAX_HEADER:
        message = f"a header of {size} bytes: expected at most {_MAX_HEADER}"
        raise TarError(message)
    text = _read(stream, size + -size % _BLOCK) if size else b""
    if text is None:
        message = "it ends early"
        raise TarError(message)
    return text[:size]


def _skip_sparse_map(stream: IO[bytes], header: bytes) -> None:
    more = header[482]
    while more:
        block = _read(stream, _BLOCK)
        if block is None:
            message = "it ends early"
            raise TarError(message)
        more = block[504]


def _checksum_fits(header: bytes) -> bool:
    if len(header) < _BLOCK:
        return False
    try:
        written = int(header[148:156].strip(b" \0") or b"x", 8)
    except ValueError:
        return False
    blank = header[:148] + b" " * 8 + header[156:]
    total = sum(blank)
    # some add up signed bytes
    return written == total or written == total - 256 * sum(byte > 127 for byte in blank)


def _number(field: bytes) -> int:
    if field[0] & 0x80:
        value = int.from_bytes(field[1:], "big") if field[0] == 0x80 else -1
    else:
        try:
            value = int(field.strip(b" \0") or b"0", 8)
        except ValueError:
            value = -1
    if not 0 <= value < 2**62:
        message = "a size makes no sense"
        raise TarError(message)
    return value


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _own_name(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:263] == b"ustar\0" else b""
    return _text(prefix + b"/" + name if prefix else name)


def _pax(text: bytes, name: str) -> tuple[str, int, str]:
    """Path, size (-1: not said) and a reason to refuse, from pax records "LENGTH KEY=VALUE"."""
    size, refusal = -1, ""
    while text.strip(b"\0"):
        head, _, _ = text.partition(b" ")
        if not (head.isdigit() and len(head) < 8) or not len(head) + 3 < int(head) <= len(text):
            message = "a pax header makes no sense"
            raise TarError(message)
        key, _, value = text[len(head) + 1 : int(head) - 1].partition(b"=")
        text = text[int(head) :]
        if key == b"path":
            name = _text(value)
        elif key == b"size":
            if not value.isdigit() or len(value) > 18:
                message = "a size makes no sense"
                raise TarError(message)
            size = int(value)
        elif key.startswith(b"GNU.sparse"):
            refusal = "it is a sparse file"
            if key == b"GNU.sparse.name":
                name = _text(value)
    return name, size, refusal
