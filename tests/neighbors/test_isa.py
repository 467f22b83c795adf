"""Every instruction set finds the same edges with the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import cgfast
from cgfast import _core


def run(isa: str) -> list[str]:
    """Return (instruction set, hash of all neighbour lists) of a process told to use `isa`; "" is its own choice."""
    package = str(Path(cgfast.__file__).parents[1])
    environment = {**os.environ, "CGFAST_ISA": isa, "PYTHONPATH": package}
    program = [sys.executable, str(Path(__file__).with_name("isa_digest.py"))]
    answer = subprocess.run(program, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.split()


@pytest.fixture(scope="module")
def default() -> list[str]:
    """What a process finds that is told nothing."""
    return run("")


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
def test_same_bits(isa: str, default: list[str]) -> None:
    """A process told to use one instruction set agrees with one that was left alone."""
    if not _core.isa_supported(isa):
        pytest.skip(f"this processor or build has no {isa}")
    assert run(isa) == [isa, default[1]]
