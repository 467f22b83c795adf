"""The 2018 CGCNN network."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn.functional import log_softmax, softplus

from cgfast.functional import REDUCTIONS, pool
from cgfast.nn.crystal_graph_conv import CrystalGraphConv

if TYPE_CHECKING:
    from torch import Tensor

    from cgfast.basis import GaussianBasis
    from cgfast.graph import CrystalGraph

N_ELEMENTS = 100  # rows of a learned element table, and of the 2018 models' feature table


class CGCNN(nn.Module):
    """The crystal graph convolutional network of Xie & Grossman 2018 (PRL 120, 145301), as their code has it.

    embedding -> n_conv x CrystalGraphConv -> pool -> softplus -> conv_to_fc -> softplus -> [dropout if classification] ->
    (n_h - 1) x (fc -> softplus) -> fc_out -> [log_softmax if classification]. State dicts of the 2018 CrystalGraphConvNet
    load unchanged.

    element_features: (n_elements, n_bits), row Z - 1 describes element Z; None learns a table of 100 rows. nbr_fea_len: K,
    edge features. atom_fea_len: F. h_fea_len: width of the head. n_h: its layers. classification: n_classes
    log-probabilities instead of one value. basis: turns graph.distances into edge features when no edge_attr is given.

    Raises ValueError for counts below 1, a basis that does not have nbr_fea_len centres, and (in forward) atomic numbers
    without a row in the table.
    """

    element_features: Tensor

    def __init__(
        self,
        element_features: Tensor | None = None,
        nbr_fea_len: int = 41,
        atom_fea_len: int = 64,
        n_conv: int = 3,
        h_fea_len: int = 128,
        n_h: int = 1,
        *,
        classification: bool = False,
        n_classes: int = 2,
        pooling: str = "mean",
        basis: GaussianBasis | None = None,
    ) -> None:
        super().__init__()
        _check_counts(nbr_fea_len=nbr_fea_len, atom_fea_len=atom_fea_len, n_conv=n_conv)
        _check_counts(h_fea_len=h_fea_len, n_h=n_h, n_classes=n_classes)
        if basis is not None and basis.n_centres != nbr_fea_len:
            msg = f"basis must have nbr_fea_len = {nbr_fea_len} centres, got {basis.n_centres}"
            raise ValueError(msg)
        if pooling not in REDUCTIONS:
            msg = f"pooling must be one of {', '.join(REDUCTIONS)}, got {pooling!r}"
            raise ValueError(msg)
        features = torch.eye(N_ELEMENTS) if element_features is None else torch.as_tensor(element_features).float()
        if features.dim() != 2:
            msg = f"element_features must have shape (n_elements, n_bits), got {tuple(features.shape)}"
            raise ValueError(msg)
        self.register_buffer("element_features", features, persistent=False)
        self.classification = classification
        self.pooling = pooling
        self.basis = basis
        self.embedding = nn.Linear(features.shape[1], atom_fea_len)
        self.convs = nn.ModuleList([CrystalGraphConv(atom_fea_len, nbr_fea_len) for _ in range(n_conv)])
        self.conv_to_fc = nn.Linear(atom_fea_len, h_fea_len)
        if n_h > 1:
            self.fcs = nn.ModuleList([nn.Linear(h_fea_len, h_fea_len) for _ in range(n_h - 1)])
        self.fc_out = nn.Linear(h_fea_len, n_classes if classification else 1)
        if classification:
            self.dropout = nn.Dropout()

    def forward(self, graph: CrystalGraph, edge_attr: Tensor | None = None) -> Tensor:
        """(B, 1) values, or (B, n_classes) log-probabilities. graph: NumPy or torch arrays.

        Edge features: edge_attr (E, K) in the graph's order of edges, else those of the graph, else the basis.
        """
        graph = graph.torch()
        return self.head(pool(self.atom_features(graph, edge_attr), graph.graph_ptr, self.pooling))

    def atom_features(self, graph: CrystalGraph, edge_attr: Tensor | None = None) -> Tensor:
        """(N, F): features of each atom after the last convolution."""
        graph = graph.torch()
        edge_attr = graph.edge_attr if edge_attr is None else edge_attr
        elements = self._element_rows(graph.atomic_numbers)
        table = self.embedding(self.element_features)
        edge_attr = None if edge_attr is None else edge_attr.to(table.dtype)
        basis = self.basis if edge_attr is None else None
        convs = cast("list[CrystalGraphConv]", list(self.convs))
        if self.training or (torch.is_grad_enabled() and table.requires_grad):
            x: Tensor = table[elements]
            for conv in convs:
                x = conv(x, graph, edge_attr=edge_attr, basis=basis)
            return x
        # The first convolution sees one of a hundred elements: its node products run on the table.
        x = convs[0].forward_folded(table, graph, edge_attr=edge_attr, basis=basis, elements=elements)
        for conv in convs[1:]:
            x = conv.forward_folded(x, graph, edge_attr=edge_attr, basis=basis)
        return x

    def architecture(self) -> dict[str, int | bool | str]:
        """The constructor's arguments as plain JSON types, without element_features and basis."""
        conv = cast("CrystalGraphConv", self.convs[0])
        return {
            "nbr_fea_len": conv.nbr_fea_len,
            "atom_fea_len": conv.atom_fea_len,
            "n_conv": len(self.convs),
            "h_fea_len": self.conv_to_fc.out_features,
            "n_h": 1 + len(getattr(self, "fcs", ())),
            "classification": self.classification,
            "n_classes": self.fc_out.out_features if self.classification else 2,
            "pooling": self.pooling,
        }

    def head(self, crystal_features: Tensor) -> Tensor:
        """(B, F) pooled features -> (B, 1) or (B, n_classes)."""
        x = softplus(self.conv_to_fc(softplus(crystal_features)))
        if self.classification:
            x = self.dropout(x)
        for fc in getattr(self, "fcs", ()):
            x = softplus(fc(x))
        out = self.fc_out(x)
        return log_softmax(out, dim=1) if self.classification else out

    def _element_rows(self, atomic_numbers: Tensor) -> Tensor:
        n = len(self.element_features)
        if torch.compiler.is_compiling():  # the values are not known while torch traces
            return atomic_numbers.long() - 1
        if len(atomic_numbers) and (int(atomic_numbers.min()) < 1 or int(atomic_numbers.max()) > n):
            msg = (
                f"atomic_numbers must lie in 1 to {n} for this model, got "
                f"{int(atomic_numbers.min())} to {int(atomic_numbers.max())}"
            )
            raise ValueError(msg)
        return atomic_numbers.long() - 1


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            msg = f"{name} must be a whole number of at least 1, got {value!r}"
            raise ValueError(msg)
