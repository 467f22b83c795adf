"""Peak memory of one forward and backward pass above what its inputs take, in a process of its own.

The parent writes the inputs to a file; the child loads them, warms up on one small crystal, hands free memory
back to the system, notes what is resident, resets the high-water mark that the kernel keeps, runs one step and
reads the mark. Resident memory counts everybody alike: torch's tensors, our native buffers, thread stacks.
glibc is told to map every allocation over 64 KiB by itself, so that what is freed really leaves.
"""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from benchmarks import layers

if TYPE_CHECKING:
    from collections.abc import Mapping

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
ROOT = Path(__file__).parents[1]
GRAPH = ("edge_index", "row_ptr", "graph_ptr", "atomic_numbers", "distances")
# The checkout comes last on the path: the cgfast that is measured is the installed one.
CHILD = "import sys; sys.path.append(sys.argv[1]); from benchmarks import memory; print(memory.measure(*sys.argv[2:]))"
WARM_UP = layers.Point(5)


def peak_above_inputs(role: str, point: layers.Point) -> float | None:
    """Bytes, for a builder of `layers` by name; None where the system does not tell (Linux does)."""
    import torch

    if not RESET.exists():
        return None
    with TemporaryDirectory() as folder:
        file = Path(folder) / "inputs.pt"
        torch.save([_pack(layers.batch_of(WARM_UP).fair), _pack(layers.batch_of(point).fair)], file)
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
        done = subprocess.run(
            [sys.executable, "-P", "-c", CHILD, str(ROOT), role, str(file)],
            capture_output=True, text=True, check=False, env=environment,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return float(done.stdout.split()[-1])


def measure(role: str, file: str) -> int:
    """What the child does."""
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    small, batch = (_unpack(packed) for packed in torch.load(file, weights_only=True))
    builder = getattr(layers, role)
    layer = builder(batch)
    if role == "pyg_compiled":  # the first call of a shape compiles it
        layers.forward_backward(layer, batch)
    else:
        layers.forward_backward(builder(small), small)
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
    RESET.write_text("5", encoding="ascii")  # "reset the peak resident set size", proc(5)
    before = resident("VmRSS")
    answer = layers.forward_backward(layer, batch)
    peak = resident("VmHWM")
    assert len(answer) == 2 + len(layer.parameters)
    return peak - before


def resident(name: str) -> int:
    """VmRSS (now) or VmHWM (highest) of this process in bytes."""
    lines = STATUS.read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def _pack(batch: layers.Batch) -> dict[str, Any]:
    graph = {name: getattr(batch.graph, name) for name in GRAPH}
    return {"graph": graph, "x": batch.x, "edge_attr": batch.edge_attr, "gradient": batch.gradient}


def _unpack(packed: Mapping[str, Any]) -> layers.Batch:
    from cgfast.graph import CrystalGraph

    return layers.Batch(**{**packed, "graph": CrystalGraph(**packed["graph"])})
