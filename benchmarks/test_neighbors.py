"""Neighbour search: k-nearest graphs of many small crystals, full lists, and one large cell.

Both sides run in one process on the same crystals with the same threads; matscipy and pymatgen know one
thread only. Before anything is timed its distances are compared with vesin's.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks import data, peers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.conftest import Measure

K = 12
CUTOFF = 8.0
LARGE_CUTOFF = 6.0
DATASETS = {"perov5": 4000, "carbon24": 3000, "mp_cgcnn_36k": 2000}
SAMPLES_2018 = {"perov5": 100, "carbon24": 60, "mp_cgcnn_36k": 40}
LARGE = (25, 25, 20)  # 100,000 atoms
SIZES = {1_000: (5, 5, 5), 9_680: (11, 11, 10), 100_000: LARGE, 1_000_000: (50, 50, 50)}


def sorted_distances(graphs: Sequence[peers.Edges]) -> np.ndarray:
    """All distances, row after row, ascending in each: the same for any right answer and order of ties."""
    return np.concatenate([graph.distances[np.lexsort((graph.distances, graph.target))] for graph in graphs])


@functools.lru_cache(maxsize=1)
def vesin_answer(name: str) -> np.ndarray:
    cells = data.cells(data.crystals(name, DATASETS[name]))
    return sorted_distances(peers.nearest_graphs(peers.vesin(CUTOFF, 1), cells, K))


@pytest.mark.parametrize("name", DATASETS)
class TestNearest:
    """12 nearest neighbours inside 8 Å, the graph of CGCNN."""

    @staticmethod
    def group(name: str) -> str:
        return f"12-NN graphs inside 8 Å, {name}"

    def test_cgfast(self, name: str, threads: int, measure: Measure) -> None:
        import cgfast

        batch = data.crystals(name, DATASETS[name])
        spec = cgfast.GraphSpec(cutoff=CUTOFF, max_neighbors=K)
        graph = cgfast.build_graphs(batch, spec, threads=threads)
        # Rows come out in canonical order: ascending to 1e-6 Å, which is also how closely we compare.
        np.testing.assert_allclose(graph.distances, vesin_answer(name), rtol=0, atol=2e-6)
        measure(
            lambda: cgfast.build_graphs(batch, spec, threads=threads),
            group=self.group(name),
            role="cgfast",
            items=len(batch),
            unit="crystals/s",
            threads=threads,
        )

    def test_vesin(self, name: str, threads: int, measure: Measure) -> None:
        cells = data.cells(data.crystals(name, DATASETS[name]))
        builder = peers.vesin(CUTOFF, threads)
        measure(
            lambda: peers.nearest_graphs(builder, cells, K),
            group=self.group(name),
            role="vesin",
            items=len(cells),
            unit="crystals/s",
            threads=threads,
        )

    def test_matscipy(self, name: str, measure: Measure) -> None:
        cells = data.cells(data.crystals(name, DATASETS[name]))
        builder = peers.matscipy(CUTOFF)
        answer = sorted_distances(peers.nearest_graphs(builder, cells, K))
        np.testing.assert_allclose(answer, vesin_answer(name), rtol=0, atol=1e-9)
        measure(
            lambda: peers.nearest_graphs(builder, cells, K),
            group=self.group(name),
            role="matscipy",
            items=len(cells),
            unit="crystals/s",
            threads=1,
        )

    def test_pymatgen(self, name: str, measure: Measure) -> None:
        structures = peers.pymatgen_structures(data.cells(data.crystals(name, DATASETS[name])))
        answer = sorted_distances(peers.pymatgen_nearest(structures, CUTOFF, K))
        np.testing.assert_allclose(answer, vesin_answer(name), rtol=0, atol=1e-6)
        measure(
            lambda: peers.pymatgen_nearest(structures, CUTOFF, K),
            group=self.group(name),
            role="pymatgen",
            items=len(structures),
            unit="crystals/s",
            threads=1,
        )

    def test_2018_code(self, name: str, measure: Measure) -> None:
        cells = data.cells(data.crystals(name, DATASETS[name]))[:: DATASETS[name] // SAMPLES_2018[name]]
        structures = peers.pymatgen_structures(cells)
        answer = sorted_distances(peers.cgcnn_2018_nearest(structures, CUTOFF, K))
        expected = sorted_distances(peers.nearest_graphs(peers.vesin(CUTOFF, 1), cells, K))
        np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-6)
        measure(
            lambda: peers.cgcnn_2018_nearest(structures, CUTOFF, K),
            group=self.group(name),
            role="2018 code",
            items=len(cells),
            unit="crystals/s",
            threads=1,
            max_rounds=3,
        )


class TestFullLists:
    """Every neighbour inside 8 Å, with shifts and distances."""

    group = "full 8 Å lists, mp_cgcnn_36k"
    rows = 1000

    def test_cgfast(self, threads: int, measure: Measure) -> None:
        import cgfast

        batch = data.crystals("mp_cgcnn_36k", self.rows)
        spec = cgfast.GraphSpec(cutoff=CUTOFF, max_neighbors=None)
        graph = cgfast.build_graphs(batch, spec, threads=threads)
        builder = peers.vesin(CUTOFF, 1)
        lists = [builder(cell) for cell in data.cells(batch)]
        counts = [
            np.bincount(e.target.astype(np.int64), minlength=n) for e, n in zip(lists, np.diff(batch.graph_ptr), strict=True)
        ]
        np.testing.assert_array_equal(np.diff(graph.row_ptr), np.concatenate(counts))
        total = sum(float(edges.distances.sum()) for edges in lists)
        assert graph.distances.sum() == pytest.approx(total, rel=1e-12)
        measure(
            lambda: cgfast.build_graphs(batch, spec, threads=threads),
            group=self.group,
            role="cgfast",
            items=len(graph.distances),
            unit="pairs/s",
            threads=threads,
        )

    def test_vesin(self, threads: int, measure: Measure) -> None:
        cells = data.cells(data.crystals("mp_cgcnn_36k", self.rows))
        builder = peers.vesin(CUTOFF, threads)
        n_pairs = sum(len(builder(cell).distances) for cell in cells)
        measure(
            lambda: [builder(cell) for cell in cells],
            group=self.group,
            role="vesin",
            items=n_pairs,
            unit="pairs/s",
            threads=threads,
        )


class TestOneLargeCell:
    """One disordered silicon cell: does the time per atom stay the same from 1,000 to 1,000,000 atoms?"""

    @staticmethod
    def group(size: int) -> str:
        return f"one cell of {size:,} atoms, all pairs inside 6 Å"

    @pytest.mark.parametrize("size", SIZES)
    def test_cgfast(self, size: int, threads: int, measure: Measure) -> None:
        import cgfast

        cell = data.silicon(SIZES[size])
        found = cgfast.neighbor_list(cell.positions, cell.cell, True, LARGE_CUTOFF, threads=threads)
        expected = peers.vesin(LARGE_CUTOFF, threads)(cell)
        counts = np.bincount(expected.target.astype(np.int64), minlength=len(cell.positions))
        np.testing.assert_array_equal(np.diff(found.row_ptr), counts)
        assert found.distances.sum() == pytest.approx(expected.distances.sum(), rel=1e-12)
        del found, expected
        measure(
            lambda: cgfast.neighbor_list(cell.positions, cell.cell, True, LARGE_CUTOFF, threads=threads),
            group=self.group(size),
            role="cgfast",
            items=len(cell.positions),
            unit="ns/atom",
            threads=threads,
        )

    @pytest.mark.parametrize("size", SIZES)
    def test_vesin(self, size: int, threads: int, measure: Measure) -> None:
        cell = data.silicon(SIZES[size])
        builder = peers.vesin(LARGE_CUTOFF, threads)
        measure(
            lambda: builder(cell),
            group=self.group(size),
            role="vesin",
            items=len(cell.positions),
            unit="ns/atom",
            threads=threads,
        )


class TestOneCrystalPerCall:
    """One small crystal in one call, as a dynamics loop asks: the cost of a call is all there is."""

    group = "one 5-atom perovskite per call, all pairs inside 6 Å"

    def test_cgfast(self, measure: Measure) -> None:
        import cgfast

        cell = data.cells(data.crystals("perov5", 1))[0]
        found = cgfast.neighbor_list(cell.positions, cell.cell, True, LARGE_CUTOFF, threads=1)
        expected = peers.vesin(LARGE_CUTOFF, 1)(cell)
        assert found.distances.sum() == pytest.approx(expected.distances.sum(), rel=1e-12)
        measure(
            lambda: cgfast.neighbor_list(cell.positions, cell.cell, True, LARGE_CUTOFF, threads=1),
            group=self.group,
            role="cgfast",
            items=1,
            unit="calls/s",
            threads=1,
        )

    @pytest.mark.parametrize("peer", ["vesin", "matscipy"])
    def test_peer(self, peer: str, measure: Measure) -> None:
        cell = data.cells(data.crystals("perov5", 1))[0]
        builder = peers.vesin(LARGE_CUTOFF, 1) if peer == "vesin" else peers.matscipy(LARGE_CUTOFF)
        measure(lambda: builder(cell), group=self.group, role=peer, items=1, unit="calls/s", threads=1)
