"""One running job per output: a lock that dies with its process.

The lock is `flock` on a file in the output's parts directory, so the kernel lets go of it when the process
ends, however it ends: a SIGKILL leaves files behind, never a lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_LOCK_NAME = "lock"
_ATTEMPTS = 1000  # each time another run must finish in the very moment that we begin
_held: weakref.WeakSet[PartsDirectory] = weakref.WeakSet()


def _forget_locks_in_child() -> None:
    # A forked worker shares the lock with its parent and would keep it should the parent be killed.
    for parts in list(_held):
        parts.drop_descriptor()


os.register_at_fork(after_in_child=_forget_locks_in_child)


def _is_current(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one at `path` (another run may have finished and removed it)."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)


class PartsDirectory:
    """The locked directory `.<name>.parts/` beside an output, which holds its parts until they are done.

    Opening makes the directory, takes the lock and throws away what a killed run left there. Raises
    ValueError when another running process has the lock, or when the directory cannot be made.
    """

    def __init__(self, out: Path) -> None:
        self.path = out.with_name(f".{out.name}.parts")
        self._descriptor = self._acquire(out)
        _held.add(self)
        self._clear()

    def _acquire(self, out: Path) -> int:
        lock = self.path / _LOCK_NAME
        for _ in range(_ATTEMPTS):
            try:
                self.path.mkdir(exist_ok=True)
            except OSError as error:  # "no such file" included: the folder is there, but takes no new names (/proc)
                msg = f"out: cannot write in the folder {out.parent} ({error.strerror})"
                raise ValueError(msg) from error
            try:
                descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
            except FileNotFoundError:
                continue  # a finishing run removed the directory between our two calls
            except OSError as error:
                msg = f"out: cannot write in the folder {out.parent} ({error.strerror})"
                raise ValueError(msg) from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(descriptor)
                msg = f"out: {out} is being written by another running process"
                raise ValueError(msg) from error
            except OSError as error:
                os.close(descriptor)
                msg = f"out: the file system of {out.parent} offers no file locks ({error.strerror})"
                raise ValueError(msg) from error
            if _is_current(descriptor, lock):
                return descriptor
            os.close(descriptor)
        msg = f"out: {self.path} keeps vanishing, so {out} cannot be locked"
        raise ValueError(msg)

    def _clear(self) -> None:
        for entry in self.path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != _LOCK_NAME:
                entry.unlink()

    def drop_descriptor(self) -> None:
        """Let go of the lock as far as this process is concerned; the files stay."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def remove(self) -> None:
        """Remove the directory with all it holds, then let go of the lock. Safe to call twice."""
        if self._descriptor < 0:
            return
        self._clear()
        (self.path / _LOCK_NAME).unlink(missing_ok=True)
        # Another run may have taken the directory over in this moment: then it is no longer ours to remove.
        with contextlib.suppress(OSError):
            self.path.rmdir()
        self.drop_descriptor()
        _held.discard(self)
