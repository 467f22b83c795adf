"""Where the data of a run comes from, and what is asked of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgfast.crystals import Crystals
from cgfast.io.labelled import LabelledCrystals, read_labelled
from cgfast.io.labels import Label, split_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgfast.training.options import TrainOptions


@dataclass(frozen=True, slots=True)
class Source:
    """Arguments of cgfast.io.read(), with absolute paths: a run may be resumed from another folder."""

    path: str | list[str]
    format: str | None = None
    columns: dict[str, str] | None = None
    on_disorder: str = "skip"

    @classmethod
    def of(cls, data: Any, **arguments: Any) -> Source | None:  # noqa: ANN401 - a path, or several, or crystals
        """The source that `data` names, None for crystals in memory. Raises ValueError for anything else."""
        if isinstance(data, LabelledCrystals):
            return None
        columns = arguments.pop("columns", None)
        if columns is not None and not isinstance(columns, Mapping):
            msg = f"columns: got {columns!r}, expected a mapping like {{'id': 'material_id'}}"
            raise ValueError(msg)
        return cls(_paths(data), columns=dict(columns) if columns else None, **arguments)

    def read(
        self, labels: Sequence[str], split_column: str | None, classes: Sequence[tuple[str, ...] | None] | None = None
    ) -> LabelledCrystals:
        """The crystals with these labels. Raises ValueError as read_labelled() does."""
        return read_labelled(
            self.path,
            labels,
            classes=classes,
            extra=[split_column] if split_column else [],
            columns=self.columns,
            format=self.format,
            on_disorder=self.on_disorder,
        )

    @property
    def name(self) -> str:
        """The file's name, for people."""
        names = [Path(path).name for path in ([self.path] if isinstance(self.path, str) else self.path)]
        return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The targets that a user asked for: `NAME=LABEL` or `LABEL` each. names: None where there is none."""

    labels: tuple[str, ...]
    names: tuple[str | None, ...]

    @classmethod
    def parse(cls, target: str | Sequence[str], *, log10: bool) -> Wanted:
        """From text. log10: of every label that is a plain column. Raises ValueError for none."""
        named = [split_name(text) for text in texts_of("target", [] if target is None else target)]
        labels = [_with_logarithm(label) if log10 else label for _, label in named]
        return cls(tuple(labels), tuple(name for name, _ in named))


def read_data(
    data: Any,  # noqa: ANN401 - a path, or several, or crystals
    source: Source | None,
    wanted: Wanted,
    options: dict[str, Any],
    classes: Sequence[tuple[str, ...] | None] | None = None,
) -> LabelledCrystals:
    """The labelled crystals. classes: of text columns, where they are known.

    Raises ValueError for crystals in memory with other labels than are asked for.
    """
    if source is not None:
        return source.read(wanted.labels, options.get("split_column"), classes)
    if tuple(data.labels) != tuple(str(Label.parse(label, data.literal)) for label in wanted.labels):
        msg = f"target: got {', '.join(wanted.labels)}, expected the labels that data has: {', '.join(data.labels)}"
        raise ValueError(msg)
    crystals: LabelledCrystals = data
    return crystals


def read_again(source: Source | None, labels: Sequence[str], options: TrainOptions, classes: Any) -> LabelledCrystals:  # noqa: ANN401
    """The data of a run that goes on. Raises ValueError if it was in memory."""
    if source is None:
        msg = "data: the run was given crystals in memory, expected them again"
        raise ValueError(msg)
    return source.read(labels, options.split_column, classes)


def texts_of(name: str, value: str | Sequence[str] | None) -> list[str]:
    """One text or several as a list, None as an empty one. Raises ValueError for anything else."""
    if value is None:
        return []
    texts: list[Any] = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else list(value)
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        msg = f"{name}: got {value!r}, expected a text, or several"
        raise ValueError(msg)
    return texts


def _with_logarithm(label: str) -> str:
    return f"log10({label.strip()})" if Label.parse(label).is_plain else label


def _paths(data: Any) -> str | list[str]:  # noqa: ANN401 - what a user gives
    """Absolute paths."""
    if isinstance(data, str | os.PathLike):
        return str(Path(data).absolute())
    places = list(data) if isinstance(data, Iterable) and not isinstance(data, Crystals) else [data]
    kinds = [type(place).__name__ for place in places if not isinstance(place, str | os.PathLike)]
    if kinds or not places:
        msg = f"data: got {kinds[0] if kinds else 'nothing'}, expected a file or folder, several of them, or LabelledCrystals"
        raise ValueError(msg)
    return [str(Path(place).absolute()) for place in places]
