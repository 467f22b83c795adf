"""Reading values from an LMDB file, without the lmdb package: nothing is locked, mapped or written beside the file.

A mapped file that is damaged or cut short kills the process that reads it; here every page and length is checked. The
layout (data version 1, 64 bits, little-endian): https://github.com/LMDB/lmdb, libraries/liblmdb/mdb.c, "struct MDB_page",
"struct MDB_meta", "struct MDB_node". Only the main database without duplicate keys is read.
"""

from __future__ import annotations

import bisect
import struct
from collections import OrderedDict
from typing import IO, TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

__all__ = ["LmdbError", "LmdbFile", "looks_like"]

_MAGIC = 0xBEEFC0DE
_HEAD = 16  # bytes before what a page holds
_BRANCH, _LEAF, _OVERFLOW, _META = 1, 2, 4, 8
_BIG, _NOT_PLAIN = 1, 2 | 4  # flags of a node: the value lies on pages of its own; it is a database or a list
_MAX_DEPTH = 32
_CACHED = 512  # pages
_MAX_VALUE = 256 << 20  # bytes


class LmdbError(ValueError):
    """The file is not what it should be."""


class _Meta(NamedTuple):
    page_size: int
    entries: int
    root: int
    last_page: int
    transaction: int


class _Page(NamedTuple):
    data: bytes
    leaf: bool
    keys: list[bytes]
    nodes: tuple[int, ...]  # where they begin


def looks_like(head: bytes) -> bool:
    """Whether a file that begins like this is an LMDB file."""
    return len(head) > 24 and _meta_flags(head) & _META != 0 and struct.unpack_from("<I", head, _HEAD)[0] == _MAGIC


def _meta_flags(head: bytes) -> int:
    return int(struct.unpack_from("<H", head, 10)[0])


class LmdbFile:
    """An LMDB file that is open while it is entered.

    Raises:
        LmdbError: On opening: it is no such file, or shorter than it says.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None
        self._pages: OrderedDict[int, _Page] = OrderedDict()
        with self:
            self._meta = self._newest_meta()
            size = path.stat().st_size
        if size < (self._meta.last_page + 1) * self._meta.page_size:
            message = (
                f"the file has {size} bytes: expected {(self._meta.last_page + 1) * self._meta.page_size}, so it is cut short"
            )
            raise LmdbError(message)
        self.n_entries = self._meta.entries
        """Keys in the file, by what it says."""

    def __enter__(self) -> Self:
        self._file = self.path.open("rb", buffering=0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._pages.clear()

    def get(self, key: bytes) -> bytes | None:
        """The value of a key; None if it is not there.

        Raises:
            LmdbError: A page on the way to it makes no sense.
        """
        number = self._meta.root
        if number == 2**64 - 1:  # an empty tree
            return None
        for _ in range(_MAX_DEPTH):
            page = self._page(number)
            if page.leaf:
                k = bisect.bisect_left(page.keys, key)
                return self._value(page, page.nodes[k]) if k < len(page.keys) and page.keys[k] == key else None
            # the first key of a branch stands for everything below the second
            k = bisect.bisect_right(page.keys, key, 1) - 1
            low, high, flags = struct.unpack_from("<HHH", page.data, page.nodes[k])
            number = low | high << 16 | flags << 32
        message = "the tree of keys has no end"
        raise LmdbError(message)

    def _read(self, at: int, size: int) -> bytes:
        if self._file is None:
            message = "the file is not open"
            raise LmdbError(message)
        self._file.seek(at)
        parts = []
        while size > 0 and (part := self._file.read(size)):
            parts.append(part)
            size -= len(part)
        if size > 0:
            message = "the file ends early"
            raise LmdbError(message)
        return b"".join(parts)

    def _newest_meta(self) -> _Meta:
        first = _meta(self._read(0, 4096))
        size = first.page_size
        try:
            second = _meta(self._read(size, 4096))
        except LmdbError:
            return first
        return max(first, second, key=lambda meta: meta.transaction)

    def _page(self, number: int) -> _Page:
        page = self._pages.get(number)
        if page is not None:
            self._pages.move_to_end(number)
            return page
        if not 1 < number <= self._meta.last_page:
            message = f"page {number} is outside the file"
            raise LmdbError(message)
        page = _parse(self._read(number * self._meta.page_size, self._meta.page_size), number)
        self._pages[number] = page
        if len(self._pages) > _CACHED:
            self._pages.popitem(last=False)
        return page

    def _value(self, page: _Page, at: int) -> bytes:
        low, high, flags, key_size = struct.unpack_from("<HHHH", page.data, at)
        size, begin = low | high << 16, at + 8 + key_size
        if flags & _NOT_PLAIN:
            message = "the key holds a database or a list of values"
            raise LmdbError(message)
        if not flags & _BIG:
            value = page.data[begin : begin + size]
        else:
            if len(page.data) < begin + 8 or size > _MAX_VALUE:
                message = f"a value of {size} bytes"
                raise LmdbError(message)
            (number,) = struct.unpack_from("<Q", page.data, begin)
            if not 1 < number <= self._meta.last_page:
                message = f"page {number} is outside the file"
                raise LmdbError(message)
            whole = self._read(number * self._meta.page_size, _HEAD + size)
            if not _meta_flags(whole) & _OVERFLOW:
                message = f"page {number} holds no value"
                raise LmdbError(message)
            value = whole[_HEAD:]
        if len(value) != size:
            message = "a value reaches beyond its page"
            raise LmdbError(message)
        return value


def _meta(page: bytes) -> _Meta:
    if not looks_like(page):
        message = "the file is no LMDB file"
        raise LmdbError(message)
    (version,) = struct.unpack_from("<I", page, _HEAD + 4)
    if version != 1:
        message = f"the file is of data version {version} of LMDB: expected 1"
        raise LmdbError(message)
    (page_size,) = struct.unpack_from("<I", page, _HEAD + 24)
    if not 512 <= page_size <= 65536 or page_size & (page_size - 1):
        message = f"the file says that its pages have {page_size} bytes"
        raise LmdbError(message)
    # the main database's record follows that of free pages, 48 bytes each
    entries, root = struct.unpack_from("<QQ", page, _HEAD + 24 + 48 + 32)
    last, transaction = struct.unpack_from("<QQ", page, _HEAD + 24 + 96)
    return _Meta(page_size, entries, root, last, transaction)


def _parse(data: bytes, number: int) -> _Page:
    flags, lower = struct.unpack_from("<HH", data, 10)
    kind = flags & (_BRANCH | _LEAF | _OVERFLOW | _META)
    n = (lower - _HEAD) // 2
    if kind not in {_BRANCH, _LEAF} or not 0 <= n <= (len(data) - _HEAD) // 2 or (kind == _BRANCH and n < 1):
        message = f"page {number} is no page of keys"
        raise LmdbError(message)
    nodes = struct.unpack_from(f"<{n}H", data, _HEAD)
    keys = []
    for at in nodes:
        if not _HEAD <= at <= len(data) - 8:
            message = f"page {number} makes no sense"
            raise LmdbError(message)
        (size,) = struct.unpack_from("<H", data, at + 6)
        keys.append(data[at + 8 : at + 8 + size])
    return _Page(data, kind == _LEAF, keys, nodes)
