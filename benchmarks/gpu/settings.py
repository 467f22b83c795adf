"""Where things are, how large they are, and how long each section may take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
BUILD = ROOT / "build" / "gpu"  # the build, and the package with its new core in `site`
SITE = BUILD / "site"
CEILINGS = BUILD / "ceilings"

# Seconds, in the order they run; together more than the whole budget: few sections need all of theirs.
SECTIONS = {
    "build": 150,
    "ceilings": 30,
    "tests": 120,
    "neighbors": 90,
    "layers": 110,
    "models": 80,
    "training": 70,
    "memcheck": 60,
    "racecheck": 60,
}
BUDGET = 470


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much work a point is, and how often it is timed."""

    device: str
    atoms: int  # of a batch of crystals in the neighbour search
    big_cells: tuple[int, ...]  # atoms of single cells
    edges: tuple[int, ...]  # of layers
    crystals: int  # in memory for whole models, 20 atoms each
    batches: tuple[int, ...]  # crystals at a time
    training_batch: int
    seconds: float  # that a point is timed for, about
    least: int  # timed calls at least


FULL = Sizes(
    "cuda", 1_000_000, (10_000, 100_000, 1_000_000), (240_000, 2_400_000), 1_000_000, (1, 256, 4096, 32_768), 256, 1.0, 5
)
DRY = Sizes("cpu", 200, (128,), (480,), 8, (1, 4), 4, 0.0, 1)


def sizes(*, dry: bool) -> Sizes:
    """Those of a real run, or of one that only goes through the motions."""
    return DRY if dry else FULL
