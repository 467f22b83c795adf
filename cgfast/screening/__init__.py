"""Screening: structures on disk in, a table of predictions out."""

from __future__ import annotations

from cgfast.screening.output.merging import merge
from cgfast.screening.predictor import Predictor
from cgfast.screening.report import write_report
from cgfast.screening.result import FailuresError, Progress, ScreenResult
from cgfast.screening.run import screen

__all__ = ["FailuresError", "Predictor", "Progress", "ScreenResult", "merge", "screen", "write_report"]
