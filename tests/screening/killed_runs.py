"""Runs that are killed: a process that forks one run after the other, so that none pays for the imports.

Each line of stdin is a JSON object: `source`, `out` (paths), `options` for `screen`, `operation` (kill before the so-manieth
operation on files, from 0), `after` (kill after so many seconds), `file_bytes` (no file may be larger). Each line of stdout
says what became of it: `status` ("done", "killed"), `seconds`, `rows` (that were there when it began), `error`. The killing is
a SIGKILL.
"""

from __future__ import annotations

import json
import os
import pathlib
import resource
import signal
import sys
import time
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow.parquet as pq  # noqa: F401 - what a run needs is imported once
import torch  # noqa: F401

from cgfast.models import OutputColumn, Target
from cgfast.neighbors import GraphSpec
from cgfast.screening import screen
from cgfast.screening.output import parts, run_output


class MeanZ:
    """Predicts the mean atomic number of a crystal, over a graph of its own."""

    name = "mean-z"
    task = "regression"
    targets = (Target("mean atomic number", "1", "mean_z"),)
    columns = (OutputColumn("mean_z", "1"),)
    spec = GraphSpec(4.0, 4)
    sha256 = f"{name:0<64}"
    max_atomic_number = 100

    def predict_columns(self, graph: Any) -> np.ndarray:
        numbers = np.asarray(graph.atomic_numbers, dtype=np.float64)
        return np.array([numbers[a:b].mean() / 3 for a, b in pairwise(np.asarray(graph.graph_ptr).tolist())])[:, None]


class Countdown:
    """Kills this process before operation number `at` on files."""

    def __init__(self, at: int) -> None:
        self.left = at

    def before(self, owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def counted(*arguments: Any, **keywords: Any) -> Any:
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self.left -= 1
            return original(*arguments, **keywords)

        setattr(owner, name, counted)


def run(task: dict[str, Any], answer: int) -> None:
    """One run; its answer goes to the pipe `answer`."""
    if task.get("operation") is not None:
        countdown = Countdown(task["operation"])
        for owner, name in (
            (pathlib.Path, "replace"),
            (pathlib.Path, "unlink"),
            (pathlib.Path, "rmdir"),
            (pathlib.Path, "mkdir"),
            (os, "fsync"),
            (parts.PartWriter, "write"),
            (parts.PartWriter, "finish"),
        ):
            countdown.before(owner, name)
    if task.get("file_bytes") is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (task["file_bytes"], task["file_bytes"]))
    try:
        result = screen(task["source"], MeanZ(), out=task["out"], threads=1, **task.get("options", {}))
        text = {"rows": result.n_resumed, "account": result.account}
    except ValueError as error:
        text = {"error": str(error)}
    os.write(answer, json.dumps(text).encode())


def main() -> None:
    run_output.PART_ROWS = int(sys.argv[1])
    for line in sys.stdin:
        task = json.loads(line)
        reading, writing = os.pipe()
        started = time.perf_counter()
        child = os.fork()
        if child == 0:
            os.close(reading)
            run(task, writing)
            os._exit(0)
        os.close(writing)
        if task.get("after") is not None:
            wait_or_kill(child, started + task["after"])
        text = os.read(reading, 1 << 16)
        os.close(reading)
        try:
            _, status = os.waitpid(child, 0)
        except ChildProcessError:
            status = 0
        killed = os.WIFSIGNALED(status)
        found = {"status": "killed" if killed else "done", "seconds": time.perf_counter() - started}
        print(json.dumps(found | (json.loads(text) if text and not killed else {})), flush=True)  # noqa: T201 - the answer


def wait_or_kill(child: int, deadline: float) -> None:
    """Let the child run until the deadline."""
    while time.perf_counter() < deadline:
        found = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is not None:
            return
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)


if __name__ == "__main__":
    main()
