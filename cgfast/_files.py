"""Files that appear whole or not at all, and locks that die with their process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

_ATTEMPTS = 1000  # each time another process must finish in the very moment that we begin
_held: weakref.WeakSet[FileLock] = weakref.WeakSet()


def write_text(path: Path, text: str) -> Path:
    """Write `text` by atomic rename. Raises ValueError if that is impossible."""
    partial = path.with_name(path.name + ".part")
    try:
        try:
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror or error}"
        raise ValueError(msg) from error
    return path


def check_outputs(outputs: Mapping[str, tuple[Path | None, tuple[str, ...]]], inputs: Sequence[str]) -> None:
    """Raise ValueError, before any work is done, for files that cannot be what they are meant to be.

    outputs: option -> file (None: not asked for) and the endings that it may have. Refused are other endings, folders, a folder
    above that is not there or cannot be written, one file for two options, and a file among the inputs.
    """
    seen: dict[Path, str] = {}
    for option, (path, suffixes) in outputs.items():
        if path is None:
            continue
        if path.suffix.lower() not in suffixes:
            msg = f"{option}: {path} ends in {path.suffix or 'nothing'!r}, expected {' or '.join(suffixes)}"
            raise ValueError(msg)
        if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
            reason = "is a folder" if path.is_dir() else f"cannot be written: no such folder, or no permission: {path.parent}"
            msg = f"{option}: {path} {reason}"
            raise ValueError(msg)
        place = path.resolve()
        for source in (Path(name).resolve() for name in inputs):
            if place == source or (source.is_dir() and place.exists() and source in place.parents):
                msg = f"{option}: {path} is among the inputs, and would be overwritten"
                raise ValueError(msg)
        if place in seen:
            msg = f"{option}: {path} is already the file of {seen[place]}"
            raise ValueError(msg)
        seen[place] = option


class FileLock:
    """A folder, made if it is not there, that one process at a time works in: `flock` on the file `name` in it.

    The kernel lets go of the lock when the process ends, however it ends: a SIGKILL leaves files behind, never a lock. It is
    taken when the object is made, and let go of by release() or at the end of a `with` block.

    Raises ValueError: `busy`, a sentence, when another process has the lock; also when the folder cannot be made or written,
    or its file system has no locks.
    """

    def __init__(self, folder: Path, name: str, *, busy: str) -> None:
        self._descriptor = _acquire(folder, name, busy)
        _held.add(self)

    @property
    def held(self) -> bool:
        """Whether this process still has the lock."""
        return self._descriptor >= 0

    def release(self) -> None:
        """Let go of the lock as far as this process is concerned; the file stays. Safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        _held.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.release()


def _acquire(folder: Path, name: str, busy: str) -> int:
    """An open descriptor of the file, locked."""
    place = folder / name
    for _ in range(_ATTEMPTS):
        where = folder.parent
        try:
            folder.mkdir(exist_ok=True)
            where = folder
            # A process that finishes may remove the folder between these two calls.
            with contextlib.suppress(FileNotFoundError):
                descriptor = os.open(place, os.O_RDWR | os.O_CREAT, 0o644)
                if _lock(descriptor, place, busy):
                    return descriptor
        except OSError as error:  # "no such file" included: the folder is there, but takes no new names (/proc)
            msg = f"out: cannot write in the folder {where} ({error.strerror})"
            raise ValueError(msg) from error
    msg = f"out: {folder} keeps vanishing, so it cannot be locked"
    raise ValueError(msg)


def _lock(descriptor: int, place: Path, busy: str) -> bool:
    """Lock the open file; False if it is not the one at `place` any more (another process may have finished and removed it)."""
    taken = False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        taken = os.path.samestat(os.fstat(descriptor), place.stat())
    except BlockingIOError as error:
        raise ValueError(busy) from error
    except FileNotFoundError:
        taken = False
    except OSError as error:
        msg = f"out: the file system of {place.parent.parent} offers no file locks ({error.strerror})"
        raise ValueError(msg) from error
    finally:
        if not taken:
            os.close(descriptor)
    return taken


def _forget_locks_in_child() -> None:
    # A forked worker shares the lock with its parent and would keep it should the parent be killed.
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_forget_locks_in_child)
