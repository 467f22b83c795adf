"""Made-up crystals of an even density, on the device at once: no table and no reader is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch

    import cgfast
    from cgfast.graph import CrystalGraph

VOLUME = 16.0  # Å^3 for each atom, as in the mean of the Materials Project


class Batch(NamedTuple):
    """Crystals as flat arrays."""

    positions: np.ndarray  # (N, 3) Å
    cell: np.ndarray  # (B, 3, 3) Å
    graph_ptr: np.ndarray  # (B + 1,)
    numbers: np.ndarray  # (N,)

    def crystals(self) -> cgfast.Crystals:
        """As the rest of cgfast takes them."""
        import cgfast

        return cgfast.Crystals.from_arrays(self.positions, self.cell, self.numbers, graph_ptr=self.graph_ptr)


def batch(counts: np.ndarray, seed: int = 0) -> Batch:
    """One crystal for each number of atoms: a sheared cell, atoms on a jittered grid inside."""
    random = np.random.default_rng(seed)
    counts = np.asarray(counts, np.int64)
    n_crystals, graph_ptr = len(counts), np.concatenate([[0], np.cumsum(counts)])
    edge = np.cbrt(VOLUME * counts)
    cell = np.eye(3) + random.uniform(-0.2, 0.2, (n_crystals, 3, 3))
    cell *= (edge / np.cbrt(np.abs(np.linalg.det(cell))))[:, None, None]
    crystal = np.repeat(np.arange(n_crystals), counts)
    steps = np.ceil(np.cbrt(counts)).astype(np.int64)[crystal]
    place = np.arange(len(crystal)) - graph_ptr[crystal]
    place = place * (steps**3 // counts[crystal])  # spread over the grid
    corner = np.stack([place % steps, place // steps % steps, place // steps**2], axis=1)
    fractional = (corner + 0.5 + random.uniform(-0.25, 0.25, corner.shape)) / steps[:, None]
    positions = np.einsum("ni,nij->nj", fractional, cell[crystal])
    return Batch(positions, cell, graph_ptr, random.integers(1, 84, len(crystal)).astype(np.int32))


def counts_of(name: str, atoms: int) -> np.ndarray:
    """Numbers of atoms that add up to about `atoms`: "1-20" any of these, else that many in each crystal."""
    if name == "1-20":
        return np.random.default_rng(1).integers(1, 21, max(atoms * 2 // 21, 1))
    return np.full(max(atoms // int(name), 1), int(name), np.int64)


def graph_of(n_edges: int, device: str) -> CrystalGraph:
    """20-atom crystals with 12 edges to every atom, about `n_edges` altogether, on the device."""
    import cgfast

    counts = counts_of("20", max(n_edges // 12, 20))
    return cgfast.build_graphs(batch(counts).crystals(), cgfast.GraphSpec(missing="pad-2018"), device=device)


def relative_error(found: torch.Tensor, right: torch.Tensor) -> float:
    """|found - right| / |right| in float64, where `right` is; NaN counts as wrong."""
    import torch

    found, right = found.detach().double().to(right.device), right.detach().double()
    size = float(torch.linalg.vector_norm(right))
    error = float(torch.linalg.vector_norm(found - right))
    return error / size if size > 0 else error
