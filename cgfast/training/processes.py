"""Data-parallel processes on one machine: the first is the caller's, the others read the run's folder and join in."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING

import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOST = "127.0.0.1"
_TIMEOUT = timedelta(minutes=10)  # one process waits so long for the others: reading the data is the longest wait
_LAST_WORDS = 5.0  # seconds
_VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")


def is_worker() -> bool:
    """Whether this process was started by join_workers() of another."""
    return os.environ.get("CGFAST_WORKER") == "1"


def strategy(n_processes: int) -> DDPStrategy | str:
    """Lightning's strategy for so many processes."""
    if n_processes == 1:
        return "auto"
    return DDPStrategy(process_group_backend="gloo", timeout=_TIMEOUT, cluster_environment=LightningEnvironment())


@contextlib.contextmanager
def join_workers(folder: Path, n_processes: int) -> Iterator[None]:
    """Start the other processes of a run and end them with the context.

    Raises ValueError with the last words of a process that failed.
    """
    if n_processes == 1 or is_worker():
        yield
        return
    before = {name: os.environ.get(name) for name in _VARIABLES}
    shared = {"MASTER_ADDR": _HOST, "MASTER_PORT": str(_free_port()), "NODE_RANK": "0", "WORLD_SIZE": str(n_processes)}
    with contextlib.ExitStack() as stack:
        workers = []
        for rank in range(1, n_processes):
            said = stack.enter_context(tempfile.TemporaryFile())
            workers.append((_start(folder, {**shared, "LOCAL_RANK": str(rank), "CGFAST_WORKER": "1"}, said), said))
        os.environ.update(shared | {"LOCAL_RANK": "0"})
        try:
            yield
        except Exception as error:
            words = _last_words(workers)
            if words:
                msg = f"processes: one of the {n_processes} failed: {words}"
                raise ValueError(msg) from error
            raise
        finally:
            if torch.distributed.is_initialized():  # it belongs to this run's workers
                torch.distributed.destroy_process_group()
            for process, _ in workers:
                process.kill()
                process.wait()
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def _start(folder: Path, variables: dict[str, str], said: IO[bytes]) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C is for the first process, which ends the others.
    command = [sys.executable, "-P", "-m", "cgfast.training.worker", str(folder.absolute())]
    source = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, **variables, "PYTHONPATH": path}
    return subprocess.Popen(command, env=environment, stdout=said, stderr=said, start_new_session=True)  # noqa: S603 - our own


def _last_words(workers: list[tuple[subprocess.Popen[bytes], IO[bytes]]]) -> str:
    for process, said in workers:
        with contextlib.suppress(subprocess.TimeoutExpired):  # its last words may come a moment after its connection broke
            process.wait(_LAST_WORDS)
        if process.poll() not in (None, 0):
            said.seek(0)
            lines = said.read().decode("utf-8", "replace").strip().splitlines()
            return lines[-1] if lines else f"exit code {process.returncode}"
    return ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port
