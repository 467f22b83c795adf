"""Trained models: what there is (catalogue), how files become models (checkpoints), and the model that predicts."""

from __future__ import annotations

from cgfast.models.catalogue import ModelInfo, Target, available_models
from cgfast.models.loading import load_model
from cgfast.models.prediction import OutputColumn, Prediction
from cgfast.models.property_model import PropertyModel

__all__ = ["ModelInfo", "OutputColumn", "Prediction", "PropertyModel", "Target", "available_models", "load_model"]
