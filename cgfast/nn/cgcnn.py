"""The CGCNN network: that of 2018, and with PyTorch Geometric's convolution in place of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn.functional import log_softmax, silu, softplus

from cgfast.functional import REDUCTIONS, pool
from cgfast.nn.cg_conv import CGConv
from cgfast.nn.crystal_graph_conv import CrystalGraphConv
from cgfast.nn.row_linear import row_linear
from cgfast.nn.site_readout import SiteReadout

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from cgfast.basis import GaussianBasis
    from cgfast.graph import CrystalGraph

N_ELEMENTS = 100  # rows of a learned element table, and of the 2018 models' feature table
READOUTS = ("head", "atom", "site")
CONVS = ("CrystalGraphConv", "CGConv")
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"softplus": softplus, "silu": silu}


class CGCNN(nn.Module):
    """The crystal graph convolutional network of Xie & Grossman 2018 (PRL 120, 145301), as their code has it.

    embedding -> n_conv x CrystalGraphConv -> pool -> softplus -> conv_to_fc -> softplus -> [dropout if classification] ->
    (n_h - 1) x (fc -> softplus) -> fc_out -> [log_softmax if classification]. State dicts of the 2018 CrystalGraphConvNet
    load unchanged.

    element_features: (n_elements, n_bits), row Z - 1 describes element Z; None learns a table of 100 rows. nbr_fea_len: K,
    edge features. atom_fea_len: F. h_fea_len: width of the head. n_h: its layers. classification: n_classes
    log-probabilities instead of values. basis: turns graph.distances into edge features when no edge_attr is given.
    readout: "head" as above, "atom": the same head on every atom and its outputs pooled, or "site": SiteReadout, linear, in
    place of all that follows the convolutions (h_fea_len and n_h are then unused); with the last two site_contributions() says
    what each atom adds. n_out: values per crystal; without a meaning with classification. conv: "CrystalGraphConv", the 2018
    layer, or "CGConv", PyTorch Geometric's (PRL 120, 145301, Eq. 5) with a BatchNorm1d: x' = bn(sum) + x, no batch norm over
    edges. activation: of the head, "softplus" as above or "silu".

    Raises ValueError for counts below 1, a basis that does not have nbr_fea_len centres, an unknown conv, a site readout of
    classes or of another pooling than mean and sum, and (in forward) atomic numbers without a row in the table.
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
        readout: str = "head",
        basis: GaussianBasis | None = None,
        n_out: int = 1,
        conv: str = "CrystalGraphConv",
        activation: str = "softplus",
    ) -> None:
        super().__init__()
        _check_counts(nbr_fea_len=nbr_fea_len, atom_fea_len=atom_fea_len, n_conv=n_conv)
        _check_counts(h_fea_len=h_fea_len, n_h=n_h, n_classes=n_classes, n_out=n_out)
        _check_choices(pooling, readout, conv, activation, classification=classification)
        if basis is not None and basis.n_centres != nbr_fea_len:
            msg = f"basis must have nbr_fea_len = {nbr_fea_len} centres, got {basis.n_centres}"
            raise ValueError(msg)
        features = torch.eye(N_ELEMENTS) if element_features is None else torch.as_tensor(element_features).float()
        if features.dim() != 2:
            msg = f"element_features must have shape (n_elements, n_bits), got {tuple(features.shape)}"
            raise ValueError(msg)
        self.register_buffer("element_features", features, persistent=False)
        self.classification = classification
        self.pooling = pooling
        self.readout = readout
        self.conv = conv
        self.activation = activation
        self.nbr_fea_len, self.h_fea_len, self.n_h, self.n_out = nbr_fea_len, h_fea_len, n_h, n_out
        self.basis = basis
        self.embedding = nn.Linear(features.shape[1], atom_fea_len)
        self.convs = nn.ModuleList([_convolution(conv, atom_fea_len, nbr_fea_len) for _ in range(n_conv)])
        if readout == "site":
            self.site_readout = SiteReadout(atom_fea_len, pooling)
            if n_out > 1:  # a layer of its own pools any number of columns
                self.site_readout.lin = nn.Linear(atom_fea_len, n_out)
            return
        self.conv_to_fc = nn.Linear(atom_fea_len, h_fea_len)
        if n_h > 1:
            self.fcs = nn.ModuleList([nn.Linear(h_fea_len, h_fea_len) for _ in range(n_h - 1)])
        self.fc_out = nn.Linear(h_fea_len, n_classes if classification else n_out)
        if classification:
            self.dropout = nn.Dropout()

    def forward(self, graph: CrystalGraph, edge_attr: Tensor | None = None) -> Tensor:
        """(B, n_out) values, or (B, n_classes) log-probabilities. graph: NumPy or torch arrays.

        Edge features: edge_attr (E, K) in the graph's order of edges, else those of the graph, else the basis.
        """
        graph = graph.torch()
        x = self.atom_features(graph, edge_attr)
        if self.readout == "head":
            return self.head(pool(x, graph.graph_ptr, self.pooling))
        return self._read_atoms(x, graph)

    def forward_with_features(self, graph: CrystalGraph, edge_attr: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What forward() gives, to the bit, and (B, F) the atoms' features after the last convolution, pooled by crystal."""
        graph = graph.torch()
        x = self.atom_features(graph, edge_attr)
        features = pool(x, graph.graph_ptr, self.pooling)
        return self.head(features) if self.readout == "head" else self._read_atoms(x, graph), features

    def _read_atoms(self, x: Tensor, graph: CrystalGraph) -> Tensor:
        if self.readout == "site":
            out: Tensor = self.site_readout(x, graph.graph_ptr)
            return out
        # Pooled are the atoms' own outputs, so that they add up to what is returned.
        return self._finish(pool(self._outputs(x), graph.graph_ptr, self.pooling))

    def site_contributions(self, graph: CrystalGraph, edge_attr: Tensor | None = None) -> Tensor:
        """(N, n_out): what each atom adds to its crystal's prediction (pooling "mean": the atoms' mean is the prediction).

        Raises ValueError unless the network was made with readout="site", or "atom" for values pooled by mean or sum.
        """
        x = self.atom_features
        if self.readout == "site":
            return self.site_readout.contributions(x(graph, edge_attr))
        if self.readout == "atom" and not self.classification and self.pooling in ("mean", "sum"):
            return self._outputs(x(graph, edge_attr))
        msg = f"site contributions need a network with readout='site', got readout={self.readout!r}"
        raise ValueError(msg)

    def atom_features(self, graph: CrystalGraph, edge_attr: Tensor | None = None) -> Tensor:
        """(N, F): features of each atom after the last convolution."""
        graph = graph.torch()
        edge_attr = graph.edge_attr if edge_attr is None else edge_attr
        elements = self._element_rows(graph.atomic_numbers)
        x: Tensor
        table = self.embedding(self.element_features)
        edge_attr = None if edge_attr is None else edge_attr.to(table.dtype)
        basis = self.basis if edge_attr is None else None
        if self.conv == "CGConv":
            x = table.index_select(0, elements)
            for layer in cast("list[CGConv]", list(self.convs)):
                x = layer(x, graph, edge_attr, basis=basis)
            return x
        convs = cast("list[CrystalGraphConv]", list(self.convs))
        # The first convolution sees one of a hundred elements: its products of atoms and weights run on the table.
        x = convs[0](table, graph, edge_attr=edge_attr, basis=basis, elements=elements)
        for conv in convs[1:]:
            x = conv(x, graph, edge_attr=edge_attr, basis=basis)
        return x

    def architecture(self) -> dict[str, int | bool | str]:
        """The constructor's arguments as plain JSON types, without element_features and basis."""
        return {
            "nbr_fea_len": self.nbr_fea_len,
            "atom_fea_len": self.embedding.out_features,
            "n_conv": len(self.convs),
            "h_fea_len": self.h_fea_len,
            "n_h": self.n_h,
            "classification": self.classification,
            "n_classes": self.fc_out.out_features if self.classification else 2,
            "pooling": self.pooling,
            "readout": self.readout,
            "n_out": self.n_out,
            "conv": self.conv,
            "activation": self.activation,
        }

    def head(self, crystal_features: Tensor) -> Tensor:
        """(B, F) pooled features -> (B, n_out) or (B, n_classes)."""
        return self._finish(self._outputs(crystal_features))

    def _outputs(self, features: Tensor) -> Tensor:
        """The head on crystals or on atoms, without the last log_softmax."""
        activate = ACTIVATIONS[self.activation]
        x = activate(row_linear(self.conv_to_fc, activate(features)))
        if self.classification:
            x = self.dropout(x)
        for fc in getattr(self, "fcs", ()):
            x = activate(row_linear(fc, x))
        return row_linear(self.fc_out, x)

    def _finish(self, out: Tensor) -> Tensor:
        return log_softmax(out, dim=1) if self.classification else out

    def _element_rows(self, atomic_numbers: Tensor) -> Tensor:
        n = len(self.element_features)
        if len(atomic_numbers) and not _values_are_unknown(atomic_numbers):
            low, high = torch.stack(torch.aminmax(atomic_numbers)).tolist()
            if low < 1 or high > n:
                msg = f"atomic_numbers must lie in 1 to {n} for this model, got {low} to {high}"
                raise ValueError(msg)
        return atomic_numbers.long() - 1


def _values_are_unknown(tensor: Tensor) -> bool:
    """Whether nobody can look at the values now: torch traces, or a CUDA graph is being captured."""
    return torch.compiler.is_compiling() or (tensor.is_cuda and torch.cuda.is_current_stream_capturing())


def _convolution(conv: str, atom_fea_len: int, nbr_fea_len: int) -> nn.Module:
    if conv == "CGConv":
        return CGConv(atom_fea_len, nbr_fea_len, batch_norm=True)
    return CrystalGraphConv(atom_fea_len, nbr_fea_len)


def _check_choices(pooling: object, readout: object, conv: object, activation: object, *, classification: bool) -> None:
    for name, value, allowed in (
        ("pooling", pooling, REDUCTIONS),
        ("conv", conv, CONVS),
        ("activation", activation, tuple(ACTIVATIONS)),
    ):
        if value not in allowed:
            msg = f"{name} must be one of {', '.join(allowed)}, got {value!r}"
            raise ValueError(msg)
    if readout not in READOUTS or (readout == "site" and classification):
        what = "classes" if classification else "values"
        msg = f"readout must be one of {', '.join(READOUTS)}, site for values only, got {readout!r} of {what}"
        raise ValueError(msg)


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            msg = f"{name} must be a whole number of at least 1, got {value!r}"
            raise ValueError(msg)
