"""One convolution, forward and forward with backward, from one small crystal to a million edges.

The whole layer is timed on every side, node matrix products included, with the same weights on the 12 nearest
neighbours of real crystals. "as run" is what users get. "fair" means `torch.set_flush_denormal(True)`, and,
since that call reaches only the calling thread, Gaussians below 1e-30 are zeros already in what the peer is
handed: far Gaussians are denormal numbers on nearly every edge, and some processors multiply those tens of
times slower.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import layers, memory
from benchmarks.layers import Point

if TYPE_CHECKING:
    from benchmarks.conftest import Measure

SMALL, LARGE = 5, 7250  # atoms; times 12 neighbours: 60 and 87,000 edges
SIZES = (SMALL, 84, 840, LARGE)
CORE = [Point(atoms, channels) for channels in (64, 128) for atoms in SIZES]
BEYOND = [Point(LARGE, 256), Point(LARGE, 64, "float64"), Point(83_400, 64)]
HEADLINE = Point(LARGE)  # the size we quote, and whose memory is measured
BUDGET, PATIENCE = 0.4, 4.0  # seconds for the rounds of one benchmark; what three rounds may take

fair_only = pytest.mark.parametrize("setting", ["fair"], indirect=True)
every_pass = pytest.mark.parametrize("work", layers.PASSES)


class Contest:
    """Contenders for one layer: what they share is on the class, the peer that defines the answer included."""

    model: str
    oracle: layers.Builder

    def time(
        self,
        measure: Measure,
        role: str,
        builder: layers.Builder,
        point: Point,
        work: str,
        threads: int,
        *,
        fair: bool = False,
        compiles: bool = False,
        **notes: object,
    ) -> None:
        """Check one contender against the oracle and time it; one that compiles does so before."""
        layers.skip_if_too_large(point)
        batch = layers.batch_of(point)
        batch = batch.fair if fair else batch
        layer, run = builder(batch), layers.PASSES[work]
        right = layers.expected(self.oracle, point, work)
        if compiles:
            run(layer, batch)
        graph = batch.graph
        dtype = "" if point.dtype == "float32" else f", {point.dtype}"
        measure(
            lambda: run(layer, batch),
            check=lambda found: layers.check(found, right),
            group=f"{self.model}, {work}, {graph.n_edges:,} edges, F {point.channels}{dtype}",
            role=role,
            items=graph.n_edges,
            unit="ns/edge",
            threads=threads,
            budget=BUDGET,
            patience=PATIENCE,
            layer={
                "model": self.model,
                "work": work,
                "edges": graph.n_edges,
                "atoms": graph.n_atoms,
                "channels": point.channels,
                "dtype": point.dtype,
                "core": point in CORE,
                "headline": point.channels == 64 and point.atoms in (SMALL, LARGE) and point in CORE,
            },
            **notes,
        )

    @staticmethod
    def memory(role: str, point: Point, work: str, threads: int) -> dict[str, Any]:
        """Peak memory of a step above its inputs, for the one size and thread count where it is shown."""
        if (point, work, threads) != (HEADLINE, "forward + backward", 1):
            return {}
        peak = memory.peak_above_inputs(role, point)
        return {} if peak is None else {"peak_MB": round(peak / 1e6, 1)}


@every_pass
@pytest.mark.parametrize("point", CORE + BEYOND, ids=str)
class TestCGConv(Contest):
    """PyTorch Geometric's CGConv."""

    model = "CGConv"
    oracle = staticmethod(layers.pyg)

    @pytest.mark.parametrize("form", ["distances", "dense"])
    def test_cgfast(self, point: Point, work: str, form: str, threads: int, measure: Measure) -> None:
        builder = layers.cgfast_distances if form == "distances" else layers.cgfast_dense
        role = "cgfast" if form == "distances" else "cgfast, edge_attr given"
        self.time(measure, role, builder, point, work, threads, **self.memory(builder.__name__, point, work, threads))

    def test_pyg(self, point: Point, work: str, setting: str, threads: int, measure: Measure) -> None:
        fair = setting == "fair"
        notes = self.memory("pyg", point, work, threads) if fair else {}
        self.time(measure, f"PyG CGConv, {setting}", layers.pyg, point, work, threads, fair=fair, **notes)

    @fair_only
    def test_pyg_compiled(self, point: Point, work: str, setting: str, threads: int, measure: Measure) -> None:
        """torch.compile for this very shape; compilation is not in the time."""
        if shutil.which("c++") is None and shutil.which("g++") is None:
            pytest.skip("torch.compile needs a C++ compiler on the path")
        if point in BEYOND:
            pytest.skip("PyG compiled is measured on the grid only: every shape is compiled anew")
        role = f"PyG CGConv compiled, {setting}"
        notes = self.memory("pyg_compiled", point, work, threads)
        self.time(measure, role, layers.pyg_compiled, point, work, threads, fair=True, compiles=True, **notes)

    @fair_only
    def test_plain_pytorch(self, point: Point, work: str, setting: str, threads: int, measure: Measure) -> None:
        notes = self.memory("plain_pytorch", point, work, threads)
        role = f"plain PyTorch split weights, {setting}"
        self.time(measure, role, layers.plain_pytorch, point, work, threads, fair=True, **notes)


@every_pass
@pytest.mark.parametrize("point", [Point(atoms) for atoms in SIZES], ids=str)
class TestLayer2018(Contest):
    """The 2018 code's ConvLayer in training: batch statistics over the edges, before the gate."""

    model = "2018 layer in training"
    oracle = staticmethod(layers.conv_2018)

    def test_cgfast(self, point: Point, work: str, threads: int, measure: Measure) -> None:
        self.time(measure, "cgfast", layers.cgfast_2018, point, work, threads)

    def test_2018_code(self, point: Point, work: str, setting: str, threads: int, measure: Measure) -> None:
        self.time(measure, f"2018 code, {setting}", layers.conv_2018, point, work, threads, fair=setting == "fair")


@every_pass
class TestEdgeOrder:
    """The same 87,000 edges in random order: what sorting them in every call costs."""

    def time(
        self, measure: Measure, role: str, builder: layers.Builder, work: str, threads: int, *, shuffled: bool, fair: bool
    ) -> None:
        batch = layers.batch_of(HEADLINE)
        batch = batch.fair if fair else batch
        right = layers.expected(layers.pyg, HEADLINE, work)
        batch = shuffle(batch) if shuffled else batch
        layer, run = builder(batch), layers.PASSES[work]
        measure(
            lambda: run(layer, batch),
            check=lambda found: layers.check(found, right),
            group=f"CGConv, {work}, {batch.graph.n_edges:,} edges in random order, F {HEADLINE.channels}",
            role=role,
            items=batch.graph.n_edges,
            unit="ns/edge",
            threads=threads,
            budget=BUDGET,
            patience=PATIENCE,
        )

    @pytest.mark.parametrize("shuffled", [True, False], ids=["shuffled", "sorted"])
    def test_cgfast(self, work: str, shuffled: bool, threads: int, measure: Measure) -> None:
        role = "cgfast" if shuffled else "cgfast, edges sorted before"
        self.time(measure, role, layers.cgfast_edge_distances, work, threads, shuffled=shuffled, fair=False)

    @fair_only
    def test_pyg(self, work: str, setting: str, threads: int, measure: Measure) -> None:
        self.time(measure, f"PyG CGConv, {setting}", layers.pyg, work, threads, shuffled=True, fair=True)


class TestSortEdges:
    """Sorting alone: random edges into rows by target, stably, with the order that does it."""

    @pytest.mark.parametrize("who", ["cgfast", "torch.sort, torch.bincount"])
    def test_sort(self, who: str, threads: int, measure: Measure) -> None:
        import torch

        from cgfast import functional, reference

        graph = shuffle(layers.batch_of(HEADLINE)).graph
        right = reference.sort_edges(graph.edge_index, graph.n_atoms)

        def check(found: Any) -> None:
            for ours, theirs in zip(found, right, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=0, atol=0)

        sort = functional.sort_edges if who == "cgfast" else reference.sort_edges
        measure(
            lambda: sort(graph.edge_index, graph.n_atoms),
            check=check,
            group=f"sorting {graph.n_edges:,} edges in random order",
            role=who,
            items=graph.n_edges,
            unit="ns/edge",
            threads=threads,
            budget=BUDGET,
        )


def shuffle(batch: layers.Batch) -> layers.Batch:
    """The same crystals with their edges in random order."""
    import torch

    order = torch.randperm(batch.graph.n_edges, generator=torch.Generator().manual_seed(1))
    graph = replace(batch.graph, edge_index=batch.edge_index[:, order].contiguous(), distances=batch.graph.distances[order])
    return replace(batch, graph=graph, edge_attr=batch.edge_attr[order])
