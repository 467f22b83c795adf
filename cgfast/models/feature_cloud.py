"""Where the features of the training crystals lie, and how far from them others are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

QUANTILE = 0.995  # of the training crystals is nearer than the threshold
_CHUNK = 4096  # crystals in float64 at a time
_LARGEST = 1e30  # variance: beyond it float32 has no numbers
_RIDGE = 1e-3  # of the mean variance: a feature that never changes must not make rounding a distance


@dataclass(frozen=True, slots=True, eq=False)
class FeatureCloud:
    """Mean and covariance of the pooled features of the training crystals (Mahalanobis, Proc. Natl. Inst. Sci. India 2, 49).

    mean: (F,) float32. whitening: (F, F) float32, lower triangular; the length of whitening (x - mean) is the distance of x,
    about sqrt(F) for a training crystal. threshold: a larger distance is far.

    Raises ValueError for arrays that do not fit.
    """

    mean: NDArray[np.float32]
    whitening: NDArray[np.float32]
    threshold: float

    def __post_init__(self) -> None:
        width = self.mean.size
        fits = self.mean.shape == (width,) and self.whitening.shape == (width, width)
        fits = fits and self.mean.dtype == self.whitening.dtype == np.float32
        if not (fits and width and np.isfinite(self.mean).all() and np.isfinite(self.whitening).all()):
            msg = f"whitening must be a matrix for {width} features, got shape {self.whitening.shape}"
            raise ValueError(msg)
        if not (np.isfinite(self.threshold) and self.threshold > 0):
            msg = f"threshold must be a positive number, got {self.threshold!r}"
            raise ValueError(msg)

    @classmethod
    def fit(cls, features: Iterable[NDArray[np.floating]]) -> Self | None:
        """The cloud of a training set, given as (B, F) arrays; None for fewer than two crystals, or features without bounds.

        threshold: the QUANTILE of the training crystals' own distances.
        """
        parts = list(features)
        x = np.concatenate(parts) if parts else np.empty((0, 1), np.float32)
        if len(x) < 2:
            return None
        mean = x.mean(axis=0, dtype=np.float64)
        covariance = np.zeros((x.shape[1], x.shape[1]))
        for start in range(0, len(x), _CHUNK):  # a float64 copy of all features at once may be too much
            centred = x[start : start + _CHUNK] - mean
            covariance += centred.T @ centred
        covariance /= len(x) - 1
        scale = float(np.trace(covariance)) / len(mean)
        if not scale < _LARGEST:
            return None
        covariance += (_RIDGE * scale if scale > 1 / _LARGEST else 1.0) * np.eye(len(mean))  # 1: copies of one crystal
        whitening = np.tril(np.linalg.inv(np.linalg.cholesky(covariance)))
        cloud = cls(mean.astype(np.float32), whitening.astype(np.float32), 1.0)
        distances = np.concatenate([cloud.distances(x[start : start + _CHUNK]) for start in range(0, len(x), _CHUNK)])
        # Copies of one crystal are all at the mean: whatever is a standard deviation away is another.
        threshold = max(float(np.quantile(distances, QUANTILE)), 1.0)
        return cls(cloud.mean, cloud.whitening, threshold)

    def distances(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """(B,) Mahalanobis distances of (B, F) features, computed in float64.

        Same bits for the same batch: the product is written out, for a BLAS may use other threads.
        """
        centred = features.astype(np.float64) - self.mean
        scaled = np.einsum("bf,gf->bg", centred, self.whitening.astype(np.float64), optimize=False)
        out: NDArray[np.float64] = np.sqrt(np.einsum("bg,bg->b", scaled, scaled))
        return out

    def far(self, features: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(B,) whether each of (B, F) features is farther than the threshold."""
        return self.distances(features) > self.threshold

    def to_dict(self) -> dict[str, Any]:
        """What is not an array, as plain JSON types."""
        return {"threshold": self.threshold}
