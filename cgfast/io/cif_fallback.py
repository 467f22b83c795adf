"""A second opinion on CIF files that gemmi refuses: pymatgen, in its own process, with a time limit a file."""

from __future__ import annotations

import json
import math
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np

from cgfast.io.cif import Block, Unusable

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Fallback"]

_START_LIMIT = 120.0  # seconds to import pymatgen on a cold, busy disk
_NO_PYMATGEN = 'pymatgen, which might read it, is not installed: pip install "cgfast[pymatgen]"'


class Fallback:
    """One worker process, started at the first file and again after a time-out or a crash. A context."""

    def __init__(self, time_limit: float) -> None:
        self.time_limit = time_limit
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._unavailable = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop the process, if one runs."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    try:
                        stream.close()
                    except OSError:
                        continue  # bytes left in the buffer of a dead process

    def read(self, data: bytes) -> list[tuple[str, Block | Unusable]]:
        """The data blocks with atoms of CIF text: the name of each, and what pymatgen makes of it or why nothing.

        Raises:
            Unusable: pymatgen is not installed, takes longer than the time limit, or dies.
        """
        process = self._running()
        try:
            _pipe(process.stdin).write(len(data).to_bytes(8, "big") + data)
            _pipe(process.stdin).flush()
        except OSError:
            self.close()
            reason = "pymatgen's process died"
            raise Unusable(reason) from None
        answer = self._wait(self.time_limit, f"pymatgen took longer than {self.time_limit:g} s")
        if "error" in answer:
            reason = f"pymatgen: {answer['error']}".replace("\n", " ")
            raise Unusable(reason)
        return [(block["name"], _content(block)) for block in answer["blocks"]]

    def _running(self) -> subprocess.Popen[bytes]:
        if self._unavailable:
            raise Unusable(self._unavailable)
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-P",  # nothing in the working directory may pass for a module
                "-m",
                "cgfast.io.cif_worker",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # one thread each: it shares the machine with the prediction
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        self._answers = queue.Queue()
        threading.Thread(target=_listen, args=(_pipe(self._process.stdout), self._answers), daemon=True).start()
        if not self._wait(_START_LIMIT, "pymatgen's process did not start").get("ready"):
            self.close()
            self._unavailable = _NO_PYMATGEN
            raise Unusable(self._unavailable)
        return self._process

    def _wait(self, seconds: float, late: str) -> dict[str, Any]:
        try:
            answer = self._answers.get(timeout=seconds)
        except queue.Empty:
            self.close()
            raise Unusable(late) from None
        if answer is None:
            self.close()
            reason = "pymatgen's process died"
            raise Unusable(reason)
        return answer


def _pipe(stream: Any) -> BinaryIO:  # noqa: ANN401
    """The pipe of a process that was started with one."""
    if stream is None:
        message = "the process has no pipe"
        raise RuntimeError(message)
    pipe: BinaryIO = stream
    return pipe


def _listen(stream: BinaryIO, answers: queue.Queue[dict[str, Any] | None]) -> None:
    """Put every answer into the queue; None when the process is gone."""
    try:
        while len(head := stream.read(8)) == 8:
            answers.put(json.loads(stream.read(int.from_bytes(head, "big"))))
    except (OSError, ValueError):
        pass  # cut short: the process died while it wrote
    answers.put(None)


def _content(block: dict[str, Any]) -> Block | Unusable:
    if "error" in block:
        return Unusable(f"pymatgen: {block['error']}".replace("\n", " "))
    try:
        return _block(block["structure"])
    except Unusable as error:
        return error


def _block(structure: dict[str, Any]) -> Block:
    contents: list[dict[int, float]] = []
    for label, what in zip(structure["labels"], structure["contents"], strict=True):
        site: dict[int, float] = {}
        for z, occupancy in what:
            if not 1 <= z <= 118 or not math.isfinite(occupancy):
                reason = f"site {label} holds something that is no element"
                raise Unusable(reason)
            site[z] = site.get(z, 0.0) + occupancy
        contents.append(site)
    cell = np.array(structure["cell"], dtype=np.float64).reshape(3, 3)
    fractional = np.array(structure["fractional"], dtype=np.float64).reshape(-1, 3)
    return Block(cell, np.arange(len(contents)), fractional, [str(s) for s in structure["labels"]], contents)
