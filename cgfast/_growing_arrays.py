"""Arrays of unknown length: in memory while they are small, in memory-mapped files when they are not."""

from __future__ import annotations

import os
import tempfile
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


class GrowingArrays:
    """Arrays that grow at their ends: in memory up to a limit, or in files from then on; a context that closes them.

    A file in a folder gets its name when all is written. Without a folder it never has one.
    """

    def __init__(self, columns: Mapping[str, np.dtype[Any]], folder: str | os.PathLike[str] | None, limit: float) -> None:
        self._columns = columns
        self._folder = None if folder is None else Path(folder)
        self._limit = -1 if folder is not None else limit
        self._pieces: dict[str, deque[NDArray[Any]]] = {name: deque() for name in columns}
        self._lengths = dict.fromkeys(columns, 0)
        self._files: dict[str, IO[bytes]] = {}
        self._parts: dict[str, Path] = {}
        self._clean_up = ExitStack()

    def __enter__(self) -> Self:
        self._spill()
        return self

    def __exit__(self, *error: object) -> None:
        self._clean_up.close()

    def append(self, part: Mapping[str, NDArray[Any]]) -> None:
        """Add a piece to the end of every array."""
        for name, dtype in self._columns.items():
            piece = np.ascontiguousarray(part[name], dtype)
            self._pieces[name].append(piece)
            self._lengths[name] += len(piece)
        self._spill()

    def finish(self) -> dict[str, NDArray[Any]]:
        """The whole arrays, read-only where they are files; nothing may be appended after it."""
        return {name: self._map(name) if self._files else self._join(name) for name in self._columns}

    def _spill(self) -> None:
        """Move what is in memory to the files, if there are any or it became too much."""
        if not self._files:
            if sum(self._lengths[name] * dtype.itemsize for name, dtype in self._columns.items()) <= self._limit:
                return
            for name in self._columns:
                self._files[name] = self._open(name)
                self._write_header(name)
        for name, pieces in self._pieces.items():
            while pieces:
                self._files[name].write(pieces.popleft().data)

    def _open(self, name: str) -> IO[bytes]:
        if self._folder is None:
            return self._clean_up.enter_context(tempfile.TemporaryFile())
        self._folder.mkdir(parents=True, exist_ok=True)
        # A name of its own, so that another process may build the same store beside this one.
        handle, part = tempfile.mkstemp(prefix=f"{name}.npy.", suffix=".part", dir=self._folder)
        self._parts[name] = Path(part)
        self._clean_up.callback(self._parts[name].unlink, missing_ok=True)
        return self._clean_up.enter_context(os.fdopen(handle, "w+b"))

    def _write_header(self, name: str) -> int:
        """Write the .npy header, which has the same length for every number of elements; where the data begin."""
        file = self._files[name]
        file.seek(0)
        descr = np.lib.format.dtype_to_descr(self._columns[name])
        shape = (self._lengths[name],)
        np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
        return file.tell()

    def _map(self, name: str) -> NDArray[Any]:
        offset = self._write_header(name)
        file = self._files[name]
        file.flush()
        array = np.memmap(file, self._columns[name], "r", offset, (self._lengths[name],))
        if self._folder is not None:
            self._parts[name].replace(self._folder / f"{name}.npy")
        return array

    def _join(self, name: str) -> NDArray[Any]:
        """All pieces in one array, each freed when it is copied."""
        whole = np.empty(self._lengths[name], self._columns[name])
        begin = 0
        while self._pieces[name]:
            piece = self._pieces[name].popleft()
            whole[begin : begin + len(piece)] = piece
            begin += len(piece)
        return whole
