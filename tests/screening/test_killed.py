"""A run that is killed at any moment and resumed gives the files of an undisturbed one, byte by byte."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pa = pytest.importorskip("pyarrow", reason="screening writes tables with pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("torch", reason="screening computes with torch")

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
    """The process of killed_runs.py."""

    def __init__(self, part_rows: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(KILLER), str(part_rows)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, source: Path, out: Path, **task: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"source": str(source), "out": str(out), **task}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    process = Killer(1024)
    yield process
    process.end()


def both(out: Path) -> tuple[bytes, bytes]:
    return out.read_bytes(), out.with_name(f"{out.stem}-failures.csv").read_bytes()


def left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("suffix", "step"),
    [
        ("parquet", 4),
        ("csv", 9),
        pytest.param("parquet", 1, marks=pytest.mark.slow),
        pytest.param("csv", 1, marks=pytest.mark.slow),
    ],
)
def test_killed_before_operations_on_files(killer: Killer, tmp_path: Path, suffix: str, step: int) -> None:
    source = write_input(tmp_path / "in.parquet", 2300)
    whole, out = tmp_path / f"whole.{suffix}", tmp_path / f"p.{suffix}"
    options = {"keep": ["label"], "resume": True}
    assert killer(source, whole, options=options)["status"] == "done"
    operation = 0
    resumed = set()
    while killer(source, out, operation=operation, options=options)["status"] == "killed":
        answer = killer(source, out, options=options)
        assert answer["status"] == "done", answer
        assert "error" not in answer, answer
        assert both(out) == both(whole), f"killed before operation {operation}"
        assert left_over(tmp_path) == []
        resumed.add(answer["rows"])
        for path in tmp_path.glob("p[.-]*"):
            path.unlink()
        operation += step
    assert operation > 20  # each part, both renames, each removal
    assert {0, 1024, 2300} <= resumed


def test_killed_again_and_again(killer: Killer, tmp_path: Path) -> None:
    source = write_input(tmp_path / "in.parquet", 3500)
    whole, out = tmp_path / "whole.parquet", tmp_path / "p.parquet"
    killer(source, whole)
    kills = 0
    while killer(source, out, operation=8, options={"resume": True})["status"] == "killed":
        kills += 1
        assert kills < 50
    assert kills > 2
    assert both(out) == both(whole)


@pytest.mark.slow
def test_fifty_random_moments(tmp_path: Path) -> None:
    random_ = random.Random(20180406)  # noqa: S311 - a fixed seed is the point
    killer = Killer(8192)
    try:
        source = write_input(tmp_path / "in.parquet", 100_000)
        whole, out = tmp_path / "whole.parquet", tmp_path / "p.parquet"
        options = {"keep": ["label"], "resume": True}
        seconds = killer(source, whole, options=options)["seconds"]
        reference = both(whole)
        kills, in_parts = 0, 0
        while kills < 50:
            answer = killer(source, out, after=random_.uniform(0, seconds), options=options)
            if answer["status"] == "killed":
                kills += 1
                in_parts += bool(left_over(tmp_path))
                continue
            assert "error" not in answer, answer
            assert both(out) == reference
            for path in tmp_path.glob("p[.-]*"):
                path.unlink()
        assert "error" not in killer(source, out, options=options)
        assert both(out) == reference
        assert left_over(tmp_path) == []
        assert in_parts > 25
    finally:
        killer.end()
