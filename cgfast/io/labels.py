"""How a label is read from a table: a column, its logarithm, or a question about it."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection

    import pyarrow as pa
    from numpy.typing import NDArray

LOG10 = "log10"
_LOG = re.compile(rf"{LOG10}\(\s*(?P<column>\S|\S.*\S)\s*\)")
_QUESTION = re.compile(r"(?P<column>[^<>=]+)(?P<relation>[<>])(?P<bound>[^<>=]+)")
_NAMED = re.compile(r"\s*(?P<name>[^<>=()]+?)\s*=\s*(?P<label>.+)")
_ANSWERS = {"false": 0.0, "no": 0.0, "true": 1.0, "yes": 1.0}


class Label(NamedTuple):
    """What one target reads: `column`, `log10(column)`, `column<bound` or `column>bound` (1.0 where it holds, else 0.0)."""

    column: str
    log10: bool = False
    relation: str | None = None
    bound: float = math.nan

    @classmethod
    def parse(cls, text: str, columns: Collection[str] = ()) -> Label:
        """The label that `text` names. columns: of the table; one that has this very name is meant, whatever it looks like.

        Raises ValueError for an empty name and a bound that is no number.
        """
        stripped = text.strip() if isinstance(text, str) else ""
        if stripped and stripped in columns:
            return cls(stripped)
        if found := _LOG.fullmatch(stripped):
            return cls(found["column"], log10=True)
        if found := _QUESTION.fullmatch(stripped):
            bound = _number(found["bound"])
            if bound is None:
                msg = f"target {text!r}: got {found['bound']!r} behind {found['relation']}, expected a number"
                raise ValueError(msg)
            return cls(found["column"].strip(), relation=found["relation"], bound=bound)
        if not stripped or any(sign in stripped for sign in "<>="):
            msg = f"target must be COLUMN, log10(COLUMN), COLUMN<NUMBER or COLUMN>NUMBER, got {text!r}"
            raise ValueError(msg)
        return cls(stripped)

    @property
    def is_plain(self) -> bool:
        """Whether it is a column as it stands."""
        return not self.log10 and self.relation is None

    def __str__(self) -> str:
        if self.log10:
            return f"{LOG10}({self.column})"
        if self.relation is None:
            return self.column
        short = f"{self.bound:g}"
        return f"{self.column}{self.relation}{short if float(short) == self.bound else repr(self.bound)}"

    def read(self, values: pa.ChunkedArray, classes: tuple[str, ...] | None) -> NDArray[np.float64]:
        """(n,) float64 labels, NaN where there is none, or no logarithm; for text 0.0 and 1.0 by the two `classes`.

        Raises ValueError for infinite numbers, and a column of neither numbers, truth values nor two classes.
        """
        numbers = self._numbers(values, classes)
        if np.isinf(numbers).any():
            msg = f"target {self.column}: got {int(np.isinf(numbers).sum())} infinite values, expected numbers or nothing"
            raise ValueError(msg)
        known = ~np.isnan(numbers)
        if self.log10:
            return np.log10(numbers, out=np.full_like(numbers, np.nan), where=numbers > 0)
        if self.relation is not None:
            holds = numbers < self.bound if self.relation == "<" else numbers > self.bound
            return np.where(known, holds.astype(np.float64), np.nan)
        return numbers

    def _numbers(self, values: pa.ChunkedArray, classes: tuple[str, ...] | None) -> NDArray[np.float64]:
        import pyarrow as pa
        import pyarrow.compute as pc

        kind = values.type
        if pa.types.is_dictionary(kind):
            values = values.cast(kind.value_type)
            kind = values.type
        if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind):
            plain = pc.cast(pc.cast(values, pa.int8()) if pa.types.is_boolean(kind) else values, pa.float64(), safe=False)
            return np.asarray(plain.to_numpy(), np.float64).copy()
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return _classified(self.column, values.to_pylist(), classes)
        msg = f"target {self.column}: got a column of {kind}, expected numbers, truth values or two names of classes"
        raise ValueError(msg)


def split_name(text: str) -> tuple[str | None, str]:
    """`NAME=LABEL` as (NAME, LABEL), `LABEL` as (None, LABEL)."""
    found = _NAMED.fullmatch(text)
    return (found["name"], found["label"]) if found else (None, text)


def text_classes(name: str, values: list[str | None]) -> tuple[str, str] | None:
    """The two names that a text column holds, sorted; None if its words are answers like yes and no.

    Raises ValueError for another number of them.
    """
    found = sorted({value for value in values if value})
    if found and all(value.lower() in _ANSWERS for value in found):
        return None
    if len(found) != 2:
        shown = ", ".join(map(repr, found[:5])) + (", ..." if len(found) > 5 else "")
        msg = f"target {name}: got a text column with {len(found)} different values ({shown}), expected numbers or two classes"
        raise ValueError(msg)
    return found[0], found[1]


def _classified(name: str, values: list[str | None], classes: tuple[str, ...] | None) -> NDArray[np.float64]:
    classes = text_classes(name, values) if classes is None else classes
    codes = {word: float(code) for code, word in enumerate(classes)} if classes is not None else {}
    labels = np.full(len(values), np.nan)
    for index, value in enumerate(values):
        if not value:
            continue
        code = codes.get(value, _ANSWERS.get(value.lower()))
        if code is None:
            msg = f"target {name}: got {value!r}, expected {' or '.join(map(repr, classes or ()))}"
            raise ValueError(msg)
        labels[index] = code
    return labels


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
