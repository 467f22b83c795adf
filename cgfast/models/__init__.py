"""Trained models: what there is (catalogue), how files become models (checkpoints), and the model that predicts."""

from __future__ import annotations

from cgfast.models.catalogue import ModelInfo, available_models
from cgfast.models.loading import load_model
from cgfast.models.property_model import Prediction, PropertyModel

__all__ = ["ModelInfo", "Prediction", "PropertyModel", "available_models", "load_model"]
