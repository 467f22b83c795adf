"""Metrics against their definitions, written out in NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cgfast.evaluation.metrics import (
    NO_ROWS,
    class_metrics,
    confusion,
    precision_recall_curve,
    regression_metrics,
    roc_curve,
    rounded,
)

pytest.importorskip("torch")
pytest.importorskip("torchmetrics", reason="the metrics are those of torchmetrics")

CLASSES = ("insulator", "metal")


@pytest.fixture
def values() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = random.normal(-1.5, 1.1, 501)
    return truth, truth + random.normal(0.02, 0.3, 501)


@pytest.fixture
def probabilities() -> tuple[np.ndarray, np.ndarray]:
    """Truths and probabilities with many ties, which the definitions treat as one threshold."""
    random = np.random.default_rng(1)
    probability = np.round(random.random(400), 2)
    return (random.random(400) < 0.2 + 0.6 * probability).astype(float), probability


def area_by_ranks(truth: np.ndarray, probability: np.ndarray) -> float:
    """The chance that a positive ranks above a negative, ties counting half (Mann and Whitney)."""
    difference = probability[truth == 1][:, None] - probability[truth == 0][None, :]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def average_precision_by_definition(truth: np.ndarray, probability: np.ndarray) -> float:
    total, recall_before = 0.0, 0.0
    for threshold in sorted(set(probability.tolist()), reverse=True):
        chosen = probability >= threshold
        recall = (chosen & (truth == 1)).sum() / (truth == 1).sum()
        total += (recall - recall_before) * (truth[chosen] == 1).mean()
        recall_before = recall
    return total


def test_numbers(values):
    truth, predicted = values
    error = predicted - truth
    found = regression_metrics(truth, predicted, "eV/atom")
    assert found.values == pytest.approx(
        {
            "mae": np.abs(error).mean(),
            "rmse": math.sqrt((error**2).mean()),
            "r2": 1 - (error**2).sum() / ((truth - truth.mean()) ** 2).sum(),
            "max_error": np.abs(error).max(),
        },
        rel=1e-12,
    )
    assert found.units == {"mae": "eV/atom", "rmse": "eV/atom", "r2": "1", "max_error": "eV/atom"}
    assert found.undefined == {}


@pytest.mark.parametrize(
    ("truth", "reason"), [([1.0], "needs at least two rows"), ([2.0, 2.0, 2.0], "all truths are the same")]
)
def test_r2_that_is_not_defined(truth, reason):
    found = regression_metrics(np.array(truth), np.zeros(len(truth)), "eV")
    assert found.values["r2"] is None
    assert found.undefined == {"r2": reason}
    assert found.values["mae"] == pytest.approx(np.mean(truth))


def test_no_rows_at_all():
    none = np.empty(0)
    for found in (regression_metrics(none, none, "eV"), class_metrics(none, none, CLASSES)):
        assert set(found.values.values()) == {None}
        assert set(found.undefined) == set(found.values)
        assert set(found.undefined.values()) == {NO_ROWS}


def test_classes(probabilities):
    truth, probability = probabilities
    yes = probability > 0.5
    tp, fp, fn = (yes & (truth == 1)).sum(), (yes & (truth == 0)).sum(), (~yes & (truth == 1)).sum()
    found = class_metrics(truth, probability, CLASSES)
    exact = {
        "accuracy": (yes == (truth == 1)).mean(),
        "precision": tp / (tp + fp),
        "recall": tp / (tp + fn),
        "f1": 2 / ((tp + fp) / tp + (tp + fn) / tp),
    }
    assert {name: found.values[name] for name in exact} == pytest.approx(exact, rel=1e-12)
    assert found.values["roc_auc"] == pytest.approx(area_by_ranks(truth, probability), abs=1e-6)
    assert found.values["average_precision"] == pytest.approx(average_precision_by_definition(truth, probability), abs=1e-6)
    assert found.undefined == {}
    counts = confusion(truth, probability)
    assert counts == {"true_positive": tp, "false_positive": fp, "true_negative": 400 - tp - fp - fn, "false_negative": fn}


@pytest.mark.parametrize(
    ("truth", "probability", "undefined"),
    [
        ([0, 0], [0.1, 0.2], {"precision", "recall", "f1", "roc_auc", "average_precision"}),
        ([0, 0], [0.1, 0.9], {"recall", "roc_auc", "average_precision"}),
        ([1, 1], [0.1, 0.2], {"precision", "roc_auc"}),
        ([0, 1], [0.1, 0.2], {"precision"}),
    ],
)
def test_class_metrics_that_are_not_defined(truth, probability, undefined):
    found = class_metrics(np.array(truth, float), np.array(probability), CLASSES)
    assert {name for name, value in found.values.items() if value is None} == undefined == set(found.undefined)
    assert all("metal" in reason for reason in found.undefined.values())
    assert all(0 <= value <= 1 for value in found.values.values() if value is not None)


def test_curves_enclose_their_areas(probabilities):
    truth, probability = probabilities
    false_rate, true_rate = roc_curve(truth, probability)
    assert (false_rate[0], true_rate[0], false_rate[-1], true_rate[-1]) == (0, 0, 1, 1)
    area = np.sum(np.diff(false_rate) * (true_rate[1:] + true_rate[:-1]) / 2)
    assert area == pytest.approx(area_by_ranks(truth, probability), abs=1e-6)
    recall, precision = precision_recall_curve(truth, probability)
    area = -np.sum(np.diff(recall) * precision[:-1])
    assert area == pytest.approx(average_precision_by_definition(truth, probability), abs=1e-6)
    assert roc_curve(np.ones(3), np.ones(3)) is None
    assert precision_recall_curve(np.zeros(3), np.ones(3)) is None


def test_numbers_as_people_read_them():
    assert [rounded(v) for v in (None, 0.0, 0.12345, -12.0, 1.234e-5)] == ["-", "0.0000", "0.1235", "-12.0000", "1.234e-05"]
