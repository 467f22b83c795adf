"""The truths that a model is compared with: which label belongs to which target, and whether the two fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cgfast.crystals import Crystals
from cgfast.io.labelled import LabelledCrystals, read_labelled
from cgfast.io.labels import LOG10, Label, split_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cgfast.models import PropertyModel
    from cgfast.models.catalogue import Target


class TargetLabel(NamedTuple):
    """One target to evaluate, and the label that tells its truth."""

    target: Target
    label: str


def wanted_targets(model: PropertyModel, targets: str | Sequence[str] | None) -> list[TargetLabel]:
    """What is evaluated. targets: labels in the order of the model's targets, or `COLUMN OF THE MODEL=LABEL` for some of them.

    Raises ValueError when the model does not know its labels and none are given, and for names and numbers that do not fit.
    """
    if targets is None:
        return [TargetLabel(target, _own_label(model, target)) for target in model.targets]
    named = [_split_column(text, model) for text in ([targets] if isinstance(targets, str) else targets)]
    if all(name is None for name, _ in named):
        if len(named) != len(model.targets):
            msg = (
                f"targets: got {len(named)} labels, expected {len(model.targets)} for {_columns(model)}, "
                "or COLUMN=LABEL for some of them"
            )
            raise ValueError(msg)
        return [TargetLabel(target, label) for target, (_, label) in zip(model.targets, named, strict=True)]
    by_column = {target.column: target for target in model.targets}
    for name, label in named:
        if name not in by_column or [other for other, _ in named].count(name) > 1:
            msg = f"targets: got {label if name is None else name!r}, expected COLUMN=LABEL, each once, with {_columns(model)}"
            raise ValueError(msg)
    return [TargetLabel(by_column[str(name)], label) for name, label in named]


def _split_column(text: str, model: PropertyModel) -> tuple[str | None, str]:
    """As split_name(), also where an output column is called `log10(K)`."""
    for target in model.targets:
        before, found, rest = text.strip().partition(target.column)
        if found and not before and rest.lstrip().startswith("="):
            return target.column, rest.lstrip()[1:].strip()
    return split_name(text)


def _own_label(model: PropertyModel, target: Target) -> str:
    if target.data is None:
        what = f"{target.property} in {target.unit}" if target.classes is None else target.property
        msg = (
            f"targets: {model.name} does not say which column holds its labels ({what}): expected COLUMN, log10(COLUMN), "
            "COLUMN<NUMBER or COLUMN>NUMBER"
        )
        raise ValueError(msg)
    return target.data


def _columns(model: PropertyModel) -> str:
    return " and ".join(target.column for target in model.targets)


def read_truths(source: Any, wanted: Sequence[TargetLabel], **options: Any) -> LabelledCrystals:  # noqa: ANN401 - see read_labelled
    """Crystals of `source` (see read_labelled, also for `options`; or LabelledCrystals) with one label per wanted target.

    Raises ValueError for labels that cannot be truths of their targets.
    """
    if isinstance(source, LabelledCrystals):
        _check_labels(source, wanted)
        data = source
    elif isinstance(source, Crystals):
        msg = "data: got Crystals, which have no labels; expected a file or folder, or LabelledCrystals"
        raise ValueError(msg)  # noqa: TRY004 - one kind of error for bad input
    else:
        labels = [label for _, label in wanted]
        data = read_labelled(source, labels, classes=[target.classes for target, _ in wanted], **options)
    for (target, label), values, words in zip(wanted, data.values.T, data.classes, strict=True):
        known = values[~np.isnan(values)]
        if target.classes is None and words is not None:
            msg = f"targets: {label} is text ({' and '.join(words)}), expected numbers for {target.column}"
            raise ValueError(msg)
        if target.classes is not None and not np.isin(known, (0.0, 1.0)).all():
            odd = known[~np.isin(known, (0.0, 1.0))][0]
            msg = (
                f"targets: {label} holds {odd:g}, expected 0 and 1 for {' and '.join(target.classes)}; "
                "a question like COLUMN<NUMBER makes classes of numbers"
            )
            raise ValueError(msg)
    return data


def _check_labels(data: LabelledCrystals, wanted: Sequence[TargetLabel]) -> None:
    """Raises ValueError if the labels of crystals in memory are not those that are asked for, in their order."""
    asked = tuple(str(Label.parse(label, data.literal)) for _, label in wanted)
    if data.labels != asked:
        msg = (
            f"data: got crystals labelled {', '.join(data.labels)}, expected {', '.join(asked)}; targets may name other labels"
        )
        raise ValueError(msg)
    if data.values.shape[1] != len(wanted):
        msg = f"data: got {data.values.shape[1]} labels a crystal, expected {len(wanted)}, one for each target"
        raise ValueError(msg)


def unit_notes(wanted: Sequence[TargetLabel], data: LabelledCrystals) -> Iterator[str]:
    """A sentence for each label whose unit, as the table tells it, is not that of the target."""
    for (target, label), unit, parsed in zip(wanted, data.units, data.parsed(), strict=True):
        said = f"{LOG10}({unit})" if unit and parsed.log10 else unit
        if target.classes is None and said and said != target.unit:
            yield f"the labels {label} are in {said}, the predictions {target.column} in {target.unit}"
