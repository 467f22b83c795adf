"""What is called how in the folder of a study."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

STUDY, TRIALS, BEST = "study.sqlite3", "trials", "best"
TABLE, REPORT, LOCK = "trials.csv", "report.html", ".lock"


def folder_of(name: str, given: Any) -> Path:  # noqa: ANN401 - what a user gives
    """The path that the argument `name` gives. Raises ValueError for what is none."""
    if not isinstance(given, str | os.PathLike):
        msg = f"{name}: got {given!r}, expected the name of a folder"
        raise ValueError(msg)  # noqa: TRY004 - one kind of error for bad input
    return Path(given)


def check_out(path: Path) -> None:
    """Raises ValueError if the folder cannot become that of a study, or go on being it."""
    if not path.absolute().parent.is_dir():
        msg = f"out: the folder {path.absolute().parent} does not exist"
        raise ValueError(msg)
    if not path.exists():
        return
    # A lock alone is what a call leaves that was killed before it began.
    if not path.is_dir() or (not (path / STUDY).is_file() and any(entry.name != LOCK for entry in path.iterdir())):
        msg = f"out: {path} is there already, expected a new or empty folder, or that of a study"
        raise ValueError(msg)
