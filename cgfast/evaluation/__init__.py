"""What a model knows: how well it predicts labelled crystals, its features, and what each site contributes."""

from __future__ import annotations

from cgfast.evaluation.contributions import Explanation, explain
from cgfast.evaluation.embedding import Embedding, embed
from cgfast.evaluation.results import Evaluation, TargetEvaluation
from cgfast.evaluation.run import evaluate

__all__ = ["Embedding", "Evaluation", "Explanation", "TargetEvaluation", "embed", "evaluate", "explain"]
