"""PyTorch Geometric's crystal graph convolution, fused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from cgfast.basis import GaussianBasis
from cgfast.checks import is_autocast
from cgfast.graph import CrystalGraph
from cgfast.nn.aggregation import aggregate_messages, sum_messages
from cgfast.nn.edge_rows import FLOWS, edge_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

AGGREGATIONS = ("add", "sum", "mean", "max")


class CGConv(nn.Module):
    """torch_geometric.nn.CGConv without edge-sized tensors (Xie & Grossman 2018, PRL 120, 145301, Eq. 5).

    x_i' = x_i + bn(aggr over the edges j -> i of sigmoid(z_ij W_f + b_f) * softplus(z_ij W_s + b_s)), z_ij = [x_i, x_j, e_ij].
    Parameters, their names, their values for a seed and state dicts are PyG's, which need not be installed.

    channels: F, or (F_source, F_target) for bipartite graphs. dim: K, features per edge. aggr: "add" or "sum", "mean"
    (atoms without edges get 0), "max" (0 for them too; it holds the messages of all edges, 3F numbers each, and loses much of
    the speed). batch_norm: a BatchNorm1d on what was aggregated. bias: whether lin_f and lin_s have one. flow:
    "target_to_source" swaps the rows of edge_index. node_dim: -2 or 0, the same here. decomposed_layers, aggr_kwargs: as in
    PyG, where 1 and None are what this layer can do. basis: a GaussianBasis of `dim` centres to expand distances with.

    Raises TypeError for an option of PyG's MessagePassing that this layer has not (an aggr that is no string, another
    node_dim, decomposed_layers or aggr_kwargs), ValueError for an unknown aggr or flow, counts that are no whole numbers, and
    a basis that does not have `dim` centres.
    """

    bn: nn.BatchNorm1d | None

    def __init__(
        self,
        channels: int | tuple[int, int],
        dim: int = 0,
        aggr: str = "add",
        batch_norm: bool = False,  # noqa: FBT001, FBT002 - PyG's signature
        bias: bool = True,  # noqa: FBT001, FBT002 - PyG's signature
        *,
        flow: str = "source_to_target",
        node_dim: int = -2,
        decomposed_layers: int = 1,
        aggr_kwargs: Mapping[str, Any] | None = None,
        basis: GaussianBasis | None = None,
    ) -> None:
        super().__init__()
        check_options(aggr, flow, node_dim, decomposed_layers, aggr_kwargs)
        n_source, n_target = _checked_channels(channels)
        if isinstance(dim, bool) or not isinstance(dim, int) or dim < 0:
            msg = f"dim must be a whole number of at least 0, got {dim!r}"
            raise ValueError(msg)
        if basis is not None:
            _check_basis(basis, dim)
        self.channels = channels
        self.dim = dim
        self.aggr = aggr
        self.batch_norm = batch_norm
        self.flow = flow
        self.node_dim = node_dim
        self.decomposed_layers = decomposed_layers
        self.basis = basis
        self.lin_f = nn.Linear(n_source + n_target + dim, n_target, bias=bias)
        self.lin_s = nn.Linear(n_source + n_target + dim, n_target, bias=bias)
        self.bn = nn.BatchNorm1d(n_target) if batch_norm else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew, as PyG does and in its order."""
        self.lin_f.reset_parameters()
        self.lin_s.reset_parameters()
        if self.bn is not None:
            self.bn.reset_parameters()

    def forward(
        self,
        x: Tensor | Sequence[Tensor],
        edge_index: Tensor | CrystalGraph,
        edge_attr: Tensor | None = None,
        *,
        distances: Tensor | None = None,
        basis: GaussianBasis | None = None,
        edge_weight: Tensor | None = None,
    ) -> Tensor:
        """(N, F) -> (N, F), or ((N_source, F_source), (N_target, F_target)) -> (N_target, F_target).

        edge_index: (2, E) integers, rows (source, target), in any order, with repeated edges and self loops as they come; or
        a coalesced torch.sparse COO or a CSR tensor, the transposed adjacency (N_target, N_source), whose values (E, K) serve
        as edge_attr if none is given; or a CrystalGraph, which need not be sorted. edge_attr: (E, K). distances: (E,) Å, in
        place of edge_attr, with basis (default: the layer's). Of a CrystalGraph the distances are used if a basis is given
        here, else its edge_attr, else the distances with the layer's basis. edge_weight: (E,), weight of a message in the
        sum or mean; default the CrystalGraph's, else ones. With aggr="max" an edge counts or does not: edge_weight is
        refused, and that of a CrystalGraph is not used.

        Differentiable in x, all parameters, edge_attr, distances and edge_weight, to second order. Raises ValueError,
        naming the argument, for shapes, dtypes and indices that do not fit and for edge features that are missing, given
        twice or not expected (dim = 0); TypeError for what is no edge_index here, such as torch_sparse's SparseTensor.
        Same bits on every run and for every thread count, for float32 and float64 on the CPU (products of atoms and weights
        are torch's under torch.compile and autocast and on other devices).
        """
        source, target = self._pair(x)
        graph = None
        if isinstance(edge_index, CrystalGraph):
            graph = edge_index = edge_index.torch()
        rows = edge_rows(edge_index, target.shape[0], source.shape[0], self.flow)
        if edge_attr is None and distances is None:
            edge_attr = rows.values
        term = self._edge_term(graph, edge_attr, distances, basis, target.dtype)
        if edge_weight is None:
            edge_weight = None if graph is None or self.aggr == "max" else graph.edge_weight
        self._check_dtypes(target, source)
        if self.aggr in {"add", "sum"} and self.bn is None:
            return sum_messages(self, target, source, rows, term, edge_weight, residual=True)
        out = aggregate_messages(self, target, source, rows, term, edge_weight)
        return (out if self.bn is None else self.bn(out)) + target

    def _check_dtypes(self, *parts: Tensor) -> None:
        dtype = self.lin_f.weight.dtype
        for part in parts:
            if part.dtype != dtype and not is_autocast(part.device):
                msg = f"x must be {dtype} like the layer's parameters, got {part.dtype}"
                raise ValueError(msg)

    def _pair(self, x: Tensor | Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Features of sources and targets: PyG's x_j and x_i are those of x[0] and x[1] whatever the flow."""
        if isinstance(x, Tensor):
            both = (x, x)
        elif isinstance(x, tuple | list) and len(x) == 2 and isinstance(x[0], Tensor) and isinstance(x[1], Tensor):
            both = (x[0], x[1])
        else:
            what = [type(part).__name__ for part in x] if isinstance(x, tuple | list) else type(x).__name__
            msg = f"x must be a tensor (N, F) or a pair of them, got {what}"
            raise ValueError(msg)
        for part, width in zip(both, _channel_pair(self.channels), strict=True):
            if part.dim() != 2 or part.shape[1] != width:
                shapes = " and ".join(str(tuple(p.shape)) for p in both[: 1 if isinstance(x, Tensor) else 2])
                msg = f"x must have shape (N, F) with F of channels={self.channels}, got {shapes}"
                raise ValueError(msg)
        if self.flow != FLOWS[0] and both[0].shape[0] != both[1].shape[0]:
            lengths = f"{both[0].shape[0]} and {both[1].shape[0]} rows"
            msg = f"x must have as many sources as targets with flow={self.flow!r}, got {lengths}"
            raise ValueError(msg)
        return both

    def _edge_term(
        self,
        graph: CrystalGraph | None,
        edge_attr: Tensor | None,
        distances: Tensor | None,
        basis: GaussianBasis | None,
        dtype: torch.dtype,
    ) -> dict[str, Any]:
        """Which features the edges have: edge_attr, distances and basis as functional.gated_message takes them."""
        if graph is not None and self.dim and edge_attr is None and distances is None and basis is None:
            edge_attr = None if graph.edge_attr is None else graph.edge_attr.to(dtype)
        if edge_attr is not None:
            if distances is not None or basis is not None:
                msg = "edge features must be edge_attr or distances with a basis, got both"
                raise ValueError(msg)
            if edge_attr.dim() != 2 or edge_attr.shape[1] != self.dim:
                msg = f"edge_attr must have shape (E, {self.dim}) with dim={self.dim}, got {tuple(edge_attr.shape)}"
                raise ValueError(msg)
            if edge_attr.dtype != dtype and torch.promote_types(edge_attr.dtype, dtype) == dtype:
                edge_attr = edge_attr.to(dtype)  # as the concatenation in PyG does
            return {"edge_attr": edge_attr} if self.dim else {}
        if self.dim == 0 and distances is None and basis is None:
            return {}
        basis = self.basis if basis is None else basis
        if distances is None and basis is not None and graph is not None:
            distances = graph.distances
        if distances is None or basis is None:
            missing = "basis" if distances is not None else "edge_attr" if basis is None else "distances"
            msg = f"{missing} must be given with dim={self.dim}, got None"
            raise ValueError(msg)
        _check_basis(basis, self.dim)
        return {"distances": distances, "basis": basis}

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.channels}, dim={self.dim})"


def check_options(aggr: object, flow: object, node_dim: object, decomposed_layers: object, aggr_kwargs: object = None) -> None:
    """Refuse what PyG's MessagePassing takes and this layer cannot do: TypeError, or ValueError for unknown words."""
    if not isinstance(aggr, str):
        msg = f"aggr must be one of the strings {', '.join(AGGREGATIONS)}, got {aggr!r}"
        raise TypeError(msg)
    for name, value, allowed in (("aggr", aggr, AGGREGATIONS), ("flow", flow, FLOWS)):
        if value not in allowed:
            msg = f"{name} must be one of {', '.join(allowed)}, got {value!r}"
            raise ValueError(msg)
    if node_dim not in (-2, 0):
        msg = f"node_dim must be -2 or 0, the rows of x, got {node_dim!r}"
        raise TypeError(msg)
    if decomposed_layers != 1:
        msg = f"decomposed_layers must be 1: CGConv does not decompose, got {decomposed_layers!r}"
        raise TypeError(msg)
    if aggr_kwargs:
        msg = f"aggr_kwargs must be None: {aggr!r} takes no options, got {aggr_kwargs!r}"
        raise TypeError(msg)


def _channel_pair(channels: int | Sequence[int]) -> Sequence[int]:
    return (channels, channels) if isinstance(channels, int) else channels


def _checked_channels(channels: object) -> tuple[int, int]:
    pair = channels if isinstance(channels, tuple | list) else (channels, channels)
    if len(pair) != 2 or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in pair):
        msg = f"channels must be a whole number of at least 1, or a pair of them, got {channels!r}"
        raise ValueError(msg)
    return pair[0], pair[1]


def _check_basis(basis: object, dim: int) -> None:
    if not isinstance(basis, GaussianBasis) or basis.n_centres != dim:
        got = f"{basis.n_centres} centres" if isinstance(basis, GaussianBasis) else type(basis).__name__
        msg = f"basis must be a GaussianBasis with dim={dim} centres, got {got}"
        raise ValueError(msg)
