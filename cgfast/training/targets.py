"""What a model is to predict: names and units of its targets, and their scale."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cgfast.models.catalogue import Target
from cgfast.models.targets import check_targets
from cgfast.training.splits import TRAIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cgfast.io.labelled import LabelledCrystals
    from cgfast.io.labels import Label
    from cgfast.models import PropertyModel

UNKNOWN_UNIT = "unit of its training data"
# Ends of column names that tell the unit, longest first.
_UNITS = {
    "_eV_per_atom": "eV/atom",
    "_per_atom_eV": "eV/atom",
    "_eV_per_cell": "eV/cell",
    "_eV_per_A": "eV/Å",
    "_per_cm": "1/cm",
    "_GPa": "GPa",
    "_eV": "eV",
    "_K": "K",
    "_A": "Å",
}


def make_targets(
    data: LabelledCrystals, names: Sequence[str | None], task: str, units: Sequence[str | None] = ()
) -> tuple[Target, ...]:
    """The targets of a model trained on these labels.

    names: a name for each, or None to make one from the label. task: "classification" makes each a class, "regression" each
    a number, "auto" goes by the column: truth values, two words and questions are classes, numbers are numbers. units: of
    each column (not of its logarithm); None: what the table says, else what the column's name ends in.

    Raises ValueError for a class target with other values than 0 and 1, text as numbers, two targets of one name, and more
    units than targets.
    """
    if len(units) > len(data.labels):
        msg = f"unit: got {len(units)} units, expected one for each of {len(data.labels)} targets at most"
        raise ValueError(msg)
    targets = []
    for index, label in enumerate(data.parsed()):
        classified = task == "classification" or (task == "auto" and (data.classes[index] is not None or data.binary[index]))
        if classified:
            targets.append(_class_target(label, names[index], data, index))
            continue
        if data.classes[index] is not None:
            msg = f"target {label.column}: got text, expected numbers for task='regression'"
            raise ValueError(msg)
        unit = unit_of(label, (units[index] if index < len(units) else None) or data.units[index])
        column = names[index] or (f"log10_{label.column}" if label.log10 else str(label))
        targets.append(Target(_words(column), unit, column, None, str(label)))
    columns = [target.column for target in targets]
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        msg = f"target: got {', '.join(twice)} twice, expected each once; NAME=COLUMN gives another name"
        raise ValueError(msg)
    check_targets(targets, [0.0] * len(targets), [1.0] * len(targets))
    return tuple(targets)


def _class_target(label: Label, name: str | None, data: LabelledCrystals, index: int) -> Target:
    values = data.values[:, index]
    known = values[~np.isnan(values)]
    if not np.isin(known, (0.0, 1.0)).all():
        found = np.unique(known)
        shown = ", ".join(f"{v:g}" for v in found[:5]) + (", ..." if len(found) > 5 else "")
        msg = f"target {label}: got {len(found)} different numbers ({shown}), expected classes 0 and 1 (or truth values)"
        raise ValueError(msg)
    classes = data.classes[index]
    word = name or (classes[1] if classes else str(label))
    pair = classes or (f"not {word}", word)
    return Target(f"probability of {_words(word)}", "1", f"{word}_probability", pair, str(label))


def unit_of(label: Label, said: str) -> str:
    """The unit of a label. said: of its column; "": what the column's name ends in."""
    unit = said or next((unit for end, unit in _UNITS.items() if label.column.endswith(end)), "")
    if not unit:
        return UNKNOWN_UNIT
    return f"log10({unit})" if label.log10 and not unit.startswith("log10(") else unit


def _words(column: str) -> str:
    return column.replace("_", " ")


def same_outputs(ours: Sequence[Target], theirs: Sequence[Target]) -> bool:
    """Whether a network with the one targets says what the others mean: columns, units and classes."""
    return [(t.column, t.unit, t.classes) for t in ours] == [(t.column, t.unit, t.classes) for t in theirs]


def head_note(trained: PropertyModel, targets: Sequence[Target], *, new_head: bool) -> str:
    """A sentence on what becomes of the head of a trained model, and why."""
    columns = [target.column for target in targets]
    if not new_head:
        return f"the head stays: the training goes on from what {trained.name} predicts for {', '.join(columns)}"
    if same_outputs(targets, trained.targets):
        return f"the head starts anew, as asked for: of {trained.name} only the convolutions stay"
    before = [target.column for target in trained.targets]
    if columns != before:
        why = f"{trained.name} predicts {', '.join(before)}, not {', '.join(columns)}"
    else:
        both = zip(targets, trained.targets, strict=True)
        ours, theirs = next((a, b) for a, b in both if (a.unit, a.classes) != (b.unit, b.classes))
        why = f"{trained.name} predicts {ours.column} {_meaning(theirs)}, not {_meaning(ours)}"
    return f"the head starts anew: {why}"


def _meaning(target: Target) -> str:
    return f"in {target.unit}" if target.classes is None else f"of the classes {' and '.join(target.classes)}"


class Scale(NamedTuple):
    """Mean and standard deviation of each target, (T,); 0 and 1 for classes."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def normalise(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(B, T) labels in units of the network's output."""
        scaled: NDArray[np.float64] = (values - np.array(self.mean)) / np.array(self.std)
        return scaled


def training_scale(targets: Sequence[Target], values: NDArray[np.float64], parts: NDArray[np.int8]) -> Scale:
    """The scale of the training part alone: the test must not leak into it.

    Raises ValueError for a target without labels, with a single value, or of one class only, and for numbers whose squares
    leave the range of floating point.
    """
    means, stds = [], []
    for target, column in zip(targets, values.T, strict=True):
        known = column[(parts == TRAIN) & ~np.isnan(column)]
        what = target.data or target.column
        if not len(known):
            msg = f"target {what}: got no label in the training part, expected at least two different ones"
            raise ValueError(msg)
        if np.all(known == known[0]):
            one = f"one class only ({_class_name(target, known[0])})" if target.classes else f"the one value {known[0]:g}"
            msg = f"target {what}: got {one} in all {len(known)} training rows, expected something to learn"
            raise ValueError(msg)
        with np.errstate(over="ignore"):
            mean, std = (0.0, 1.0) if target.classes else (float(known.mean()), float(known.std()))
        if not (math.isfinite(mean) and 0 < std < math.inf):
            msg = f"target {what}: got values from {known.min():g} to {known.max():g}, too large or too close to be told apart"
            raise ValueError(msg)
        means.append(mean)
        stds.append(std)
    return Scale(tuple(means), tuple(stds))


def _class_name(target: Target, value: float) -> str:
    return target.classes[int(value)] if target.classes else str(value)
