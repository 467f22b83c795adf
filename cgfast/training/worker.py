"""What a data-parallel process other than the first runs: `python -m cgfast.training.worker FOLDER`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from cgfast.training.run import resume
from cgfast.training.run_folder import PLAN

_PATIENCE = 60.0  # seconds until the first process has written its plan


def main() -> None:
    """Join the run in the folder that the command line names."""
    folder = Path(sys.argv[1])
    due = time.monotonic() + _PATIENCE
    while not (folder / PLAN).is_file() and time.monotonic() < due:
        time.sleep(0.05)
    resume(folder)


if __name__ == "__main__":
    main()
