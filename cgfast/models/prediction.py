"""What a model gives: columns of values, and the table of a prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from cgfast.models.targets import STD_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cgfast.models.catalogue import Target


class OutputColumn(NamedTuple):
    """A column of a model's output: its name in a table of predictions, and its unit."""

    name: str
    unit: str


def output_columns(targets: Sequence[Target], *, with_std: bool) -> tuple[OutputColumn, ...]:
    """One column per target, in order, each followed by its standard deviation if there is one."""
    columns = []
    for target in targets:
        columns.append(OutputColumn(target.column, target.unit))
        if with_std:
            columns.append(OutputColumn(target.column + STD_SUFFIX, target.unit))
    return tuple(columns)


def only_target(targets: Sequence[Target], wanted: str) -> Target:
    """The target of a model that has one. Raises ValueError, naming the columns, for several; `wanted`: what was asked for."""
    if len(targets) != 1:
        msg = f"{wanted} has no single answer for several targets: {', '.join(target.column for target in targets)}"
        raise ValueError(msg)
    return targets[0]


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Predicted values, one row per crystal in input order.

    values: float64 (B,) for a model of one target, (B, T) for T, in the targets' units; the probability of the last class
    for a target with classes. std: of the same shape, population standard deviation over the members of an ensemble, None
    for a single network. ids: (B,). prediction["column"] is one column as (B,), by the name it has in a table.
    """

    values: NDArray[np.float64]
    std: NDArray[np.float64] | None
    ids: NDArray[np.str_]
    targets: tuple[Target, ...]

    @classmethod
    def from_columns(cls, columns: NDArray[np.float64], ids: NDArray[np.str_], targets: tuple[Target, ...]) -> Self:
        """From (B, T) values, or (B, 2T) values each followed by its standard deviation."""
        pairs = columns.reshape(len(columns), len(targets), columns.shape[1] // len(targets))
        parts = [np.ascontiguousarray(pairs[:, 0, k] if len(targets) == 1 else pairs[:, :, k]) for k in range(pairs.shape[2])]
        return cls(parts[0], parts[1] if len(parts) > 1 else None, ids, targets)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, column: str) -> NDArray[np.float64]:
        """(B,) values of one column. Raises ValueError with the names there are for another."""
        for index, target in enumerate(self.targets):
            for name, array in ((target.column, self.values), (target.column + STD_SUFFIX, self.std)):
                if name == column and array is not None:
                    return array if len(self.targets) == 1 else array[:, index]
        names = [known.name for known in output_columns(self.targets, with_std=self.std is not None)]
        msg = f"prediction has no column {column!r}; it has {', '.join(names)}"
        raise ValueError(msg)

    def __str__(self) -> str:
        head = ", ".join(target.property for target in self.targets)
        rows = []
        for row, name in enumerate(self.ids):
            cells = []
            for target in self.targets:
                spread = "" if self.std is None else f" ± {self[target.column + STD_SUFFIX][row]:.4f}"
                cells.append(f"{self[target.column][row]:.4f}{spread}" + ("" if target.unit == "1" else f" {target.unit}"))
            rows.append(f"{name}  {'  '.join(cells)}")
        return "\n".join([f"{head}:", *rows])

    @property
    def unit(self) -> str:
        """Unit of the values, "1" for pure numbers. Raises ValueError for several targets."""
        return only_target(self.targets, "unit").unit

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes, None for a number. Raises ValueError for several targets."""
        return only_target(self.targets, "classes").classes

    @property  # last: in the lines below it the name hides the decorator
    def property(self) -> str:
        """What is predicted, in words. Raises ValueError for several targets."""
        return only_target(self.targets, "property").property
