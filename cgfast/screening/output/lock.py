"""One running job per output: the directory of its parts, locked while the job lives."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

from cgfast._files import FileLock
from cgfast.screening.output.manifest import MANIFEST
from cgfast.screening.output.parts import PATTERN, rows_of_name

if TYPE_CHECKING:
    from pathlib import Path

_LOCK_NAME = "lock"


class PartsDirectory:
    """The locked directory `.<name>.parts/` beside an output, which holds its parts until they are done.

    Opening makes the directory and takes the lock. What a killed job left there is thrown away; only with `keep` finished rows
    of an interrupted run stay (see `has_parts`). Raises ValueError when another running process has the lock, when the
    directory cannot be made, or when there are finished rows and not `keep`.
    """

    def __init__(self, out: Path, *, keep: bool = False) -> None:
        self.path = out.with_name(f".{out.name}.parts")
        self._out = out
        self._lock = FileLock(self.path, _LOCK_NAME, busy=f"out: {out} is being written by another running process")
        if keep:
            return
        if self.has_parts:
            self.release()
            raise ValueError(self.unfinished(resumable=False))
        self.clear()

    @property
    def has_parts(self) -> bool:
        """Whether there are finished parts of an interrupted run; a run that is complete removes its manifest first."""
        return (self.path / MANIFEST).is_file() and any(self.path.glob(PATTERN))

    def finished_rows(self) -> int:
        """Rows of input that an interrupted run has done, as the names of its parts say."""
        rows, end = 0, 0
        for path in sorted(self.path.glob(PATTERN)):
            with contextlib.suppress(ValueError):
                first, stop = rows_of_name(path)
                if first >= end:
                    rows, end = rows + stop - first, stop
        return rows

    def unfinished(self, *, resumable: bool = True) -> str:
        """The sentence for those who would write over finished rows. resumable: they can go on with the run."""
        advice = (
            "go on with resume=True (--resume), or throw them away with restart=True (--restart)"
            if resumable
            else "finish that run (`cgfast screen --resume`), choose another name, or remove the folder"
        )
        holds = f"{self.finished_rows():,} finished rows of an interrupted run of {self._out.name}"
        return f"out: {self.path} holds {holds}: {advice}"

    def clear(self) -> None:
        """Remove everything in the directory but the lock."""
        for entry in self.path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != _LOCK_NAME:
                entry.unlink()

    def remove(self) -> None:
        """Remove the directory with all it holds, then let go of the lock. Safe to call twice."""
        if not self._lock.held:
            return
        self.clear()
        (self.path / _LOCK_NAME).unlink(missing_ok=True)
        # Another run may have taken the directory over in this moment: then it is no longer ours to remove.
        with contextlib.suppress(OSError):
            self.path.rmdir()
        self._lock.release()

    def release(self) -> None:
        """Let go of the lock and leave what is there. Safe to call twice."""
        self._lock.release()
