"""The convolution of the 2018 CGCNN code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import softplus

from cgfast import functional
from cgfast.nn.edge_norm import Affine, batch_affine, running_affine, uses_batch_statistics
from cgfast.nn.linear_parameters import linear_parameters
from cgfast.ops import split_linear

if TYPE_CHECKING:
    from torch import Tensor

    from cgfast.basis import GaussianBasis
    from cgfast.graph import CrystalGraph

OPEN_GATE = 60.0  # sigmoid(60) is 1 to the last bit in float32 and float64, and its slope is 0


class CrystalGraphConv(nn.Module):
    """The 2018 code's ConvLayer (Xie & Grossman 2018, PRL 120, 145301, Eq. 5, with its two batch norms).

    y_e = bn1(fc_full([x_i, x_j, e_ij])); x_i' = softplus(x_i + bn2(sum_e sigmoid(gate of y_e) * softplus(core of y_e))).
    State dicts of the 2018 code load unchanged (fc_full, bn1, bn2).

    atom_fea_len: F, features per atom. nbr_fea_len: K, features per edge. gate: False leaves the sigmoid away (an ablation;
    fc_full and bn1 then have F channels instead of 2F). In training bn1 uses the exact statistics of all edges, each counted
    by its edge_weight, and keeps running ones, as torch.nn.BatchNorm1d does (those of all processes' edges after
    convert_sync_batchnorm()); in evaluation it folds into the weights. No tensor of edges is made either way, but for
    derivatives of derivatives (see cgfast.functional). Same bits on every run and, but for bn2 in training, which is torch's,
    for every thread count (float32 and float64 on the CPU).
    """

    def __init__(self, atom_fea_len: int, nbr_fea_len: int, *, gate: bool = True) -> None:
        super().__init__()
        self.atom_fea_len = atom_fea_len
        self.nbr_fea_len = nbr_fea_len
        self.gate = gate
        channels = 2 * atom_fea_len if gate else atom_fea_len
        self._shape = (channels, 2 * atom_fea_len + nbr_fea_len)
        self.fc_full = nn.Linear(2 * atom_fea_len + nbr_fea_len, channels)
        self.bn1 = nn.BatchNorm1d(channels)
        self.bn2 = nn.BatchNorm1d(atom_fea_len)

    def forward(
        self,
        x: Tensor,
        graph: CrystalGraph,
        *,
        edge_attr: Tensor | None = None,
        basis: GaussianBasis | None = None,
        elements: Tensor | None = None,
    ) -> Tensor:
        """(N, F) -> (N, F). Edge features: edge_attr (E, K), or basis for Gaussians of graph.distances.

        elements: (N,) int64 rows of `x` to use, when x is a table with a row per element: the products with the weights then
        run on the table only.

        Raises ValueError unless exactly one of edge_attr and basis is given, for a basis without distances, and in training
        for a single edge, or a single atom.
        """
        if (edge_attr is None) == (basis is None):
            msg = "give exactly one of edge_attr and basis, got " + ("none" if basis is None else "both")
            raise ValueError(msg)
        graph = graph.torch()
        if x.dim() != 2 or x.shape[1] != self.atom_fea_len:
            msg = f"x must have shape (N, {self.atom_fea_len}), got {tuple(x.shape)}"
            raise ValueError(msg)
        weight, bias = linear_parameters(self.fc_full, "fc_full")
        if weight.shape != self._shape or (bias is not None and bias.shape != self._shape[:1]):
            got = f"{tuple(weight.shape)} and {None if bias is None else tuple(bias.shape)}"
            msg = f"fc_full's weight and bias must have shapes {self._shape} and {self._shape[:1]}, got {got}"
            raise ValueError(msg)
        from_batch = uses_batch_statistics(self.bn1)
        if not from_batch:
            scale, shift = running_affine(self.bn1)
            weight, bias = weight * scale[:, None], shift if bias is None else bias * scale + shift
        p, q, on_edges = split_linear(x, x, weight, bias)
        if elements is not None:
            x, p, q = x.index_select(0, elements), p.index_select(0, elements), q.index_select(0, elements)
        if not self.gate:
            # The op has a gate: one that is open, whatever comes in.
            p = torch.cat([torch.full_like(p, OPEN_GATE), p], dim=1)
            q, on_edges = (torch.cat([torch.zeros_like(t), t], dim=1) for t in (q, on_edges))
        edges: dict[str, Any] = {
            "source": graph.source,
            "row_ptr": graph.row_ptr,
            "edge_attr": edge_attr,
            "weight": on_edges,
            "distances": _distances(graph, basis),
            "basis": basis,
            "edge_weight": graph.edge_weight,
        }
        change: dict[str, Any] = self._normalise(p, q, edges) if from_batch else {}
        return self._update(x, functional.gated_message(p, q, **edges, **change))

    def _normalise(self, p: Tensor, q: Tensor, edges: dict[str, Any]) -> dict[str, Tensor]:
        """bn1 by the statistics of these edges: center, scale and shift as functional.gated_message takes them."""

        def moments() -> tuple[Tensor, Tensor]:
            mean, variance = functional.edge_moments(p, q, **edges)
            return (mean, variance) if self.gate else (mean[self.atom_fea_len :], variance[self.atom_fea_len :])

        affine = batch_affine(self.bn1, moments, edges["source"].shape[0], edges["edge_weight"])
        if affine is None:
            return {}
        if not self.gate:
            closed, one = torch.zeros_like(affine.scale), torch.ones_like(affine.scale)
            affine = Affine(*(torch.cat(parts) for parts in zip((closed, one, closed), affine, strict=True)))
        return affine._asdict()

    def _update(self, x: Tensor, summed: Tensor) -> Tensor:
        if uses_batch_statistics(self.bn2):
            return softplus(x + self.bn2(summed))
        scale, shift = running_affine(self.bn2)
        return softplus(torch.addcmul(x + shift, summed, scale))

    def extra_repr(self) -> str:
        """What torch prints between the brackets."""
        return f"{self.atom_fea_len}, {self.nbr_fea_len}" + ("" if self.gate else ", gate=False")


def _distances(graph: CrystalGraph, basis: GaussianBasis | None) -> Tensor | None:
    """The distances for `basis` to expand."""
    if basis is None:
        return None
    if graph.distances is None:
        msg = "graph must have distances for a basis to expand, got a graph without"
        raise ValueError(msg)
    distances: Tensor = graph.distances
    return distances
