"""Failures counted by what went wrong: reasons that differ in names and numbers only are one."""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cgfast.screening.output.finished import read_failures

if TYPE_CHECKING:
    from pathlib import Path

    from cgfast.io import Failure

MOST_KINDS = 10_000  # of reasons that are told apart: bounds memory, whatever the failures say

_NAMES = re.compile(r"'[^']*'|\"[^\"]*\"|(?<!\S)[^\s'\"]*[/\\][^\s'\",;:)]*")
# Numbers, but not those inside a word (Fe2O3, int32): an element or a type is what a reason is about.
_NUMBERS = re.compile(r"(?<![\w.])[-+]?\d[\d,]*\.?\d*(?:[eE][-+]?\d+)?(?!\w)")


@dataclass
class Kind:
    """Failures of one kind: how many, and the first of them as an example."""

    stage: str
    reason: str
    count: int = 0
    example_id: str = ""
    example: str = ""


def normalised(reason: str) -> str:
    """`reason` with ... for quoted names and paths and # for numbers."""
    return _NUMBERS.sub("#", _NAMES.sub("...", reason))


class Reasons:
    """Counts failures by stage and normalised reason. `rows` are the rows of input that failed, 8 bytes each."""

    def __init__(self) -> None:
        self.rows = array("q")
        self._kinds: dict[tuple[str, str], Kind] = {}
        self._others = Kind("", "other reasons")

    @property
    def n(self) -> int:
        """Failures counted."""
        return len(self.rows)

    def add(self, failure: Failure) -> None:
        """Count one failure."""
        self.rows.append(failure.row)
        key = (failure.stage, normalised(failure.reason))
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._others
            if len(self._kinds) < MOST_KINDS:
                kind = self._kinds[key] = Kind(*key)
        if not kind.count:
            kind.example_id, kind.example = failure.id, failure.reason
        kind.count += 1

    def most_common(self) -> list[Kind]:
        """Every kind, the most frequent first; of equal ones that which came first."""
        kinds = [*self._kinds.values(), self._others]
        return sorted((kind for kind in kinds if kind.count), key=lambda kind: -kind.count)


def read_reasons(path: Path) -> Reasons:
    """Count the rows of a failures table (`<stem>-failures.csv`). Raises ValueError if it is none."""
    reasons = Reasons()
    for failure in read_failures(path):
        reasons.add(failure)
    return reasons
