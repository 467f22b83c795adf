"""How far predictions are from the truth: one number each, or the reason why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cgfast._optional import require

if TYPE_CHECKING:
    from numpy.typing import NDArray

NO_ROWS = "no row has both a label and a prediction"


@dataclass(frozen=True, slots=True)
class Metrics:
    """Numbers by name: `values` (None where one is not defined), `units` of each, and in `undefined` the reasons."""

    values: dict[str, float | None]
    units: dict[str, str]
    undefined: dict[str, str]

    @classmethod
    def collect(cls, unit_of: dict[str, str], found: dict[str, float | str]) -> Metrics:
        """Put together `found`, where a text is the reason why there is no number."""
        return cls(
            {name: None if isinstance(value, str) else value for name, value in found.items()},
            {name: unit_of.get(name, "1") for name in found},
            {name: value for name, value in found.items() if isinstance(value, str)},
        )


def regression_metrics(truth: NDArray[np.float64], predicted: NDArray[np.float64], unit: str) -> Metrics:
    """MAE, RMSE, R2 = 1 - sum of squared errors / sum of squared deviations from the mean truth, and the largest error.

    truth, predicted: (n,) in `unit`. R2 needs two different truths.
    """
    names = ("mae", "rmse", "r2", "max_error")
    units = dict.fromkeys(("mae", "rmse", "max_error"), unit)
    if not len(truth):
        return Metrics.collect(units, dict.fromkeys(names, NO_ROWS))
    functional = require("torchmetrics.functional", "train")
    of, to = tensor(predicted), tensor(truth)
    r2: float | str = "all truths are the same" if len(truth) > 1 else "needs at least two rows"
    if np.ptp(truth) > 0:
        r2 = float(functional.r2_score(of, to))
    found: dict[str, float | str] = {
        "mae": float(functional.mean_absolute_error(of, to)),
        "rmse": float(functional.mean_squared_error(of, to, squared=False)),
        "r2": r2,
        "max_error": float(np.abs(predicted - truth).max()),
    }
    return Metrics.collect(units, found)


def class_metrics(truth: NDArray[np.float64], probability: NDArray[np.float64], classes: tuple[str, ...]) -> Metrics:
    """Accuracy, precision, recall and F1 at probability 0.5, area under the ROC curve, and average precision.

    truth: (n,) 1.0 where the crystal is of the last class, else 0.0. probability: (n,) of the last class. All rows are pooled:
    nothing is a mean over batches. Average precision is sum over thresholds of (R_k - R_(k-1)) P_k.
    """
    names = ("accuracy", "precision", "recall", "f1", "roc_auc", "average_precision")
    if not len(truth):
        return Metrics.collect({}, dict.fromkeys(names, NO_ROWS))
    functional = require("torchmetrics.functional.classification", "train")
    of, to = tensor(probability), tensor(truth).long()
    tp, fp, tn, fn = (int(count) for count in functional.binary_stat_scores(of, to)[:4])
    none_true = f"no row is of class {classes[-1]}"
    none_predicted = f"no row is predicted as {classes[-1]}"
    one_class = none_true if tp + fn == 0 else f"every row is of class {classes[-1]}"
    found: dict[str, float | str] = {
        "accuracy": (tp + tn) / len(truth),
        "precision": tp / (tp + fp) if tp + fp else none_predicted,
        "recall": tp / (tp + fn) if tp + fn else none_true,
        "f1": 2 * tp / (2 * tp + fp + fn) if 2 * tp + fp + fn else f"{none_true}, and {none_predicted}",
        "roc_auc": float(functional.binary_auroc(of, to)) if tp + fn and tn + fp else one_class,
        "average_precision": float(functional.binary_average_precision(of, to)) if tp + fn else none_true,
    }
    return Metrics.collect({}, found)


def confusion(truth: NDArray[np.float64], probability: NDArray[np.float64]) -> dict[str, int]:
    """Rows by truth and prediction at probability 0.5: true and false positives and negatives of the last class."""
    positive, predicted = truth == 1, probability > 0.5
    return {
        "true_positive": int((positive & predicted).sum()),
        "false_positive": int((~positive & predicted).sum()),
        "true_negative": int((~positive & ~predicted).sum()),
        "false_negative": int((positive & ~predicted).sum()),
    }


def roc_curve(
    truth: NDArray[np.float64], probability: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """False and true positive rate at every threshold; None with one class only."""
    if not len(truth) or np.ptp(truth) == 0:
        return None
    functional = require("torchmetrics.functional.classification", "train")
    false_rate, true_rate, _ = functional.binary_roc(tensor(probability), tensor(truth).long())
    return _array(false_rate), _array(true_rate)


def precision_recall_curve(
    truth: NDArray[np.float64], probability: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Recall and precision at every threshold; None without a row of the last class."""
    if not (truth == 1).any():
        return None
    functional = require("torchmetrics.functional.classification", "train")
    precision, recall, _ = functional.binary_precision_recall_curve(tensor(probability), tensor(truth).long())
    return _array(recall), _array(precision)


def rounded(value: float | None, digits: int = 4) -> str:
    """A number as people read it, with `digits` digits that count; a dash for None."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:.{digits}g}" if value and abs(value) < 10 ** (-digits) else f"{value:.{digits}f}"


def tensor(values: NDArray[np.float64]) -> Any:  # noqa: ANN401 - torch is imported late
    """The values as a float64 tensor of their own."""
    import torch

    return torch.from_numpy(np.array(values, np.float64))  # a copy: what comes from Arrow cannot be written to


def _array(values: Any) -> NDArray[np.float64]:  # noqa: ANN401 - torch is imported late
    return np.asarray(values.numpy(), np.float64)
