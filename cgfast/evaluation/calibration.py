"""Whether a model knows how sure it is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from cgfast._optional import require
from cgfast.evaluation.metrics import NO_ROWS, Metrics, tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 10  # of equally many rows (standard deviations) or equal width (probabilities)


def std_calibration(truth: NDArray[np.float64], predicted: NDArray[np.float64], std: NDArray[np.float64], unit: str) -> Metrics:
    """Calibration of an ensemble's standard deviations, (n,) each, in `unit`.

    share_within_1_std, share_within_2_std: of truths that lie so near; of a normal distribution 0.683 and 0.954.
    miscalibration_area: between the diagonal and the share of truths in the central interval that should hold a share p of
    them, 0 to 0.5 (Tran et al. 2020, doi:10.1088/2632-2153/ab7e1a). expected_normalized_calibration_error: mean over 10 bins of
    rising std of |rms std - rms error| / rms std (Levi et al. 2022, doi:10.3390/s22155540). mean_std: in `unit`.
    """
    names = ("share_within_1_std", "share_within_2_std", "miscalibration_area", "expected_normalized_calibration_error")
    if not len(truth):
        return Metrics.collect({"mean_std": unit}, dict.fromkeys((*names, "mean_std"), NO_ROWS))
    error = np.abs(truth - predicted)
    rms_std, rms_error = binned_errors(error, std)
    normalized: float | str = "some bin's standard deviations are all zero"
    if (rms_std > 0).all():
        normalized = float(np.mean(np.abs(rms_std - rms_error) / rms_std))
    found: dict[str, float | str] = {
        "share_within_1_std": float(np.mean(error <= std)),
        "share_within_2_std": float(np.mean(error <= 2 * std)),
        "miscalibration_area": miscalibration_area(central_probabilities(error, std)),
        "expected_normalized_calibration_error": normalized,
        "mean_std": float(std.mean()),
    }
    return Metrics.collect({"mean_std": unit}, found)


def class_calibration(truth: NDArray[np.float64], probability: NDArray[np.float64]) -> Metrics:
    """Expected calibration error of a probability: mean over rows of |share of the last class - mean probability| of their bin.

    truth, probability: (n,). Ten bins of equal width, after Guo et al. 2017, arXiv:1706.04599.
    """
    name = "expected_calibration_error"
    if not len(truth):
        return Metrics.collect({}, {name: NO_ROWS})
    functional = require("torchmetrics.functional.classification", "train")
    error = functional.binary_calibration_error(tensor(probability), tensor(truth).long(), n_bins=BINS, norm="l1")
    return Metrics.collect({}, {name: float(error)})


def binned_errors(error: NDArray[np.float64], std: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Root mean square of std and of error in up to 10 bins of equally many rows, by rising std."""
    parts = [part for part in np.array_split(np.argsort(std, kind="stable"), BINS) if len(part)]
    return (
        np.array([np.sqrt(np.mean(std[part] ** 2)) for part in parts]),
        np.array([np.sqrt(np.mean(error[part] ** 2)) for part in parts]),
    )


def central_probabilities(error: NDArray[np.float64], std: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) rising: the share that the normal distribution holds nearer to its centre than each truth, erf(|z| / sqrt(2)).

    Where std is 0 a truth is at the centre (0) or outside of everything (1).
    """
    z = np.divide(error, std, out=np.where(error > 0, np.inf, 0.0), where=std > 0)
    return np.sort(np.array([math.erf(value / math.sqrt(2)) for value in z.tolist()]))


def miscalibration_area(probabilities: NDArray[np.float64]) -> float:
    """The integral over p from 0 to 1 of |share of `probabilities` up to p - p|, exactly. probabilities: (n,), rising."""
    n = len(probabilities)
    edges = np.concatenate([[0.0], probabilities, [1.0]])
    shares = np.arange(n + 1) / n  # between two edges the share is constant
    left, right = edges[:-1] - shares, edges[1:] - shares
    crossing = (left < 0) & (right > 0)
    whole = np.abs(right**2 - left**2) / 2
    return float(np.where(crossing, (right**2 + left**2) / 2, whole).sum())


def reliability(
    truth: NDArray[np.float64], probability: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Mean probability, share of the last class and number of rows, for each of the ten bins that has rows."""
    bins = np.minimum((probability * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    filled = counts > 0
    mean = np.bincount(bins, probability, BINS)[filled] / counts[filled]
    share = np.bincount(bins, truth, BINS)[filled] / counts[filled]
    return mean, share, counts[filled]
