"""Screening runs in processes of their own, which may be killed, and the input they read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Sequence

KILLER = Path(__file__).with_name("killed_runs.py")


def write_input(path: Path, n: int, seed: int = 6) -> Path:
    """A table of n small crystals, every seventh of which cannot be used: no volume, NaN, an element nobody knows."""
    random_ = np.random.default_rng(seed)
    sizes = random_.integers(1, 4, n)
    lattices = np.tile(np.eye(3) * 4.0, (n, 1, 1)) + random_.normal(0, 0.2, (n, 3, 3))
    lattices[::7] = 0.0
    positions = [random_.uniform(0, 4, (size, 3)).tolist() for size in sizes]
    positions[3::49] = [[[float("nan")] * 3] * size for size in sizes[3::49]]
    symbols = [random_.choice(["Na", "Cl", "Ti", "O", "Fm" if k % 21 else "Lr"], size).tolist() for k, size in enumerate(sizes)]
    table = pa.table(
        {
            "id": [f"c{k // 2}" for k in range(n)],  # each twice
            "lattice_vectors": lattices.tolist(),
            "cartesian_site_positions": positions,
            "species_at_sites": symbols,
            "label": [None if k % 5 else f"l{k}" for k in range(n)],
        }
    )
    pq.write_table(table, path, row_group_size=3000)
    return path


class Killer:
    """The process of killed_runs.py, started by `prefix`."""

    def __init__(self, part_rows: int, prefix: Sequence[str] = ()) -> None:
        command = [*prefix, sys.executable, "-P", str(KILLER), str(part_rows)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid

    def __call__(self, source: Path, out: Path, **task: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"source": str(source), "out": str(out), **task}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


def both(out: Path) -> tuple[bytes, bytes]:
    return out.read_bytes(), out.with_name(f"{out.stem}-failures.csv").read_bytes()


def left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]
