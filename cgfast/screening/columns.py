"""Names of the columns of a table of predictions."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgfast.models import PropertyModel

ID = "id"
FLAGS = "flags"


def prediction_columns(models: Sequence[PropertyModel]) -> list[str]:
    """One column name per model: its `column`, with `<model>.` before it where that is taken.

    Models that share even their name (two files of one property) are told apart by the first 8 digits of
    their hash. Raises ValueError when a model is given twice.
    """
    first: dict[str, str] = {}
    for model in models:
        if model.sha256 in first:
            msg = f"models: {model.name} is given twice (it holds the same weights as {first[model.sha256]})"
            raise ValueError(msg)
        first[model.sha256] = model.name
    plain = Counter([ID, FLAGS, *(model.column for model in models)])
    prefixed = Counter((model.name, model.column) for model in models)
    names = []
    for model in models:
        if plain[model.column] == 1:
            names.append(model.column)
        elif prefixed[model.name, model.column] == 1:
            names.append(f"{model.name}.{model.column}")
        else:
            names.append(f"{model.name}@{model.sha256[:8]}.{model.column}")
    return names


def kept_columns(predicted: Sequence[str], kept: Sequence[str]) -> list[str]:
    """Names of the columns carried over from the input: their own, or `input.<name>` where that is taken."""
    taken = {ID, FLAGS, *predicted}
    return [f"input.{name}" if name in taken else name for name in kept]
