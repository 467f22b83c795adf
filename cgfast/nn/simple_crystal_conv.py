"""The first, ungated convolution of the 2018 paper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import embedding_bag, softplus

from cgfast import ops
from cgfast.checks import FLOATS, check_pointers, check_range
from cgfast.functional import sort_edges
from cgfast.graph import split_by_atoms
from cgfast.reference import SOFTPLUS_THRESHOLD, rows_to_targets, sum_rows

if TYPE_CHECKING:
    from torch import Tensor

    from cgfast.basis import GaussianBasis
    from cgfast.graph import CrystalGraph

# Edges whose Gaussians are expanded at a time: 41 float64 of them stay inside a processor's caches.
CHUNK_EDGES = 8192


class SimpleCrystalConv(nn.Module):
    """x_i' = softplus((sum_e x_j (+) u_e) W_c + x_i W_s + b): Xie & Grossman 2018, PRL 120, 145301, Eq. 4.

    The sum is over the edges e of atom i, j is the source of e, u_e its features and (+) concatenates. All neighbours share
    one weight whatever their distance, and nothing is normalised: the sum grows with the number of neighbours.

    channels: F, features per atom. edge_channels: K, features per edge. Parameters: lin_neighbors (W_c), lin_self (W_s, b).

    The product with W_c is linear, so it comes after the sum: once per atom, and no tensor of E x F is made (but for the
    gradient of edge_weight). The sums have the same bits on every run and thread count; the matrix products are torch's.
    Gradients reach parameters, x, edge_attr, edge_weight and distances, to any order.

    Raises ValueError for channels or edge_channels below 1.
    """

    def __init__(self, channels: int, edge_channels: int) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("edge_channels", edge_channels)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                msg = f"{name} must be a whole number of at least 1, got {value!r}"
                raise ValueError(msg)
        self.channels = channels
        self.edge_channels = edge_channels
        self.lin_neighbors = nn.Linear(channels + edge_channels, channels, bias=False)
        self.lin_self = nn.Linear(channels, channels)

    def reset_parameters(self) -> None:
        """Draw the weights anew, as torch.nn.Linear does."""
        self.lin_neighbors.reset_parameters()
        self.lin_self.reset_parameters()

    def forward(
        self, x: Tensor, graph: CrystalGraph, *, edge_attr: Tensor | None = None, basis: GaussianBasis | None = None
    ) -> Tensor:
        """(N, F) -> (N, F). Edge features: edge_attr (E, K), or basis for Gaussians of graph.distances.

        Messages count by graph.edge_weight where there is one. Raises ValueError unless exactly one of edge_attr and basis
        is given, and for shapes that do not fit, a basis without K centres and a basis without distances.
        """
        graph = graph.torch()
        if x.shape != (graph.n_atoms, self.channels):
            msg = f"x must have shape (N, F) = {(graph.n_atoms, self.channels)}, got {tuple(x.shape)}"
            raise ValueError(msg)
        features = self._edge_features(graph, edge_attr, basis)
        neighbors = neighbor_sum(x, graph.source, graph.row_ptr, graph.edge_weight)
        edges = _edge_sum(features, basis, graph.row_ptr, graph.edge_weight, x.dtype)
        y = self.lin_neighbors(torch.cat([neighbors, edges], dim=1)) + self.lin_self(x)
        return softplus(y, threshold=SOFTPLUS_THRESHOLD)

    def _edge_features(self, graph: CrystalGraph, edge_attr: Tensor | None, basis: GaussianBasis | None) -> Tensor:
        """edge_attr, or the distances for `basis` to expand."""
        if (edge_attr is None) == (basis is None):
            msg = "give exactly one of edge_attr and basis, got " + ("none" if basis is None else "both")
            raise ValueError(msg)
        if basis is not None and basis.n_centres != self.edge_channels:
            msg = f"basis must have edge_channels = {self.edge_channels} centres, got {basis.n_centres}"
            raise ValueError(msg)
        features: Tensor | None = graph.distances if edge_attr is None else edge_attr
        if features is None:
            msg = "graph must have distances for a basis to expand, got a graph without"
            raise ValueError(msg)
        wanted = (graph.n_edges,) if edge_attr is None else (graph.n_edges, self.edge_channels)
        if features.shape != wanted:
            msg = f"{'distances' if edge_attr is None else 'edge_attr'} must have shape {wanted}, got {tuple(features.shape)}"
            raise ValueError(msg)
        return features


def neighbor_sum(x: Tensor, source: Tensor, row_ptr: Tensor, edge_weight: Tensor | None = None) -> Tensor:
    """out_i = sum over the edges e of row i of w_e x_source(e), without a row per edge; (N, C) in x's dtype.

    x: (M, C). source: (E,) int64. row_ptr: (N + 1,) int64. edge_weight: (E,), default ones. float16 and bfloat16 add up in
    float32. Differentiable in x and edge_weight to any order. Same bits on every run and thread count. Raises ValueError for
    sources that do not exist and a row_ptr that does not begin with 0, rise and end with E.
    """
    check_pointers(row_ptr, "row_ptr", len(source), "edges")
    check_range(source, "source", len(x))
    dtype = x.dtype if x.dtype in FLOATS else torch.float32
    weight = x.new_ones(len(source), dtype=dtype) if edge_weight is None else edge_weight.to(dtype)
    if torch.compiler.is_compiling():  # a compiler fuses the gather into the sum by itself
        return sum_rows(x.to(dtype).index_select(0, source), row_ptr, weight).to(x.dtype)
    return _sum(x.to(dtype), weight, source, row_ptr).to(x.dtype)


def _sum(x: Tensor, weight: Tensor, source: Tensor, row_ptr: Tensor) -> Tensor:
    out: Tensor = _NeighborSum.apply(x, weight, source, row_ptr)  # type: ignore[no-untyped-call]
    return out


class _NeighborSum(torch.autograd.Function):
    """Linear in x and in the weights: its derivatives are sums of the same kind, over the reversed edges."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, source: Tensor, row_ptr: Tensor) -> Tensor:
        return embedding_bag(source, x, row_ptr, mode="sum", per_sample_weights=weight, include_last_offset=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ANN401, ARG004 - torch's
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - torch's
        x, weight, source, row_ptr = ctx.saved_tensors
        target = rows_to_targets(row_ptr, len(source))
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            reverse, column_ptr, order = sort_edges(torch.stack([target, source]), len(x))
            grad_x = _sum(grad, weight.index_select(0, order), reverse, column_ptr)
        if ctx.needs_input_grad[1]:
            grad_weight = (grad.index_select(0, target) * x.index_select(0, source)).sum(1)
        return grad_x, grad_weight, None, None

    @staticmethod
    def jvp(ctx: Any, x_tangent: Tensor | None, weight_tangent: Tensor | None, *_: None) -> Tensor:  # noqa: ANN401 - torch's
        x, weight, source, row_ptr = ctx.saved_tensors
        out: Tensor = x.new_zeros(len(row_ptr) - 1, x.shape[1])
        if x_tangent is not None:
            out = out + _sum(x_tangent, weight, source, row_ptr)
        if weight_tangent is not None:
            out = out + _sum(x, weight_tangent, source, row_ptr)
        return out


def _edge_sum(
    features: Tensor, basis: GaussianBasis | None, row_ptr: Tensor, edge_weight: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """(N, K): the weighted sum of edge features, or of the Gaussians of distances, over the edges of each row."""
    if basis is None:
        return _row_sum(features.to(dtype), row_ptr, edge_weight)
    wanted = [t for t in (features, edge_weight) if t is not None]
    if len(features) <= CHUNK_EDGES or torch.compiler.is_compiling() or ops.wants_gradient(*wanted):
        return _row_sum(basis(features).to(dtype), row_ptr, edge_weight)
    # No gradient passes here, as in training on fixed distances: a few rows of Gaussians at a time do.
    sums = []
    pointers = row_ptr.cpu().numpy()
    for rows in split_by_atoms(pointers, CHUNK_EDGES):
        edges = slice(int(pointers[rows.start]), int(pointers[rows.stop]))
        weight = None if edge_weight is None else edge_weight[edges]
        pointer = row_ptr[rows.start : rows.stop + 1] - edges.start
        sums.append(_row_sum(basis(features[edges]).to(dtype), pointer, weight))
    return torch.cat(sums)


def _row_sum(values: Tensor, row_ptr: Tensor, edge_weight: Tensor | None) -> Tensor:
    return neighbor_sum(values, torch.arange(len(values), device=values.device), row_ptr, edge_weight)
