"""One running job per output: the directory of its parts, locked while the job lives."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

from cgfast._files import FileLock

if TYPE_CHECKING:
    from pathlib import Path

_LOCK_NAME = "lock"


class PartsDirectory:
    """The locked directory `.<name>.parts/` beside an output, which holds its parts until they are done.

    Opening makes the directory, takes the lock and throws away what a killed run left there. Raises
    ValueError when another running process has the lock, or when the directory cannot be made.
    """

    def __init__(self, out: Path) -> None:
        self.path = out.with_name(f".{out.name}.parts")
        self._lock = FileLock(self.path, _LOCK_NAME, busy=f"out: {out} is being written by another running process")
        self._clear()

    def _clear(self) -> None:
        for entry in self.path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != _LOCK_NAME:
                entry.unlink()

    def remove(self) -> None:
        """Remove the directory with all it holds, then let go of the lock. Safe to call twice."""
        if not self._lock.held:
            return
        self._clear()
        (self.path / _LOCK_NAME).unlink(missing_ok=True)
        # Another run may have taken the directory over in this moment: then it is no longer ours to remove.
        with contextlib.suppress(OSError):
            self.path.rmdir()
        self._lock.release()
