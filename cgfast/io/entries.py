"""One structure file, wherever it lies: on disk, in a zip, in a tar. What gzip, bzip2 or xz packed is unpacked."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import zipfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Self, cast

from cgfast.io.compression import UNPACKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

__all__ = ["Archive", "Entry", "FileEntry", "ZipEntry", "leads_out", "unpack"]

PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
# What reading may raise where the content is damaged, encrypted or packed in a way that Python does not know.
_UNREADABLE = (*UNPACKING, zipfile.BadZipFile, RuntimeError, NotImplementedError, KeyError, ValueError)


class Entry:
    """A file that may be read later."""

    @property
    def name(self) -> str:
        """Where it lies, for messages."""
        raise NotImplementedError

    def _open(self) -> IO[bytes]:
        """Its content as it is, as a buffered stream."""
        raise NotImplementedError

    @contextmanager
    def reading(self) -> Iterator[Callable[[int], bytes]]:
        """A function that gives the next so many unpacked bytes, fewer only at the end, as long as the context lasts.

        Raises:
            OSError: It cannot be opened; or, from the function, it is damaged.
        """
        with ExitStack() as stack:
            try:
                raw = stack.enter_context(self._open())
                stream = stack.enter_context(_unpacked(raw))
            except _UNREADABLE as error:
                raise _os_error(error) from None

            def read(size: int) -> bytes:
                try:
                    return stream.read(size)
                except _UNREADABLE as error:
                    raise _os_error(error) from None

            yield read

    def read(self, limit: int) -> bytes:
        """Its first ``limit`` unpacked bytes.

        Raises:
            OSError: It cannot be read.
        """
        with self.reading() as read:
            return read(limit)


def _os_error(error: BaseException) -> OSError:
    return error if isinstance(error, OSError) else OSError(str(error) or type(error).__name__)


def unpack(data: bytes, limit: int) -> bytes:
    """The first ``limit`` unpacked bytes of content that may be packed.

    Raises:
        OSError: It is damaged.
    """
    if not data.startswith(PACKED):
        return data[:limit]
    try:
        with _unpacked(io.BufferedReader(io.BytesIO(data))) as stream:
            return stream.read(limit)
    except _UNREADABLE as error:
        raise _os_error(error) from None


def _unpacked(raw: Any) -> IO[bytes]:  # noqa: ANN401 - a stream with peek()
    start = raw.peek(6)[:6]
    if start.startswith(PACKED[0]):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw, mode="rb"))
    if start.startswith(PACKED[1]):
        return cast("IO[bytes]", bz2.BZ2File(raw, "rb"))
    if start == PACKED[2]:
        return cast("IO[bytes]", lzma.LZMAFile(raw, "rb"))
    return cast("IO[bytes]", raw)


@dataclass(frozen=True)
class FileEntry(Entry):
    """A file on disk."""

    path: Path

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)

    def _open(self) -> IO[bytes]:
        if not self.path.is_file():  # a pipe or device would block
            message = "it is no regular file"
            raise OSError(message)
        return self.path.open("rb")

    def read(self, limit: int) -> bytes:
        """Its first ``limit`` unpacked bytes."""
        with self._open() as file:
            # asked for more than there is, Python would first set aside as much memory
            size = os.fstat(file.fileno()).st_size
            data = file.read(min(size + 1, limit) if size else limit)
        return super().read(limit) if data.startswith(PACKED) else data


class Archive:
    """A zip that is open while it is entered."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip: zipfile.ZipFile | None = None

    def __enter__(self) -> Self:
        self._zip = zipfile.ZipFile(self.path)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._zip is not None:
            self._zip.close()
            self._zip = None

    def members(self) -> list[ZipEntry]:
        """What is in it, without folders, sorted by name.

        Raises:
            ValueError: The file is no zip.
        """
        try:
            with zipfile.ZipFile(self.path) as file:
                found = [one for one in file.infolist() if not one.is_dir()]
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            message = f"{self.path} cannot be read as a zip: {error}"
            raise ValueError(message) from None
        return [ZipEntry(self, one) for one in sorted(found, key=lambda one: one.filename)]

    def open(self, member: zipfile.ZipInfo) -> IO[bytes]:
        """A member's content; nothing is written to disk."""
        if self._zip is None:
            message = "the zip is not open"
            raise OSError(message)
        return self._zip.open(member)


@dataclass(frozen=True)
class ZipEntry(Entry):
    """A member of a zip. Two members may share a name."""

    archive: Archive
    info: zipfile.ZipInfo

    @property
    def name(self) -> str:
        """The zip's path and the member's."""
        return f"{self.archive.path}/{self.info.filename}"

    def _open(self) -> IO[bytes]:
        if leads_out(self.info.filename):
            message = "its path leads out of the archive"
            raise OSError(message)
        if stat.S_ISLNK(self.info.external_attr >> 16):
            message = "it is a link"
            raise OSError(message)
        return self.archive.open(self.info)


def leads_out(name: str) -> bool:
    """Whether a member's path is absolute or leads up: nothing is extracted, but such an archive is not to be trusted."""
    parts = name.replace("\\", "/").split("/")
    return not parts[0] or ".." in parts or "\0" in name or parts[0].endswith(":")
