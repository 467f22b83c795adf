"""Pooling of atoms into crystals as a module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from cgfast.functional import REDUCTIONS, pool

if TYPE_CHECKING:
    from torch import Tensor


class Pool(nn.Module):
    """Pool atom features (N, F) into crystal features (B, F) by mean, sum, min or max over `graph_ptr` (B + 1,).

    Raises ValueError for an unknown `reduce`. Same bits on every run.
    """

    def __init__(self, reduce: str = "mean") -> None:
        super().__init__()
        if reduce not in REDUCTIONS:
            msg = f"reduce must be one of {', '.join(REDUCTIONS)}, got {reduce!r}"
            raise ValueError(msg)
        self.reduce = reduce

    def forward(self, x: Tensor, graph_ptr: Tensor) -> Tensor:
        """(N, F), (B + 1,) -> (B, F)."""
        return pool(x, graph_ptr, self.reduce)

    def extra_repr(self) -> str:
        """What torch prints between the brackets."""
        return repr(self.reduce)
