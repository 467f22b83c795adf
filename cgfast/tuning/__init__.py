"""Search for the options that train the best model."""

from __future__ import annotations

from cgfast.tuning.results import TrialReport, TrialRow, TuningResult
from cgfast.tuning.run import resume, tune
from cgfast.tuning.space import DEFAULT_SPACE, read_space

__all__ = ["DEFAULT_SPACE", "TrialReport", "TrialRow", "TuningResult", "read_space", "resume", "tune"]
