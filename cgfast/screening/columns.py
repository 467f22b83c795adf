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
    """The names of all models' output columns, model by model: their own, with `<model>.` before where one is taken.

    A column and its standard deviation (`<column>_std`) go together: both have the prefix or neither. Models that share even
    their name (two files of one property) are told apart by the first 8 digits of their hash. Raises ValueError when a model
    is given twice.
    """
    first: dict[str | int, str] = {}
    for model in models:
        weights = model.sha256 or id(model)  # a model that was never saved has no hash
        if weights in first:
            msg = f"models: {model.name} is given twice (it holds the same weights as {first[weights]})"
            raise ValueError(msg)
        first[weights] = model.name
    plain = Counter([ID, FLAGS, *(column.name for model in models for column in model.columns)])
    prefixed = Counter((model.name, column.name) for model in models for column in model.columns)
    names = [name for model in models for name in _names_of(model, plain, prefixed)]
    taken = [name for name, count in Counter([ID, FLAGS, *names]).items() if count > 1]
    if taken:
        msg = f"models: the columns {', '.join(taken)} cannot be told apart, give the models names of their own"
        raise ValueError(msg)
    return names


def value_columns(models: Sequence[PropertyModel], names: Sequence[str]) -> list[str]:
    """Of prediction_columns(), `names`, those that are values, not standard deviations."""
    kinds = [name in {target.column for target in model.targets} for model in models for name, _ in model.columns]
    return [name for name, is_value in zip(names, kinds, strict=True) if is_value]


def by_model(models: Sequence[PropertyModel], names: Sequence[str]) -> list[list[str]]:
    """prediction_columns(), `names`, as one list per model."""
    rest = iter(names)
    return [[next(rest) for _ in model.columns] for model in models]


def _names_of(model: PropertyModel, plain: Counter[str], prefixed: Counter[tuple[str, str]]) -> list[str]:
    groups = [[column.name for column in model.columns if column.name in _pair(target.column)] for target in model.targets]
    names = []
    for group in groups:
        if all(plain[name] == 1 for name in group):
            prefix = ""
        elif all(prefixed[model.name, name] == 1 for name in group):
            prefix = f"{model.name}."
        else:
            prefix = f"{model.name}@{model.sha256[:8]}."
        names += [prefix + name for name in group]
    return names


def _pair(column: str) -> tuple[str, str]:
    return column, f"{column}_std"


def kept_columns(predicted: Sequence[str], kept: Sequence[str]) -> list[str]:
    """Names of the columns carried over from the input: their own, or `input.<name>` where that is taken."""
    taken = {ID, FLAGS, *predicted}
    return [f"input.{name}" if name in taken else name for name in kept]
