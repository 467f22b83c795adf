"""Training of models: splits, the loop, what comes out."""

from __future__ import annotations

from cgfast.training.finetuning import finetune
from cgfast.training.options import PRESETS, TrainOptions, preset_options
from cgfast.training.run import TrainingResult, resume, train

__all__ = ["PRESETS", "TrainOptions", "TrainingResult", "finetune", "preset_options", "resume", "train"]
