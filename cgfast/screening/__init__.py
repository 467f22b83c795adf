"""Screening: structures on disk in, a table of predictions out."""

from __future__ import annotations

from cgfast.screening.result import FailuresError, Progress, ScreenResult
from cgfast.screening.run import screen

__all__ = ["FailuresError", "Progress", "ScreenResult", "screen"]
