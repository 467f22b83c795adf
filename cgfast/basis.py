"""The Gaussian basis of distances that stands for an edge's features."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


@dataclass(frozen=True, slots=True)
class GaussianBasis:
    """exp(-((d - mu_k) / width)^2) with centres mu_k = start + k * step up to stop, all in Å.

    The default is that of the 2018 code (Xie & Grossman, PRL 120, 145301): 41 centres from 0 to 8 Å. Textbooks write
    exp(-(d - mu)^2 / (2 sigma^2)): width = sqrt(2) sigma. width defaults to step.

    Raises ValueError if step or width is not positive, or stop lies below start.
    """

    start: float = 0.0
    stop: float = 8.0
    step: float = 0.2
    width: float | None = None

    def __post_init__(self) -> None:
        if self.width is None:
            object.__setattr__(self, "width", self.step)
        values = (self.start, self.stop, self.step, self.width)
        if not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
            msg = f"GaussianBasis needs finite numbers of Å, got start, stop, step, width = {values}"
            raise ValueError(msg)
        if self.step <= 0 or self.gaussian_width <= 0 or self.stop < self.start:
            msg = f"GaussianBasis needs step > 0, width > 0 and stop >= start, got start, stop, step, width = {values}"
            raise ValueError(msg)

    @property
    def gaussian_width(self) -> float:
        """The width in Å, with the default filled in."""
        return self.step if self.width is None else self.width

    @property
    def n_centres(self) -> int:
        """Number of centres K."""
        return math.floor((self.stop - self.start) / self.step + 1e-6) + 1

    def __call__(self, distances: Tensor) -> Tensor:
        """Expand distances (E,) Å into features (E, K); values below 1e-30 are exact zeros (denormals are slow)."""
        import torch

        centres = self.start + self.step * torch.arange(self.n_centres, dtype=distances.dtype, device=distances.device)
        values = torch.exp(-(((distances[..., None] - centres) / self.gaussian_width) ** 2))
        return torch.where(values < 1e-30, torch.zeros_like(values), values)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """The inverse of to_dict()."""
        return cls(**fields)
