"""The 2018 code's network (txie-93/cgcnn, ``cgcnn/model.py``), computed by cgfast.

Change ``from cgcnn.model import CrystalGraphConvNet`` to ``from cgfast.compat.cgcnn import CrystalGraphConvNet``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from cgfast.functional import pool
from cgfast.graph import CrystalGraph
from cgfast.nn import CrystalGraphConv

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["ConvLayer", "CrystalGraphConvNet"]


class ConvLayer(CrystalGraphConv):
    """The 2018 ConvLayer: `CrystalGraphConv`, called with a table of M neighbours per atom (PRL 120, 145301, Eq. 5).

    atom_fea_len: F. nbr_fea_len: K. State dicts, their order and the initial weights of a seed are the 2018 class's.
    """

    # The names and the order are those of the 2018 call.
    def forward(self, atom_in_fea: Tensor, nbr_fea: Tensor, nbr_fea_idx: Tensor) -> Tensor:  # type: ignore[override]
        """(N, F) -> (N, F), from edge features nbr_fea (N, M, K) and neighbours nbr_fea_idx (N, M) int64.

        Raises ValueError for shapes that do not fit and neighbours that do not exist. Determinism: as CrystalGraphConv.
        """
        graph = _graph(atom_in_fea, nbr_fea, nbr_fea_idx, self.nbr_fea_len)
        return super().forward(atom_in_fea, graph, edge_attr=nbr_fea.reshape(-1, self.nbr_fea_len))

    def on_graph(self, x: Tensor, graph: CrystalGraph, edge_attr: Tensor) -> Tensor:
        """The layer on a graph made before: (N, F) -> (N, F), edge_attr (E, K)."""
        return super().forward(x, graph, edge_attr=edge_attr)


class CrystalGraphConvNet(nn.Module):
    """The 2018 network, with the 2018 call: predicts from the tensors that the 2018 ``collate_pool`` makes.

    orig_atom_fea_len: features per atom that come in. nbr_fea_len: K, features per edge. atom_fea_len: F. n_conv:
    convolutions. h_fea_len: width of the head. n_h: its layers. classification: log-probabilities of two classes instead
    of one value.

    The state dict, its order, the names of the submodules of the network and the initial weights of a seed are those of the
    2018 class, so checkpoints, optimiser states and hooks carry over, both ways. Same bits on every run with the same
    number of torch threads.
    """

    def __init__(
        self,
        orig_atom_fea_len: int,
        nbr_fea_len: int,
        atom_fea_len: int = 64,
        n_conv: int = 3,
        h_fea_len: int = 128,
        n_h: int = 1,
        classification: bool = False,  # noqa: FBT001, FBT002 - the 2018 signature
    ) -> None:
        super().__init__()
        self.classification = classification
        self.nbr_fea_len = nbr_fea_len
        self.embedding = nn.Linear(orig_atom_fea_len, atom_fea_len)
        self.convs = nn.ModuleList([ConvLayer(atom_fea_len, nbr_fea_len) for _ in range(n_conv)])
        self.conv_to_fc = nn.Linear(atom_fea_len, h_fea_len)
        self.conv_to_fc_softplus = nn.Softplus()
        if n_h > 1:
            self.fcs = nn.ModuleList([nn.Linear(h_fea_len, h_fea_len) for _ in range(n_h - 1)])
            self.softpluses = nn.ModuleList([nn.Softplus() for _ in range(n_h - 1)])
        self.fc_out = nn.Linear(h_fea_len, 2 if classification else 1)
        if classification:
            self.logsoftmax = nn.LogSoftmax(dim=1)
            self.dropout = nn.Dropout()

    def forward(self, atom_fea: Tensor, nbr_fea: Tensor, nbr_fea_idx: Tensor, crystal_atom_idx: Sequence[Tensor]) -> Tensor:
        """(B, 1) values, or (B, 2) log-probabilities, of a batch of B crystals with N atoms.

        atom_fea: (N, orig_atom_fea_len). nbr_fea: (N, M, K). nbr_fea_idx: (N, M) int64, numbered over the whole batch.
        crystal_atom_idx: B tensors of int64, the atoms of each crystal, N in all.

        Raises ValueError, naming the argument, for shapes that do not fit, atoms that do not exist, crystals without atoms,
        and lists that do not hold N atoms in all.
        """
        x = self.embedding(atom_fea)
        # One graph for all layers, where the 2018 layers gather and concatenate anew in each.
        graph = _graph(x, nbr_fea, nbr_fea_idx, self.nbr_fea_len)
        edge_attr = nbr_fea.reshape(-1, self.nbr_fea_len)
        for conv in cast("list[ConvLayer]", list(self.convs)):
            x = conv.on_graph(x, graph, edge_attr)
        x = self.conv_to_fc(self.conv_to_fc_softplus(self.pooling(x, crystal_atom_idx)))
        x = self.conv_to_fc_softplus(x)
        if self.classification:
            x = self.dropout(x)
        if hasattr(self, "fcs"):
            for fc, softplus in zip(self.fcs, self.softpluses, strict=True):
                x = softplus(fc(x))
        out: Tensor = self.fc_out(x)
        return self.logsoftmax(out) if self.classification else out

    def pooling(self, atom_fea: Tensor, crystal_atom_idx: Sequence[Tensor]) -> Tensor:
        """(N, F) -> (B, F): the mean over the atoms of each crystal. Raises as forward() does."""
        counts = [len(atoms) for atoms in crystal_atom_idx]
        n_atoms = len(atom_fea)
        if sum(counts) != n_atoms or 0 in counts:
            got = f"{len(counts)} lists of {min(counts, default=0)} to {max(counts, default=0)}, {sum(counts)} in all"
            msg = f"crystal_atom_idx must hold {n_atoms} atoms in lists of at least one, got {got}"
            raise ValueError(msg)
        device = atom_fea.device
        ends = torch.tensor([0, *counts], dtype=torch.int64, device=device).cumsum(0)
        if counts:
            order = torch.cat([torch.as_tensor(atoms, device=device) for atoms in crystal_atom_idx])
            _check_indices("crystal_atom_idx", order, n_atoms)
            # What collate_pool makes is in order. Any other choice of atoms is gathered first.
            if torch.compiler.is_compiling() or not torch.equal(order, torch.arange(n_atoms, device=device)):
                atom_fea = atom_fea.index_select(0, order)
        return pool(atom_fea, ends, "mean")


def _graph(x: Tensor, nbr_fea: Tensor, nbr_fea_idx: Tensor, nbr_fea_len: int) -> CrystalGraph:
    """The neighbour table as rows of M edges each, in the table's order. Padded places are edges like any other."""
    if nbr_fea_idx.dim() != 2 or len(nbr_fea_idx) != len(x):
        msg = f"nbr_fea_idx must have shape (N, M) with N = {len(x)} as in atom_fea, got {tuple(nbr_fea_idx.shape)}"
        raise ValueError(msg)
    n_atoms, n_neighbors = nbr_fea_idx.shape
    if nbr_fea.shape != (n_atoms, n_neighbors, nbr_fea_len):
        msg = f"nbr_fea must have shape (N, M, K) = {(n_atoms, n_neighbors, nbr_fea_len)}, got {tuple(nbr_fea.shape)}"
        raise ValueError(msg)
    source = nbr_fea_idx.reshape(-1)
    _check_indices("nbr_fea_idx", source, n_atoms)
    rows = torch.arange(n_atoms + 1, device=x.device)
    return CrystalGraph(
        edge_index=torch.stack([source, rows[:-1].repeat_interleave(n_neighbors)]),
        row_ptr=rows * n_neighbors,
        # To the convolutions a batch is one graph; pooling comes from crystal_atom_idx.
        graph_ptr=torch.tensor([0, n_atoms], device=x.device),
        # The 2018 call does not say them: features come in as atom_fea.
        atomic_numbers=torch.zeros(n_atoms, dtype=torch.int32, device=x.device),
    )


def _check_indices(name: str, index: Tensor, n_atoms: int) -> None:
    """Refuse atoms that are no whole numbers from 0 to N - 1 (the values are not looked at while torch compiles)."""
    if index.dtype != torch.int64:
        msg = f"{name} must be int64, got {index.dtype}"
        raise ValueError(msg)
    if torch.compiler.is_compiling() or index.numel() == 0:
        return
    low, high = (int(value) for value in torch.aminmax(index))
    if low < 0 or high >= n_atoms:
        msg = f"{name} must name atoms 0 to {n_atoms - 1}, got {low} to {high}"
        raise ValueError(msg)
