"""Small crystals and small models with random weights; what a test knows of them it computes itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cgfast.crystals import Crystals
from cgfast.elements import SYMBOLS
from cgfast.models import Target
from cgfast.neighbors import GraphSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

SPEC = GraphSpec(cutoff=6.0, max_neighbors=8)
ENERGY = Target("energy per atom", "eV/atom", "energy_per_atom_eV", None, "energy_per_atom_eV")
METAL = Target("probability of metal", "1", "metal_probability", ("insulator", "metal"), "gap_eV<0.001")


def random_crystals(n: int = 60, seed: int = 7, elements: Sequence[int] = (3, 8, 11, 17, 22, 26, 38)) -> Crystals:
    """Crystals of 1 to 12 atoms, each about 15 cubic Å, at places anywhere in a cube."""
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 13, n)
    edges = np.cbrt(15.0 * sizes)
    return Crystals.from_arrays(
        random.random((sizes.sum(), 3)) * np.repeat(edges, sizes)[:, None],
        edges[:, None, None] * np.eye(3),
        random.choice(elements, sizes.sum()),
        graph_ptr=np.concatenate([[0], np.cumsum(sizes)]),
        ids=[f"c{k}" for k in range(n)],
    )


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


def tiny_model(
    *targets: Target,
    members: int = 1,
    seed: int = 3,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    **architecture: Any,
) -> Any:
    torch = pytest.importorskip("torch")
    from cgfast.basis import GaussianBasis
    from cgfast.models import PropertyModel
    from cgfast.nn import CGCNN

    targets = targets or (ENERGY,)
    basis = GaussianBasis(0.0, 6.0, 0.5)
    wide = {"nbr_fea_len": basis.n_centres, "atom_fea_len": 12, "n_conv": 2, "h_fea_len": 16}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        n_out = sum(target.n_outputs for target in targets)
        networks = [CGCNN(None, basis=basis, n_out=n_out, **wide | architecture).eval() for _ in range(members)]
    numbers = [target.classes is None for target in targets]
    return PropertyModel(
        name="tiny",
        targets=targets,
        networks=tuple(networks),
        spec=SPEC,
        mean=tuple(mean or [0.5 if number else 0.0 for number in numbers]),
        std=tuple(std or [2.0 if number else 1.0 for number in numbers]),
        sha256="5" * 64,
        source="",
    )


@pytest.fixture
def crystals() -> Crystals:
    return random_crystals()


@pytest.fixture
def make_model() -> Callable[..., Any]:
    return tiny_model


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write_in(crystals: Crystals, name: str = "data.parquet", **columns: Any) -> Path:
        return write_table(tmp_path / name, crystals, **columns)

    return write_in


@pytest.fixture
def energy() -> Target:
    return ENERGY


@pytest.fixture
def metal() -> Target:
    return METAL


@pytest.fixture
def model(make_model):
    return make_model()


@pytest.fixture
def truth(crystals, model):
    return model.predict(crystals).values + np.random.default_rng(0).normal(0, 0.1, len(crystals))


@pytest.fixture
def path(write, crystals, truth):
    """A table whose labels are the predictions of `model`, with noise."""
    return write(crystals, **{ENERGY.column: truth})
