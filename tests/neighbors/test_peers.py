"""Real crystals against brute force and against four other codes: matscipy, vesin, pymatgen and ASE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

import cgfast

from . import oracle
from .checks import EDGE, as_edges, assert_equal_lists, assert_no_pair_twice, assert_trimmed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# (file, crystals, cutoff in Å, largest cell): a fixed sample, spread evenly over each file.
SAMPLE = [
    ("mp_cgcnn_36k", 900, 6.0, 200),
    ("perov5", 400, 8.0, 5),
    ("carbon24", 300, 5.0, 24),
    ("mlearn_energy_forces", 150, 5.0, 108),
    ("nomad2018", 130, 5.0, 80),
    ("wbm_random_2025", 100, 7.0, 40),
    ("alexandria_binary_phonon_2025", 80, 6.0, 180),
    ("coremof2019_asr_subset", 20, 5.0, 400),
]
FILES = [entry[0] for entry in SAMPLE]


class Row(NamedTuple):
    """One crystal of a file."""

    name: str
    positions: np.ndarray
    cell: np.ndarray
    cutoff: float


def read(path: Path, count: int, cutoff: float, largest: int) -> list[Row]:
    """Read `count` crystals at equal steps from a Parquet file; some are moved out of their cell."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="the structures are Parquet files")
    if not path.exists():
        pytest.skip(f"{path} is not there")
    table = parquet.read_table(path, columns=["id", "nsites", "lattice_vectors", "cartesian_site_positions"])
    fitting = np.flatnonzero(table["nsites"].to_numpy() <= largest)
    chosen = fitting[np.linspace(0, len(fitting) - 1, count).astype(int)]
    rows = []
    for i, row in enumerate(table.take(chosen).to_pylist()):
        positions, cell = np.array(row["cartesian_site_positions"]), np.array(row["lattice_vectors"])
        if i % 3 == 0:  # a third of the sample has its atoms in other cells than the file's
            positions = positions + np.random.default_rng(i).integers(-3, 4, positions.shape) @ cell
        rows.append(Row(row["id"], positions, cell, cutoff))
    return rows


@pytest.fixture(scope="module", params=SAMPLE, ids=FILES)
def rows(request: pytest.FixtureRequest, data: Path) -> list[Row]:
    """Read the sample of one file."""
    name, count, cutoff, largest = request.param
    return read(data / f"{name}.parquet", count, cutoff, largest)


def sort(target: Any, source: Any, shifts: Any, distances: Any) -> oracle.Edges:
    """Bring another code's answer into the order of a radius list."""
    target, source = np.asarray(target, np.int64), np.asarray(source, np.int64)
    shifts, distances = (
        np.rint(np.asarray(shifts, np.float64)).astype(np.int64).reshape(-1, 3),
        np.asarray(distances),
    )
    order = np.lexsort((*shifts.T[::-1], source, target))
    return oracle.Edges(target[order], source[order], shifts[order], distances[order], np.zeros(0, np.int64))


def count_mismatches(rows: list[Row], peer: Callable[[Row, float], oracle.Edges]) -> dict[str, str]:
    """Compare all rows, and collect what differs by the name of the crystal."""
    mismatches = {}
    for row in rows:
        want = peer(row, row.cutoff + EDGE)
        want = want._replace(row_ptr=np.zeros(len(row.positions) + 1, np.int64))
        got = as_edges(cgfast.neighbor_list(row.positions, row.cell, True, row.cutoff))
        try:
            assert_no_pair_twice(want)
            assert_equal_lists(got, want, row.cutoff)
        except AssertionError as error:
            mismatches[row.name] = str(error)
    return mismatches


def brute_force(row: Row, cutoff: float) -> oracle.Edges:
    """Compute the list of this folder's oracle."""
    return oracle.radius(row.positions, row.cell, True, cutoff)


def matscipy(row: Row, cutoff: float) -> oracle.Edges:
    """Compute matscipy's list."""
    module = pytest.importorskip("matscipy.neighbours", reason="matscipy is an oracle here")
    i, j, shifts, distances = module.neighbour_list(
        "ijSd", cutoff=cutoff, positions=row.positions, cell=row.cell, pbc=np.ones(3, bool)
    )
    return sort(i, j, shifts, distances)


def vesin(row: Row, cutoff: float) -> oracle.Edges:
    """Compute vesin's list."""
    module = pytest.importorskip("vesin", reason="vesin is an oracle here")
    search = module.NeighborList(cutoff=cutoff, full_list=True, n_threads=1)
    return sort(*search.compute(row.positions, row.cell, True, "ijSd"))


def pymatgen(row: Row, cutoff: float) -> oracle.Edges:
    """Compute pymatgen's list."""
    module = pytest.importorskip("pymatgen.optimization.neighbors", reason="pymatgen is an oracle here")
    points = np.ascontiguousarray(row.positions)
    i, j, shifts, distances = module.find_points_in_spheres(
        all_coords=points,
        center_coords=points,
        r=cutoff,
        pbc=np.ones(3, np.int64),
        lattice=np.ascontiguousarray(row.cell),
        tol=1e-8,
    )
    self_pair = (i == j) & (shifts == 0).all(axis=1)
    return sort(i[~self_pair], j[~self_pair], shifts[~self_pair], distances[~self_pair])


def ase(row: Row, cutoff: float) -> oracle.Edges:
    """Compute ASE's list."""
    module = pytest.importorskip("ase.neighborlist", reason="ASE is an oracle here")
    found = module.primitive_neighbor_list("ijSd", (True, True, True), row.cell, row.positions, cutoff)
    return sort(*found)


@pytest.mark.parametrize("peer", [matscipy, vesin, pymatgen, brute_force, ase], ids=lambda peer: peer.__name__)
def test_radius_lists_of_real_crystals(rows: list[Row], peer: Callable[[Row, float], oracle.Edges]) -> None:
    """Not one edge differs, on any crystal."""
    # The slow ones see a part of the sample, and none of the largest cells.
    chosen = rows
    if peer in (brute_force, ase):
        chosen = [row for row in rows[::3] if len(row.positions) <= 80][:40]
    assert count_mismatches(chosen, peer) == {}


@pytest.mark.parametrize("ties", ["canonical", "shell"])
def test_nearest_lists_of_real_crystals(rows: list[Row], ties: str) -> None:
    """Twelve neighbours of a batch are cut from the full lists, which other codes have confirmed above."""
    sizes = [len(row.positions) for row in rows]
    graph_ptr = np.concatenate([[0], np.cumsum(sizes)])
    cutoff = rows[0].cutoff
    result = cgfast.neighbor_list(
        np.concatenate([row.positions for row in rows]),
        np.stack([row.cell for row in rows]),
        True,
        cutoff,
        max_neighbors=12,
        ties=ties,
        graph_ptr=graph_ptr,
    )
    got = as_edges(result)
    undecidable = 0
    for row, start, stop in zip(rows, graph_ptr[:-1], graph_ptr[1:], strict=True):
        full = as_edges(cgfast.neighbor_list(row.positions, row.cell, True, cutoff + EDGE))  # checked above
        mine = oracle.take(got, np.arange(got.row_ptr[start], got.row_ptr[stop]))
        mine = mine._replace(
            target=mine.target - start,
            source=mine.source - start,
            row_ptr=got.row_ptr[start : stop + 1] - got.row_ptr[start],
        )
        undecidable += assert_trimmed(mine, oracle.by_distance(full), cutoff, 12, ties=ties)
    assert undecidable <= 0.01 * graph_ptr[-1]


@pytest.mark.parametrize("name", ["mp", "perov5"])
def test_graphs_of_the_2018_code(data: Path, name: str) -> None:
    """The distances of the 2018 code's twelve neighbours, to the last digit that its input carries."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="the structures are Parquet files")
    files = (
        data / "reference-2018" / f"graphs_{name}.parquet",
        data / f"{ {'mp': 'mp_cgcnn_36k'}.get(name, name) }.parquet",
    )
    for path in files:
        if not path.exists():
            pytest.skip(f"{path} is not there")
    graphs = parquet.read_table(files[0], columns=["id", "neighbor_distance_A"]).to_pydict()
    wanted = dict(zip(graphs["id"], graphs["neighbor_distance_A"], strict=True))
    columns = ["id", "lattice_vectors", "cartesian_site_positions"]
    table = parquet.read_table(files[1], columns=columns, filters=[("id", "in", list(wanted))])
    assert table.num_rows == len(wanted)
    for row in table.to_pylist():
        result = cgfast.neighbor_list(
            np.array(row["cartesian_site_positions"]),
            np.array(row["lattice_vectors"]),
            True,
            8.0,
            max_neighbors=12,
            missing="pad-2018",
        )
        distances = np.sort(result.distances.reshape(-1, 12), axis=1)
        np.testing.assert_allclose(distances, np.sort(wanted[row["id"]], axis=1), atol=2e-6, err_msg=row["id"])
