"""One CGConv layer forward: PyTorch Geometric's layer, a plain PyTorch one, and ours, with the same weights.

The whole layer is timed on every side, node matrix products included. Graphs are the 12 nearest neighbours of
real crystals. "as run" is what users get. "fair" means `torch.set_flush_denormal(True)`, and, since that
call may reach only the calling thread, Gaussians below 1e-30 are zeros already in what the peer is handed:
far Gaussians are denormal numbers on nearly every edge, and some processors multiply those tens of times
slower.
"""

from __future__ import annotations

import functools
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from benchmarks import data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

    from benchmarks.conftest import Measure

F, K = 64, 41
N_ATOMS = 7250  # times 12 neighbours: 87,000 edges
TINY = 1e-30


class Batch(NamedTuple):
    """A batch of crystals as the layers want it."""

    x: torch.Tensor  # (N, F)
    edge_index: torch.Tensor  # (2, E): source, target
    row_ptr: torch.Tensor  # (N+1,)
    distances: torch.Tensor  # (E,) Å
    edge_attr: torch.Tensor  # (E, K), Gaussians of the distances with their denormals

    @property
    def source(self) -> torch.Tensor:
        return self.edge_index[0].contiguous()


@functools.lru_cache(maxsize=2)
def batch_of(n_atoms: int) -> Batch:
    import torch

    import cgfast

    crystals = data.crystals("mp_cgcnn_36k", 1000)
    last = int(np.searchsorted(crystals.graph_ptr, n_atoms))
    graph = cgfast.build_graphs(crystals[: max(last, 1)], cgfast.GraphSpec())
    distances = torch.from_numpy(np.asarray(graph.distances)).float()
    centres = torch.arange(K) * 0.2
    edge_attr = torch.exp(-(((distances[:, None] - centres) / 0.2) ** 2))
    generator = torch.Generator().manual_seed(0)
    return Batch(
        torch.randn(len(graph.row_ptr) - 1, F, generator=generator),
        torch.from_numpy(np.asarray(graph.edge_index)),
        torch.from_numpy(np.asarray(graph.row_ptr)),
        distances,
        edge_attr,
    )


@functools.lru_cache(maxsize=1)
def layer() -> Any:
    """PyTorch Geometric's layer; its weights are everybody's weights."""
    import torch

    geometric = pytest.importorskip("torch_geometric.nn", reason="the peer torch-geometric is not installed")
    torch.manual_seed(0)
    return geometric.CGConv(F, dim=K).eval()


def split_weights() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """lin_f and lin_s, cut into what acts on target, source and edge; columns are [gate | core]."""
    import torch

    weight = torch.cat([layer().lin_f.weight, layer().lin_s.weight])  # (2F, 2F + K)
    bias = torch.cat([layer().lin_f.bias, layer().lin_s.bias])
    return weight[:, :F], weight[:, F : 2 * F], weight[:, 2 * F :].T.contiguous(), bias


def through(message: Callable[..., torch.Tensor], batch: Batch, *, dense: bool) -> torch.Tensor:
    """The layer with `message` in its middle: node products, gated sum over edges, residual."""
    import torch

    from cgfast.nn import GaussianBasis

    on_target, on_source, on_edge, bias = split_weights()
    p = torch.nn.functional.linear(batch.x, on_target, bias)
    q = torch.nn.functional.linear(batch.x, on_source)
    edge: dict[str, Any] = (
        {"edge_attr": batch.edge_attr}
        if dense
        else {"distances": batch.distances, "basis": GaussianBasis(start=0, stop=8, step=0.2, width=0.2)}
    )
    return batch.x + message(p, q, batch.source, batch.row_ptr, weight=on_edge, **edge)


@pytest.fixture
def flush_denormals(request: pytest.FixtureRequest) -> Iterator[None]:
    """Denormals flushed for the fair runs, as torch starts for all others; put back afterwards."""
    import torch

    torch.set_flush_denormal(request.param == "fair")
    with torch.inference_mode():
        yield
    torch.set_flush_denormal(False)


def as_run_and_fair(function: Callable[..., None]) -> Callable[..., None]:
    """Run a peer twice, as users run it and with denormals out of the way."""
    mark = pytest.mark.parametrize("flush_denormals", ["as run", "fair"], indirect=True, ids=["as-run", "fair"])
    marked: Callable[..., None] = mark(function)
    return marked


@pytest.mark.parametrize("size", [N_ATOMS, 5], ids=["87k-edges", "one-crystal"])
class TestLayer:
    """A batch of 87,000 edges, and one small crystal, where the overhead of a call decides."""

    @staticmethod
    def group(batch: Batch) -> str:
        return f"CGConv layer forward, {len(batch.distances):,} edges, F {F}, K {K}"

    def check(self, answer: torch.Tensor, batch: Batch) -> None:
        import torch

        with torch.inference_mode():
            expected = layer()(batch.x, batch.edge_index, batch.edge_attr)
        torch.testing.assert_close(answer, expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("dense", [False, True], ids=["distances", "dense"])
    def test_cgfast(self, size: int, dense: bool, threads: int, measure: Measure) -> None:
        import torch

        from cgfast.functional import gated_message

        batch = batch_of(size)
        with torch.inference_mode():
            self.check(through(gated_message, batch, dense=dense), batch)
            measure(
                lambda: through(gated_message, batch, dense=dense),
                group=self.group(batch),
                role="cgfast, edge_attr given" if dense else "cgfast",
                items=len(batch.distances),
                unit="ns/edge",
                threads=threads,
            )

    @as_run_and_fair
    def test_pyg(
        self, size: int, flush_denormals: None, threads: int, measure: Measure, request: pytest.FixtureRequest
    ) -> None:
        del flush_denormals
        batch, setting = prepared(batch_of(size), request)
        self.check(layer()(batch.x, batch.edge_index, batch.edge_attr), batch_of(size))
        measure(
            lambda: layer()(batch.x, batch.edge_index, batch.edge_attr),
            group=self.group(batch),
            role=f"PyG CGConv, {setting}",
            items=len(batch.distances),
            unit="ns/edge",
            threads=threads,
        )

    def test_pyg_compiled(self, size: int, threads: int, measure: Measure) -> None:
        """torch.compile of PyTorch Geometric's layer, fair; compilation is not in the time."""
        import torch

        if shutil.which("c++") is None and shutil.which("g++") is None:
            pytest.skip("torch.compile needs a C++ compiler on the path")
        batch = without_denormals(batch_of(size))
        torch.compiler.reset()
        compiled: Callable[..., Any] = torch.compile(layer(), dynamic=False)
        torch.set_flush_denormal(True)
        try:
            with torch.no_grad():
                self.check(compiled(batch.x, batch.edge_index, batch.edge_attr), batch_of(size))
                measure(
                    lambda: compiled(batch.x, batch.edge_index, batch.edge_attr),
                    group=self.group(batch), role="PyG CGConv compiled, fair",
                    items=len(batch.distances), unit="ns/edge", threads=threads,
                )  # fmt: skip
        finally:
            torch.set_flush_denormal(False)

    @as_run_and_fair
    def test_plain_pytorch(
        self, size: int, flush_denormals: None, threads: int, measure: Measure, request: pytest.FixtureRequest
    ) -> None:
        """Split weights without a kernel of our own: what arithmetic alone brings."""
        from cgfast.reference import gated_message

        del flush_denormals
        batch, setting = prepared(batch_of(size), request)
        self.check(through(gated_message, batch, dense=True), batch_of(size))
        measure(
            lambda: through(gated_message, batch, dense=True),
            group=self.group(batch),
            role=f"plain PyTorch twin, {setting}",
            items=len(batch.distances),
            unit="ns/edge",
            threads=threads,
        )


def prepared(batch: Batch, request: pytest.FixtureRequest) -> tuple[Batch, str]:
    """The batch as the setting wants it, and the setting's name."""
    setting: str = request.node.callspec.params["flush_denormals"]
    return (batch if setting == "as run" else without_denormals(batch)), setting


def without_denormals(batch: Batch) -> Batch:
    """The same batch with every Gaussian below 1e-30 set to zero."""
    import torch

    return batch._replace(edge_attr=torch.where(batch.edge_attr < TINY, torch.zeros(()), batch.edge_attr))
