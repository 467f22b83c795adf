"""Failures counted by reason."""

from __future__ import annotations

import pytest

from cgfast.io import Failure
from cgfast.screening.report import reasons
from cgfast.screening.report.reasons import Reasons, normalised, read_reasons


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cell has 0.001 Å3 a side", "cell has -2.5e-3 Å3 a side"),
        ("no file '/a/b c.cif'", 'no file "x"'),
        ("cannot read /data/x1.cif: truncated", "cannot read deep/er/y.cif: truncated"),
        ("12 of 1,024 atoms", "7 of 9 atoms"),
    ],
)
def test_the_same_reason(one, other):
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Es (Z=99) is unknown", "Fm (Z=100) is unknown"), ("expected int32", "expected int64"), ("no atoms", "no cell")],
)
def test_different_reasons(one, other):
    assert normalised(one) != normalised(other)


def test_they_are_counted():
    found = Reasons()
    for row in range(7):
        found.add(Failure(f"c{row}", 3 * row, "read" if row < 5 else "graph", f"value {row} is odd"))
    assert [(k.stage, k.reason, k.count, k.example_id, k.example) for k in found.most_common()] == [
        ("read", "value # is odd", 5, "c0", "value 0 is odd"),
        ("graph", "value # is odd", 2, "c5", "value 5 is odd"),
    ]
    assert list(found.rows) == [0, 3, 6, 9, 12, 15, 18]


def test_kinds_are_bounded(monkeypatch):
    monkeypatch.setattr(reasons, "MOST_KINDS", 10)
    found = Reasons()
    letters = "abcdefghijklmnopqrst"
    for row, letter in enumerate(letters * 2):
        found.add(Failure(letter, row, "read", f"reason {letter}"))
    kinds = found.most_common()
    assert len(kinds) == 11
    assert kinds[0].reason == "other reasons"
    assert sum(kind.count for kind in kinds) == found.n == 40


def test_a_table_that_is_none(tmp_path):
    path = tmp_path / "x-failures.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no table of failures"):
        read_reasons(path)
