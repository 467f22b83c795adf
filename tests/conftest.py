"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the shared data: CGFAST_SHARED, or ``shared`` beside the repository. It may not exist."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    return Path(os.environ.get("CGFAST_SHARED", beside))


@pytest.fixture(scope="session")
def data(shared: Path) -> Path:
    """Folder with crystal structures; the test is skipped where it is absent."""
    folder = shared / "data"
    if not folder.is_dir():
        pytest.skip(f"no data in {folder}: set CGFAST_SHARED to the folder that holds data/")
    return folder


@pytest.fixture
def needs_cuda() -> None:
    """Skips the test unless there is a CUDA device, and this build holds kernels for it."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device here")
    from cgfast._native import core

    if not core().cuda_built():
        pytest.skip("this build has no CUDA kernels")


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    """The device on which to compute what is then compared with an oracle on the CPU."""
    name: str = request.param
    if name == "cuda":
        request.getfixturevalue("needs_cuda")
    return name
