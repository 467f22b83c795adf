"""One convolution in every code, with the same weights on the same real crystals, and the two ways to run it.

A `Batch` is a graph of a wanted size with what a layer reads. A builder turns a batch into a `Layer`: a call
on node features and the parameters that want gradients. `forward` and `forward_backward` are what is timed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from benchmarks import data

if TYPE_CHECKING:
    import torch

    from cgfast.graph import CrystalGraph

TABLE = "mp_cgcnn_36k"
K = 41  # Gaussians, 0 to 8 Å
TINY = 1e-30  # Gaussians below are denormals in float32, or their products are
TOO_LARGE = 6e9  # bytes
TOLERANCE = {"float32": 5e-5, "float64": 1e-9}


class Point(NamedTuple):
    """How large a layer to measure: about 12 * atoms edges."""

    atoms: int
    channels: int = 64
    dtype: str = "float32"

    def __str__(self) -> str:
        return f"{12 * self.atoms}-edges-F{self.channels}-{self.dtype}"

    @property
    def peer_bytes(self) -> float:
        """What PyTorch Geometric's step holds at its peak, about: three tensors of E x (2F + K) and one of E x F."""
        return 12 * self.atoms * (7 * self.channels + 3 * K) * (4 if self.dtype == "float32" else 8)


@dataclass(frozen=True, slots=True)
class Batch:
    """Crystals as the layers want them."""

    graph: CrystalGraph  # torch; 12 edges to every atom
    x: torch.Tensor  # (N, F)
    edge_attr: torch.Tensor  # (E, K), Gaussians of the distances, denormals and all
    gradient: torch.Tensor  # (N, F), what comes down from the loss

    @property
    def edge_index(self) -> torch.Tensor:
        index: torch.Tensor = self.graph.edge_index
        return index

    @property
    def fair(self) -> Batch:
        """The same batch with every Gaussian below 1e-30 set to zero."""
        return replace(self, edge_attr=self.edge_attr.masked_fill(self.edge_attr < TINY, 0.0))


class Layer(NamedTuple):
    """A layer ready to run: forward(x), and its parameters in the order of their names."""

    forward: Callable[[torch.Tensor], torch.Tensor]
    parameters: Sequence[torch.Tensor]


Builder = Callable[[Batch], Layer]
Pass = Callable[[Layer, Batch], tuple["torch.Tensor", ...]]


@functools.lru_cache(maxsize=2)
def batch_of(point: Point) -> Batch:
    """Real crystals until there are `point.atoms` atoms."""
    import torch

    import cgfast

    rows = 1000 if point.atoms < 20_000 else 4000
    crystals = data.crystals(TABLE, rows)
    last = int(np.searchsorted(crystals.graph_ptr, point.atoms))
    graph = cgfast.build_graphs(crystals[: max(last, 1)], cgfast.GraphSpec(missing="pad-2018")).torch()
    dtype = getattr(torch, point.dtype)
    generator = torch.Generator().manual_seed(0)
    x, gradient = torch.randn(2, graph.n_atoms, point.channels, generator=generator).to(dtype)
    return Batch(graph, x.contiguous(), gaussians(graph.distances.to(dtype)), gradient.contiguous())


def gaussians(distances: torch.Tensor) -> torch.Tensor:
    """(E,) Å to (E, K), as users of the peers write it: far Gaussians are denormals."""
    import torch

    centres = torch.arange(K, dtype=distances.dtype) * 0.2
    return torch.exp(-(((distances[:, None] - centres) / 0.2) ** 2))


def pyg_layer(batch: Batch) -> Any:
    """PyTorch Geometric's layer; its weights are everybody's weights."""
    import torch

    geometric = pytest.importorskip("torch_geometric.nn", reason="the peer torch-geometric is not installed")
    torch.manual_seed(0)
    return geometric.CGConv(batch.x.shape[1], dim=K).to(batch.x.dtype)


def pyg(batch: Batch) -> Layer:
    """PyTorch Geometric's CGConv."""
    module = pyg_layer(batch)
    return _layer(module, lambda x: module(x, batch.edge_index, batch.edge_attr))


def pyg_compiled(batch: Batch) -> Layer:
    """The same, compiled for this shape; the first call compiles."""
    import torch

    torch.compiler.reset()
    module = pyg_layer(batch)
    compiled: Callable[..., torch.Tensor] = torch.compile(module, dynamic=False)
    return _layer(module, lambda x: compiled(x, batch.edge_index, batch.edge_attr))


def cgfast_distances(batch: Batch) -> Layer:
    """Ours, on a CrystalGraph and its distances."""
    import cgfast.nn

    module, basis = cgfast_layer(batch), cgfast.nn.GaussianBasis()
    return _layer(module, lambda x: module(x, batch.graph, basis=basis))


def cgfast_edge_distances(batch: Batch) -> Layer:
    """Ours, on edges in any order and their distances."""
    import cgfast.nn

    module, basis, distances = cgfast_layer(batch), cgfast.nn.GaussianBasis(), batch.graph.distances
    return _layer(module, lambda x: module(x, batch.edge_index, distances=distances, basis=basis))


def cgfast_dense(batch: Batch) -> Layer:
    """Ours, called as PyTorch Geometric's layer is."""
    module = cgfast_layer(batch)
    return _layer(module, lambda x: module(x, batch.edge_index, batch.edge_attr))


def cgfast_layer(batch: Batch) -> Any:
    """Our CGConv with PyTorch Geometric's weights."""
    from cgfast.nn.cg_conv import CGConv

    module = CGConv(batch.x.shape[1], dim=K).to(batch.x.dtype)
    module.load_state_dict(pyg_layer(batch).state_dict())
    return module


def plain_pytorch(batch: Batch) -> Layer:
    """Split weights without a kernel of our own: what arithmetic alone brings."""
    import torch

    from cgfast.reference import gated_message

    module, channels, graph = pyg_layer(batch), batch.x.shape[1], batch.graph

    def forward(x: torch.Tensor) -> torch.Tensor:
        weight = torch.cat([module.lin_f.weight, module.lin_s.weight])  # (2F, 2F + K), rows are [gate | core]
        bias = torch.cat([module.lin_f.bias, module.lin_s.bias])
        p = torch.nn.functional.linear(x, weight[:, :channels], bias)
        q = torch.nn.functional.linear(x, weight[:, channels : 2 * channels])
        on_edge = weight[:, 2 * channels :].T
        return x + gated_message(p, q, graph.source, graph.row_ptr, edge_attr=batch.edge_attr, weight=on_edge)

    return _layer(module, forward)


def conv_2018(batch: Batch) -> Layer:
    """The 2018 code's ConvLayer in training, from its present package."""
    import torch

    network = pytest.importorskip("cgcnn2.model", reason="the peer cgcnn2 is not installed")
    torch.manual_seed(0)
    module = network.ConvLayer(batch.x.shape[1], K).to(batch.x.dtype)
    n_atoms = batch.graph.n_atoms
    source, edge_attr = batch.graph.source.view(n_atoms, -1), batch.edge_attr.view(n_atoms, -1, K)
    return _layer(module, lambda x: module(x, edge_attr, source))


def cgfast_2018(batch: Batch) -> Layer:
    """Our layer of the 2018 code in training, on distances."""
    import torch

    import cgfast.nn

    torch.manual_seed(0)  # and the same initialisation
    module, basis = cgfast.nn.CrystalGraphConv(batch.x.shape[1], K).to(batch.x.dtype), cgfast.nn.GaussianBasis()
    return _layer(module, lambda x: module(x, batch.graph, basis=basis))


def _layer(module: torch.nn.Module, forward: Callable[[torch.Tensor], torch.Tensor]) -> Layer:
    return Layer(forward, [parameter for _, parameter in sorted(module.named_parameters())])


def forward(layer: Layer, batch: Batch) -> tuple[torch.Tensor, ...]:
    """The output alone, no gradients wanted."""
    import torch

    with torch.inference_mode():
        return (layer.forward(batch.x),)


def forward_backward(layer: Layer, batch: Batch) -> tuple[torch.Tensor, ...]:
    """The output, then gradients of <gradient, output> to x and to every parameter."""
    import torch

    x = batch.x.detach().requires_grad_()
    out = layer.forward(x)
    return (out.detach(), *torch.autograd.grad(out, [x, *layer.parameters], batch.gradient))


PASSES: dict[str, Pass] = {"forward": forward, "forward + backward": forward_backward}


@functools.lru_cache(maxsize=2)
def expected(builder: Builder, point: Point, work: str) -> tuple[torch.Tensor, ...]:
    """What a peer answers, without denormals in its input."""
    batch = batch_of(point).fair
    return PASSES[work](builder(batch), batch)


def check(found: tuple[torch.Tensor, ...], right: tuple[torch.Tensor, ...]) -> None:
    """Equal to rounding: largest difference over largest value, tensor by tensor.

    A gradient that cancels (that of a bias before a BatchNorm is zero but for rounding) is held against a
    quarter of the largest gradient of a parameter.
    """
    assert len(found) == len(right)
    tolerance = TOLERANCE[str(right[0].dtype).removeprefix("torch.")]
    sizes = [float(tensor.abs().max()) for tensor in right]
    for number, (ours, theirs) in enumerate(zip(found, right, strict=True)):
        size = sizes[number] if number < 2 else max(sizes[number], 0.25 * max(sizes[2:]))
        error = float((ours - theirs).abs().max())
        assert ours.dtype == theirs.dtype
        assert error <= tolerance * size, f"tensor {number} is off by {error:.3g}, its largest value is {size:.3g}"


def skip_if_too_large(point: Point) -> None:
    """Nobody is measured where a peer would need more memory than most machines can spare."""
    if point.peer_bytes > TOO_LARGE:
        pytest.skip(f"{point}: PyTorch Geometric needs about {point.peer_bytes / 1e9:.0f} GB, we stop at {TOO_LARGE / 1e9:.0f}")
