from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # samples.py


@pytest.fixture
def each_device(device):
    """Has samples.KERNEL compute on the CPU, and on a CUDA device if there are one and kernels for it."""
    from samples import KERNEL

    KERNEL.device = device
    yield device
    KERNEL.device = "cpu"


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def poisoned_memory():
    """torch.empty() makes NaN: what a kernel forgets to write is seen."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
