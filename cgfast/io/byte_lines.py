"""Lines of a stream whose lengths nobody vouches for: memory is bounded whatever comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgfast.io.compression import UNPACKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ByteLines"]

_BLOCK = 1 << 20
_MAX_BYTES = 64 << 20  # between two marks
_KEPT = 4096  # lines that need not be removed at once


class ByteLines:
    """Lines without their ends, read in blocks. What was taken since the last `mark` can be taken again.

    ``damage`` says why the stream ends early, "" if it does not.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self.damage = ""
        self._read = read
        self._lines: list[bytes] = []
        self._at = 0  # the next line
        self._mark = 0
        self._rest = b""  # of a block, after its last line end
        self._bytes = 0  # read since the mark
        self._ended = False

    def mark(self) -> None:
        """Forget all lines before the next one."""
        if self._at > _KEPT:
            del self._lines[: self._at]
            self._at = 0
        self._mark = self._at
        self._bytes = 0

    def rewind(self, lines: int) -> None:
        """Go to the line so many lines after the mark."""
        self._at = min(self._mark + lines, len(self._lines))

    def take(self, n: int) -> list[bytes]:
        """The next n lines, fewer at the end."""
        while len(self._lines) - self._at < n and self._fill():
            pass
        taken = self._lines[self._at : self._at + n]
        self._at += len(taken)
        return taken

    def peek(self, n: int = 1) -> list[bytes]:
        """The next n lines, which stay the next ones."""
        taken = self.take(n)
        self._at -= len(taken)
        return taken

    def skip_blank(self) -> bool:
        """Go to the next line that is not blank; False if there is none."""
        while True:
            while self._at == len(self._lines):
                if not self._fill():
                    return False
            if self._lines[self._at].strip():
                return True
            self._at += 1
            if self._at > self._mark + _KEPT:
                self.mark()

    def _fill(self) -> bool:
        """Read on; False at the end."""
        if self._ended:
            return False
        try:
            block = self._read(_BLOCK)
        except UNPACKING as error:
            block = b""
            self.damage = str(error) or type(error).__name__
        self._bytes += len(block)
        if self._bytes > _MAX_BYTES:
            block = b""
            self.damage = f"more than {_MAX_BYTES >> 20} MiB for one structure"
        if not block:
            self._ended = True
            last, self._rest = self._rest, b""
            if last and not self.damage:
                self._lines.append(last)
            return bool(last) and not self.damage
        lines = (self._rest + block).split(b"\n") if self._rest else block.split(b"\n")
        self._rest = lines.pop()
        self._lines += lines
        return True
