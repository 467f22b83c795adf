"""Runs of the command that are interrupted, terminated and killed from outside, wherever they happen to be."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("lightning")
pytest.importorskip("pyarrow")
pytest.importorskip("typer")

from tests.training.samples import crystals, some_values, write_table

if TYPE_CHECKING:
    from pathlib import Path

EPOCHS = 300
SHAPE = ["--atom-fea-len", "8", "--n-conv", "1", "--h-fea-len", "8", "--n-h", "1", "--cutoff", "5", "--batch-size", "8"]
OPTIONS = [*SHAPE, "--threads", "1", "--epochs", str(EPOCHS)]
# A shell's background job ignores SIGINT, and so would what it starts.
START = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from cgfast.cli import main; main()"

pytestmark = pytest.mark.slow


def start(*arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-c", START, "train", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def epochs_done(folder: Path) -> int:
    try:
        return len((folder / "metrics.csv").read_text().splitlines()) - 1
    except FileNotFoundError:
        return 0


def send(process: subprocess.Popen, number: int, folder: Path, epoch: int) -> tuple[int, str]:
    """Send the signal after this epoch; the exit code and what was said on stderr."""
    deadline = time.monotonic() + 120
    while epochs_done(folder) < epoch and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    assert process.poll() is None, process.communicate()
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


def finish(*arguments: str) -> str:
    process = start(*arguments)
    out, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return out


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = crystals(40)
    return write_table(tmp_path_factory.mktemp("data") / "data.parquet", made, y=some_values(made))


@pytest.fixture(scope="module")
def whole(table: Path) -> bytes:
    """The weights of a run that nothing disturbs."""
    folder = table.parent / "whole"
    finish(str(table), "-t", "y", "-o", str(folder), *OPTIONS)
    assert epochs_done(folder) == EPOCHS
    return (folder / "model.safetensors").read_bytes()


def test_interrupts(table: Path, whole: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    code, said = send(start(str(table), "-t", "y", "-o", str(folder), *OPTIONS), signal.SIGINT, folder, 20)
    assert code == 130
    assert said.splitlines()[-1] == f"interrupted; every whole epoch is saved; go on with: cgfast train --resume {folder}"
    assert (folder / "model.json").is_file()
    code, _ = send(start("--resume", str(folder)), signal.SIGINT, folder, 60)
    assert code == 130
    out = finish("--resume", str(folder))
    assert f"wrote the model to {folder}" in out
    assert (folder / "model.safetensors").read_bytes() == whole
    assert epochs_done(folder) == EPOCHS


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_kills(table: Path, whole: bytes, tmp_path: Path, number: int) -> None:
    """Three times, at any moment of an epoch or of writing."""
    rng = random.Random(int(number))  # noqa: S311
    folder = tmp_path / "m"
    arguments = [str(table), "-t", "y", "-o", str(folder), *OPTIONS]
    for epoch in (rng.randint(1, 40), rng.randint(60, 120), rng.randint(150, 200)):
        code, _ = send(start(*arguments), number, folder, epoch)
        assert code != 0
        assert epochs_done(folder) < EPOCHS
        arguments = ["--resume", str(folder)]
    finish(*arguments)
    assert (folder / "model.safetensors").read_bytes() == whole
    assert not list(folder.rglob("*.part"))
