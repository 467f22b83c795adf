"""A readout that can be read: what every atom contributes to the prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from cgfast.functional import pool
from cgfast.nn.row_linear import row_linear

if TYPE_CHECKING:
    from torch import Tensor

REDUCTIONS = ("mean", "sum")


class SiteReadout(nn.Module):
    """One number per atom, x_i . w + b, whose mean or sum over a crystal is the prediction.

    In place of pooled features and a nonlinear head: the linear map of every site and the pooling of the values are the
    interpretable readout of Xie & Grossman 2018, PRL 120, 145301 (Fig. 3, site energies).

    channels: F, features per atom. reduce: "mean" for a target per atom (eV/atom), the contributions then average to the
    prediction; "sum" for a target of the whole cell (eV). Contributions have the target's unit.

    Raises ValueError for channels below 1 and another `reduce`.
    """

    def __init__(self, channels: int, reduce: str = "mean") -> None:
        super().__init__()
        if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
            msg = f"channels must be a whole number of at least 1, got {channels!r}"
            raise ValueError(msg)
        if reduce not in REDUCTIONS:
            msg = f"reduce must be one of {', '.join(REDUCTIONS)}, got {reduce!r}"
            raise ValueError(msg)
        self.channels = channels
        self.reduce = reduce
        self.lin = nn.Linear(channels, 1)

    def forward(self, x: Tensor, graph_ptr: Tensor) -> Tensor:
        """(N, F), (B + 1,) -> (B, 1); 0 for a crystal without atoms. Raises ValueError for a graph_ptr that does not fit."""
        # Pooled are the contributions themselves, not the features, so that they add up to what is returned.
        return pool(self.contributions(x), graph_ptr, self.reduce)

    def contributions(self, x: Tensor) -> Tensor:
        """(N, F) -> (N, 1): what each atom adds to the sum, or to the mean before the division by the number of atoms.

        Raises ValueError if x does not have shape (N, F).
        """
        if x.dim() != 2 or x.shape[1] != self.channels:
            msg = f"x must have shape (N, {self.channels}), got {tuple(x.shape)}"
            raise ValueError(msg)
        return row_linear(self.lin, x)

    def extra_repr(self) -> str:
        """What torch prints between the brackets."""
        return f"reduce={self.reduce!r}"
