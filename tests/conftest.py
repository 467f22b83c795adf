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
