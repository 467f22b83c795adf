"""Inputs of the message op made from a generated crystal, so that no data set is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from cgfast.basis import GaussianBasis
from cgfast.neighbors import neighbor_list

TERMS = ("none", "dense", "gaussian")
BASIS = GaussianBasis()


def crystal_edges(n_atoms: int = 60, seed: int = 0, max_neighbors: int | None = 12) -> Any:
    rng = np.random.default_rng(seed)
    cell = np.diag([9.0, 10.0, 11.0]) + rng.normal(size=(3, 3))
    return neighbor_list(rng.random((n_atoms, 3)) @ cell, cell, pbc=True, cutoff=8.0, max_neighbors=max_neighbors)


def sample_inputs(
    term: str,
    *,
    n_features: int = 16,
    dtype: torch.dtype = torch.float64,
    basis: GaussianBasis = BASIS,
    weighted: bool = False,
    requires_grad: bool = False,
    n_atoms: int = 60,
    seed: int = 0,
) -> tuple[tuple[torch.Tensor, ...], dict[str, Any]]:
    """Positional and keyword arguments of gated_message."""
    edges = crystal_edges(n_atoms, seed)
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(requires_grad)

    source, row_ptr = torch.from_numpy(edges.source.copy()), torch.from_numpy(edges.row_ptr)
    positional = (random(n_atoms, 2 * n_features), random(n_atoms, 2 * n_features), source, row_ptr)
    keywords: dict[str, Any] = {}
    n_basis = basis.n_centres
    if term != "none":
        keywords["weight"] = random(n_basis, 2 * n_features)
    if term == "dense":
        keywords["edge_attr"] = random(edges.n_edges, n_basis)
    if term == "gaussian":
        keywords["distances"] = torch.from_numpy(edges.distances).requires_grad_(requires_grad)
        keywords["basis"] = basis
    if weighted:
        keywords["edge_weight"] = torch.rand(edges.n_edges, generator=generator, dtype=torch.float64).to(dtype)
    return positional, keywords
