"""Files as they are or packed with gzip, bzip2 or xz: told by content, read as a stream."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from typing import IO, TYPE_CHECKING, cast

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SUFFIXES", "UNPACKING", "head", "open_unpacked", "without_suffix"]

SUFFIXES = (".gz", ".bz2", ".xz")
UNPACKING = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""What reading a damaged or truncated file may raise."""


def without_suffix(name: str) -> str:
    """A file name without the suffix of a packer: "a.json.gz" -> "a.json"."""
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def open_unpacked(path: Path) -> IO[bytes]:
    """The content of a file, unpacked, as a stream of bytes.

    Raises:
        ValueError: The file cannot be opened.
    """
    try:
        if not path.is_file():  # a pipe or device would block
            message = f"{path} is no regular file"
            raise ValueError(message)
        with path.open("rb") as file:
            start = file.read(6)
        if start.startswith(b"\x1f\x8b"):
            return cast("IO[bytes]", gzip.open(path, "rb"))
        if start.startswith(b"BZh"):
            return cast("IO[bytes]", bz2.open(path, "rb"))
        if start == b"\xfd7zXZ\x00":
            return cast("IO[bytes]", lzma.open(path, "rb"))
        return path.open("rb")
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror or error}"
        raise ValueError(message) from None


def head(path: Path, size: int) -> bytes:
    """The first ``size`` bytes of the content, fewer where unpacking fails early.

    Raises:
        ValueError: The file cannot be opened.
    """
    with open_unpacked(path) as file:
        found = b""
        try:
            while len(found) < size and (part := file.read(size - len(found))):
                found += part
        except UNPACKING:
            pass  # whoever reads all of it will say so
        return found
