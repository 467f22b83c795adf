"""What is called how in the folder of a study."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

STUDY, TRIALS, BEST = "study.sqlite3", "trials", "best"
TABLE, REPORT, LOCK = "trials.csv", "report.html", ".lock"


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
