"""The convolution of the 2018 CGCNN code."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn.functional import softplus

from cgfast import functional, reference

if TYPE_CHECKING:
    from torch import Tensor

    from cgfast.basis import GaussianBasis
    from cgfast.graph import CrystalGraph


class SplitWeights(NamedTuple):
    """fc_full cut along its input [target | source | edge], transposed to (inputs, 2F), with its bias."""

    target: Tensor
    source: Tensor
    edge: Tensor
    bias: Tensor


class CrystalGraphConv(nn.Module):
    """The 2018 code's ConvLayer (Xie & Grossman 2018, PRL 120, 145301, Eq. 5, with its two batch norms).

    y_e = bn1(fc_full([x_i, x_j, e_ij])); x_i' = softplus(x_i + bn2(sum_e sigmoid(gate of y_e) * softplus(core of y_e))).
    State dicts of the 2018 code load unchanged (fc_full, bn1, bn2).

    atom_fea_len: F, features per atom. nbr_fea_len: K, features per edge. In evaluation without gradients bn1 folds into
    the weights and the fused kernel runs; otherwise the reference formulas do, with edge-sized tensors.
    """

    def __init__(self, atom_fea_len: int, nbr_fea_len: int) -> None:
        super().__init__()
        self.atom_fea_len = atom_fea_len
        self.nbr_fea_len = nbr_fea_len
        self.fc_full = nn.Linear(2 * atom_fea_len + nbr_fea_len, 2 * atom_fea_len)
        self.bn1 = nn.BatchNorm1d(2 * atom_fea_len)
        self.bn2 = nn.BatchNorm1d(atom_fea_len)

    def forward(
        self, x: Tensor, graph: CrystalGraph, *, edge_attr: Tensor | None = None, basis: GaussianBasis | None = None
    ) -> Tensor:
        """(N, F) -> (N, F). Edge features: edge_attr (E, K), or basis for Gaussians of graph.distances.

        Raises ValueError unless exactly one of edge_attr and basis is given, and for a basis without distances.
        """
        if (edge_attr is None) == (basis is None):
            msg = "give exactly one of edge_attr and basis, got " + ("none" if basis is None else "both")
            raise ValueError(msg)
        graph = graph.torch()
        if self.training or (torch.is_grad_enabled() and (x.requires_grad or self.fc_full.weight.requires_grad)):
            return self._forward_reference(x, graph, edge_attr, basis)
        return self.forward_folded(x, graph, edge_attr=edge_attr, basis=basis)

    def forward_folded(
        self,
        x: Tensor,
        graph: CrystalGraph,
        *,
        edge_attr: Tensor | None = None,
        basis: GaussianBasis | None = None,
        elements: Tensor | None = None,
    ) -> Tensor:
        """Evaluation with both batch norms folded into the weights and the fused kernel; arguments as forward().

        elements: (N,) rows of `x` to use, when x is a table with a row per element: the node matrix products then run on
        the table only.
        """
        weights = self._split(*_fold(self.fc_full.weight, self.fc_full.bias, self.bn1))
        pq = torch.addmm(
            torch.cat([weights.bias, torch.zeros_like(weights.bias)]),
            x,
            torch.cat([weights.target, weights.source], dim=1),
        )
        if elements is not None:
            x, pq = x.index_select(0, elements), pq.index_select(0, elements)
        channels = 2 * self.atom_fea_len
        summed = functional.gated_message(
            pq[:, :channels],
            pq[:, channels:],
            graph.source,
            graph.row_ptr,
            edge_attr=edge_attr,
            weight=weights.edge,
            distances=_distances(graph, basis),
            basis=basis,
            edge_weight=graph.edge_weight,
        )
        scale, shift = _affine(self.bn2)
        return softplus(torch.addcmul(x + shift, summed, scale))

    def _split(self, weight: Tensor, bias: Tensor) -> SplitWeights:
        n = self.atom_fea_len
        columns = weight.T
        return SplitWeights(columns[:n], columns[n : 2 * n], columns[2 * n :].contiguous(), bias)

    def _forward_reference(
        self, x: Tensor, graph: CrystalGraph, edge_attr: Tensor | None, basis: GaussianBasis | None
    ) -> Tensor:
        weights = self._split(self.fc_full.weight, self.fc_full.bias)
        y = reference.edge_preactivation(
            x @ weights.target + weights.bias,
            x @ weights.source,
            graph.source,
            graph.row_ptr,
            edge_attr=edge_attr,
            weight=weights.edge,
            distances=_distances(graph, basis),
            basis=basis,
        )
        y = reference.edge_batch_norm(y, self.bn1, graph.edge_weight)
        summed = reference.sum_rows(reference.gate(y), graph.row_ptr, graph.edge_weight)
        return softplus(x + self.bn2(summed))


def _distances(graph: CrystalGraph, basis: GaussianBasis | None) -> Tensor | None:
    """The distances for `basis` to expand."""
    if basis is None:
        return None
    if graph.distances is None:
        msg = "graph must have distances for a basis to expand, got a graph without"
        raise ValueError(msg)
    distances: Tensor = graph.distances
    return distances


def _affine(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """A batch norm in evaluation as y = x * scale + shift."""
    if norm.running_mean is None or norm.running_var is None:
        msg = "a batch norm without running statistics cannot be folded"
        raise ValueError(msg)
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def _fold(weight: Tensor, bias: Tensor, norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """bn(x @ weight.T + bias) as x @ weight'.T + bias'."""
    scale, shift = _affine(norm)
    return weight * scale[:, None], bias * scale + shift
