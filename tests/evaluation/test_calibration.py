"""Calibration against numerical integration and sums written out."""

from __future__ import annotations

import statistics

import numpy as np
import pytest

from cgfast.evaluation.calibration import (
    central_probabilities,
    class_calibration,
    miscalibration_area,
    reliability,
    std_calibration,
)

pytest.importorskip("torch")
pytest.importorskip("torchmetrics", reason="the metrics are those of torchmetrics")


def sample(scale: float, n: int = 1000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truths, predictions, and standard deviations that are the true ones times `scale`."""
    random = np.random.default_rng(5)
    std = random.uniform(0.1, 0.5, n)
    predicted = random.normal(0, 1, n)
    return predicted + random.normal(0, 1, n) * std, predicted, std * scale


def area_by_grid(truth: np.ndarray, predicted: np.ndarray, std: np.ndarray) -> float:
    """The share of truths inside the central interval of each probability, by the quantiles of the normal distribution."""
    levels = (np.arange(20_000) + 0.5) / 20_000
    half_widths = np.array([statistics.NormalDist().inv_cdf((1 + p) / 2) for p in levels])
    z = np.sort(np.abs(truth - predicted) / std)
    return float(np.mean(np.abs(np.searchsorted(z, half_widths, side="right") / len(z) - levels)))


@pytest.mark.parametrize("scale", [1.0, 0.3, 4.0])
def test_standard_deviations(scale):
    truth, predicted, std = sample(scale)
    error = np.abs(truth - predicted)
    found = std_calibration(truth, predicted, std, "eV")
    order = np.argsort(std)
    bins = [(np.sqrt((std[part] ** 2).mean()), np.sqrt((error[part] ** 2).mean())) for part in order.reshape(10, 100)]
    assert found.values == pytest.approx(
        {
            "share_within_1_std": (error <= std).mean(),
            "share_within_2_std": (error <= 2 * std).mean(),
            "miscalibration_area": area_by_grid(truth, predicted, std),
            "expected_normalized_calibration_error": np.mean([abs(s - e) / s for s, e in bins]),
            "mean_std": std.mean(),
        },
        abs=1e-4,
    )
    assert found.units["mean_std"] == "eV"
    assert found.units["miscalibration_area"] == "1"


def test_a_calibrated_ensemble_is_told_from_others():
    good, narrow, wide = (std_calibration(*sample(scale), "eV").values for scale in (1.0, 0.3, 4.0))
    assert good["share_within_1_std"] == pytest.approx(0.683, abs=0.03)
    assert good["share_within_2_std"] == pytest.approx(0.954, abs=0.02)
    assert good["miscalibration_area"] < 0.03 < min(narrow["miscalibration_area"], wide["miscalibration_area"])
    assert good["expected_normalized_calibration_error"] < 0.15
    assert min(narrow["expected_normalized_calibration_error"], wide["expected_normalized_calibration_error"]) > 0.5


def test_members_that_agree_exactly():
    error, std = np.array([0.0, 0.5]), np.zeros(2)
    assert central_probabilities(error, std).tolist() == [0.0, 1.0]
    found = std_calibration(error, np.zeros(2), std, "eV")
    assert found.values["expected_normalized_calibration_error"] is None
    assert list(found.undefined) == ["expected_normalized_calibration_error"]
    assert found.values["share_within_1_std"] == 0.5


@pytest.mark.parametrize(("probabilities", "area"), [([0.0], 0.5), ([1.0], 0.5), ([0.5], 0.25), ([0.0, 1.0], 0.25)])
def test_areas_by_hand(probabilities, area):
    assert miscalibration_area(np.array(probabilities)) == pytest.approx(area, abs=1e-15)


def test_probabilities():
    random = np.random.default_rng(2)
    probability = random.random(500)
    truth = (random.random(500) < probability**2).astype(float)
    expected, bins = 0.0, []
    for k in range(10):
        inside = (probability >= k / 10) & (probability < (k + 1) / 10)
        expected += inside.mean() * abs(truth[inside].mean() - probability[inside].mean())
        bins.append((probability[inside].mean(), truth[inside].mean(), inside.sum()))
    found = class_calibration(truth, probability)
    assert found.values == {"expected_calibration_error": pytest.approx(expected, rel=1e-9)}
    assert expected > 0.05
    np.testing.assert_allclose(np.transpose(reliability(truth, probability)), bins)


def test_certain_probabilities_and_no_rows():
    mean, share, counts = reliability(np.array([1.0, 0.0, 1.0]), np.array([1.0, 0.0, 1.0]))
    assert (mean.tolist(), share.tolist(), counts.tolist()) == ([0.0, 1.0], [0.0, 1.0], [1, 2])
    assert class_calibration(np.array([1.0, 0.0]), np.array([1.0, 0.0])).values == {"expected_calibration_error": 0.0}
    empty = np.empty(0)
    assert set(std_calibration(empty, empty, empty, "eV").values.values()) == {None}
    assert class_calibration(empty, empty).values == {"expected_calibration_error": None}
