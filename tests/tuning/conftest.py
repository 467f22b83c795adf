"""Small crystals whose label is easy to learn: the mean atomic number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cgfast.crystals import Crystals
from cgfast.elements import SYMBOLS

if TYPE_CHECKING:
    from pathlib import Path

COLUMN = "mean_number_eV"
SPACE = {"learning_rate": "0.001..0.05:log", "n_conv": "1..2", "cutoff": "4|5"}
TINY: dict[str, Any] = {"epochs": 3, "atom_fea_len": 8, "h_fea_len": 8, "batch_size": 16, "fractions": (0.6, 0.2, 0.2)}


def random_crystals(n: int = 60, seed: int = 7) -> Crystals:
    """Crystals of 1 to 6 atoms, each about 15 cubic Å, at places anywhere in a cube."""
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 7, n)
    edges = np.cbrt(15.0 * sizes)
    return Crystals.from_arrays(
        random.random((sizes.sum(), 3)) * np.repeat(edges, sizes)[:, None],
        edges[:, None, None] * np.eye(3),
        random.choice((3, 8, 11, 17, 22, 26, 38), sizes.sum()),
        graph_ptr=np.concatenate([[0], np.cumsum(sizes)]),
        ids=[f"c{k}" for k in range(n)],
    )


def mean_numbers(crystals: Crystals) -> list[float]:
    pointers = crystals.graph_ptr
    return [float(crystals.atomic_numbers[pointers[b] : pointers[b + 1]].mean()) for b in range(len(crystals))]


def write_table(path: Path, crystals: Crystals, **columns: Any) -> Path:
    pa = pytest.importorskip("pyarrow", reason="labels are read from tables")
    pq = pytest.importorskip("pyarrow.parquet")
    pointers = crystals.graph_ptr
    spans = [slice(pointers[b], pointers[b + 1]) for b in range(len(crystals))]
    table = {
        "id": crystals.ids.tolist(),
        "lattice_vectors": crystals.cell.tolist(),
        "cartesian_site_positions": [crystals.positions[span].tolist() for span in spans],
        "species_at_sites": [[SYMBOLS[z] for z in crystals.atomic_numbers[span].tolist()] for span in spans],
    }
    pq.write_table(pa.table(table | columns), path)
    return path


@pytest.fixture(scope="session")
def crystals() -> Crystals:
    return random_crystals()


@pytest.fixture(scope="session")
def labels(crystals: Crystals) -> list[float]:
    return mean_numbers(crystals)


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory, crystals: Crystals, labels: list[float]) -> Path:
    return write_table(tmp_path_factory.mktemp("data") / "data.parquet", crystals, **{COLUMN: labels})


@pytest.fixture
def write(tmp_path: Path, crystals: Crystals) -> Any:
    def write_labels(values: list[float], name: str = "other.parquet") -> Path:
        return write_table(tmp_path / name, crystals, **{COLUMN: values})

    return write_labels


@pytest.fixture(scope="session")
def small() -> Any:
    """Run a study of tiny networks: small(data, out, **changes)."""
    tuning = pytest.importorskip("cgfast.tuning")

    def tune(data: Any, out: Path, **changes: Any) -> Any:
        options = {"trials": 3, "space": SPACE, **TINY} | changes
        return tuning.tune(data, options.pop("target", COLUMN), out=out, **options)

    return tune


@pytest.fixture(scope="session")
def study(table: Path, tmp_path_factory: pytest.TempPathFactory, small: Any) -> tuple[Any, Path]:
    """A study of four trials that was never interrupted, and its folder. Tests must not change it."""
    out = tmp_path_factory.mktemp("studies") / "study"
    return small(table, out, trials=4, keep=2), out
