"""Data-parallel processes on one machine: the first is the caller's, the others read the run's folder and join in."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOST = "127.0.0.1"
_TIMEOUT = timedelta(minutes=10)  # one process waits so long for the others: reading the data is the longest wait
_LAST_WORDS = 5.0  # seconds that they may come after the connection broke
_POLL = 0.02  # seconds
_READY = "CGFAST_WORKER_READY"  # the file by which a process says that it has read the data
_VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")


def is_worker() -> bool:
    """Whether this process was started by join_workers() of another."""
    return os.environ.get("CGFAST_WORKER") == "1"


def strategy(n_processes: int) -> DDPStrategy | str:
    """Lightning's strategy for so many processes."""
    if n_processes == 1:
        return "auto"
    return DDPStrategy(process_group_backend="gloo", timeout=_TIMEOUT, cluster_environment=LightningEnvironment())


class Processes:
    """The other processes of a run, as seen from the first one; for a process that joined, nobody."""

    def __init__(self, workers: list[_Worker]) -> None:
        self._workers = workers

    def meet(self) -> None:
        """Wait until all processes have read the data: nobody must wait in torch, deaf, for one that failed.

        Raises ValueError with the last words of one that did.
        """
        if is_worker():
            Path(os.environ[_READY]).touch()
        while not all(worker.ready.exists() for worker in self._workers):
            self.check()
            time.sleep(_POLL)

    def check(self, patience: float = 0.0) -> None:
        """Raises ValueError with the last words of a process that failed, or does so within `patience` seconds."""
        for worker in self._workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(patience)
            if worker.process.poll() not in (None, 0):
                msg = f"processes: one of the {len(self._workers) + 1} failed: {worker.last_words()}"
                raise ValueError(msg)

    def end(self) -> None:
        """End them."""
        for worker in self._workers:
            worker.process.kill()
            worker.process.wait()


class _Worker(NamedTuple):
    process: subprocess.Popen[bytes]
    said: Path
    ready: Path

    def last_words(self) -> str:
        lines = self.said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self.process.returncode}"


@contextlib.contextmanager
def join_workers(folder: Path, n_processes: int) -> Iterator[Processes]:
    """Start the other processes of a run and end them with the context.

    Raises ValueError with the last words of a process that failed.
    """
    if n_processes == 1 or is_worker():
        yield Processes([])
        return
    before = {name: os.environ.get(name) for name in _VARIABLES}
    shared = {"MASTER_ADDR": _HOST, "MASTER_PORT": str(_free_port()), "NODE_RANK": "0", "WORLD_SIZE": str(n_processes)}
    with tempfile.TemporaryDirectory() as scratch:
        processes = Processes([_start(folder, shared, rank, Path(scratch)) for rank in range(1, n_processes)])
        os.environ.update(shared | {"LOCAL_RANK": "0"})
        try:
            yield processes
        except RuntimeError:  # a broken connection: the reason is what the other one said
            processes.check(_LAST_WORDS)
            raise
        finally:
            if torch.distributed.is_initialized():  # it belongs to this run's workers
                torch.distributed.destroy_process_group()
            processes.end()
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def _start(folder: Path, shared: dict[str, str], rank: int, scratch: Path) -> _Worker:
    # A session of its own: Ctrl-C is for the first process, which ends the others.
    command = [sys.executable, "-P", "-m", "cgfast.training.worker", str(folder.absolute())]
    source = str(Path(__file__).resolve().parents[2])
    said, ready = scratch / f"said-{rank}", scratch / f"ready-{rank}"
    environment = {
        **os.environ,
        **shared,
        "LOCAL_RANK": str(rank),
        "CGFAST_WORKER": "1",
        _READY: str(ready),
        "PYTHONPATH": os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    with said.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file, start_new_session=True)  # noqa: S603
    return _Worker(process, said, ready)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port
