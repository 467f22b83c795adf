"""A command in a process of its own: with a time limit, its end kept, nothing left running."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TAIL = 4000  # characters of output that are kept of a failure


def run(command: Sequence[str], seconds: float, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Status ("ok", "failed" or "timeout"), seconds, and the end of the output unless all is well.

    The whole output is under "output".
    """
    start = time.perf_counter()
    process = subprocess.Popen(
        list(command),
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        start_new_session=True,  # so that what it starts ends with it
    )
    try:
        output, _ = process.communicate(timeout=seconds)
        status = "ok" if process.returncode == 0 else "failed"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        status = "timeout"
    found = {"status": status, "seconds": round(time.perf_counter() - start, 2), "output": output}
    if status == "timeout":
        found["error"] = f"stopped after {seconds:.0f} s: {_end(output)}"
    elif status == "failed":
        found["error"] = f"exit code {process.returncode}: {_end(output)}"
    return found


def _end(output: str) -> str:
    return output.strip()[-TAIL:]
