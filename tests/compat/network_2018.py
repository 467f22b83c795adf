"""The 2018 network, its tables of neighbours and its batches, re-stated in plain PyTorch: the oracle of the tests."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from cgfast import Crystals, GraphSpec, build_graphs

RADIUS, NEIGHBORS = 8.0, 12
CENTRES = np.arange(0, RADIUS + 0.2, 0.2)


class TwinConv(nn.Module):
    """The 2018 layer as the paper's code computes it: gather, concatenate, one Linear, BatchNorm, gate, sum."""

    def __init__(self, f, k):
        super().__init__()
        self.fc_full = nn.Linear(2 * f + k, 2 * f)
        self.bn1 = nn.BatchNorm1d(2 * f)
        self.bn2 = nn.BatchNorm1d(f)

    def forward(self, x, nbr_fea, nbr_fea_idx):
        n, m = nbr_fea_idx.shape
        z = torch.cat([x[:, None].expand(n, m, -1), x[nbr_fea_idx], nbr_fea], dim=2)
        y = self.bn1(self.fc_full(z).view(n * m, -1)).view(n, m, -1)
        gate, core = y.chunk(2, dim=2)
        message = torch.sigmoid(gate) * nn.functional.softplus(core)
        return nn.functional.softplus(x + self.bn2(message.sum(1)))


class Twin(nn.Module):
    """The 2018 network."""

    def __init__(self, orig, k, atom_fea_len=64, n_conv=3, h_fea_len=128, n_h=1, classification=False):
        super().__init__()
        self.classification = classification
        self.embedding = nn.Linear(orig, atom_fea_len)
        self.convs = nn.ModuleList([TwinConv(atom_fea_len, k) for _ in range(n_conv)])
        self.conv_to_fc = nn.Linear(atom_fea_len, h_fea_len)
        if n_h > 1:
            self.fcs = nn.ModuleList([nn.Linear(h_fea_len, h_fea_len) for _ in range(n_h - 1)])
        self.fc_out = nn.Linear(h_fea_len, 2 if classification else 1)
        self.dropout = nn.Dropout()

    def forward(self, atom_fea, nbr_fea, nbr_fea_idx, crystal_atom_idx):
        x = self.embedding(atom_fea)
        for conv in self.convs:
            x = conv(x, nbr_fea, nbr_fea_idx)
        x = torch.stack([x[atoms].mean(0) for atoms in crystal_atom_idx])
        x = nn.functional.softplus(self.conv_to_fc(nn.functional.softplus(x)))
        x = self.dropout(x) if self.classification else x
        for fc in getattr(self, "fcs", ()):
            x = nn.functional.softplus(fc(x))
        out = self.fc_out(x)
        return nn.functional.log_softmax(out, dim=1) if self.classification else out


def expand(distances):
    return torch.tensor(np.exp(-((np.asarray(distances)[..., None] - CENTRES) ** 2) / 0.2**2)).float()


def collate(rows):
    """The 2018 collate_pool: tensors of a batch from ((atom_fea, nbr_fea, nbr_fea_idx), target) per crystal."""
    atoms, features, neighbors, crystals, targets, base = [], [], [], [], [], 0
    for (atom_fea, nbr_fea, nbr_fea_idx), target in rows:
        atoms.append(atom_fea)
        features.append(nbr_fea)
        neighbors.append(nbr_fea_idx + base)
        crystals.append(torch.LongTensor(np.arange(len(atom_fea)) + base))
        targets.append(target)
        base += len(atom_fea)
    return (torch.cat(atoms), torch.cat(features), torch.cat(neighbors), crystals), torch.stack(targets)


def rows_of(crystals: Crystals, table: torch.Tensor, targets) -> list:
    """What the 2018 CIFData yields: padded tables of twelve neighbours."""
    rows = []
    for k in range(len(crystals)):
        graph = build_graphs(crystals[k : k + 1], GraphSpec(RADIUS, NEIGHBORS, missing="pad-2018"))
        neighbors = torch.tensor(graph.source.reshape(-1, NEIGHBORS))
        features = expand(graph.distances.reshape(-1, NEIGHBORS))
        rows.append(((table[graph.atomic_numbers - 1], features, neighbors), torch.tensor([float(targets[k])])))
    return rows
