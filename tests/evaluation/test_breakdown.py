"""Breakdown by element and size against loops over crystals."""

from __future__ import annotations

import numpy as np
import pytest

from cgfast.crystals import Crystals
from cgfast.elements import SYMBOLS
from cgfast.evaluation.breakdown import by_domain, by_element, by_size, worst_rows
from cgfast.formulas import reduced_formulas
from cgfast.models.domain import DomainCheck

pytest.importorskip("pyarrow", reason="the breakdown is an Arrow table")


@pytest.fixture
def errors(crystals) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = random.normal(size=len(crystals))
    return truth, truth + random.normal(size=len(crystals))


def test_numbers_by_element(crystals, errors):
    truth, predicted = errors
    rows = by_element(crystals, truth, predicted, classes=False).to_pylist()
    assert [row["element"] for row in rows] == [SYMBOLS[z] for z in sorted(set(crystals.atomic_numbers.tolist()))]
    for row in rows:
        has = np.array([SYMBOLS.index(row["element"]) in crystal.atomic_numbers for crystal in crystals])
        error = (predicted - truth)[has]
        assert row["n"] == has.sum()
        assert row["mae"] == pytest.approx(np.abs(error).mean())
        assert row["rmse"] == pytest.approx(np.sqrt((error**2).mean()))
        assert row["mean_error"] == pytest.approx(error.mean())


def test_classes_by_element(crystals):
    random = np.random.default_rng(1)
    truth = random.integers(0, 2, len(crystals)).astype(float)
    probability = random.random(len(crystals))
    for row in by_element(crystals, truth, probability, classes=True).to_pylist():
        has = np.array([SYMBOLS.index(row["element"]) in crystal.atomic_numbers for crystal in crystals])
        assert (row["n"], row["n_positive"]) == (has.sum(), truth[has].sum())
        assert row["accuracy"] == pytest.approx(((probability > 0.5) == (truth == 1))[has].mean())


def test_by_size(crystals, errors):
    truth, predicted = errors
    sizes = np.diff(crystals.graph_ptr)
    expected = {"1": (1, 1), "2-4": (2, 4), "5-8": (5, 8), "9-16": (9, 16)}
    rows = by_size(crystals, truth, predicted, classes=False).to_pylist()
    assert [row["atoms"] for row in rows] == list(expected)
    for row in rows:
        low, high = expected[row["atoms"]]
        inside = (sizes >= low) & (sizes <= high)
        assert row["n"] == inside.sum() > 0
        assert row["mae"] == pytest.approx(np.abs(predicted - truth)[inside].mean())


def test_large_cells():
    sizes = [256, 257, 1000]
    crystals = Crystals.from_arrays(
        np.zeros((sum(sizes), 3)),
        np.tile(np.eye(3), (3, 1, 1)),
        np.ones(sum(sizes), np.int32),
        graph_ptr=np.cumsum([0, *sizes]),
        ids=["a", "b", "c"],
    )
    rows = by_size(crystals, np.zeros(3), np.array([1.0, 2.0, 4.0]), classes=False).to_pylist()
    assert [(row["atoms"], row["n"], row["mae"]) for row in rows] == [("129-256", 1, 1.0), ("257 or more", 2, 3.0)]


def test_worst_rows():
    predicted = np.array([0.0, -3.0, 1.0, 3.0, *np.full(20, 0.5)])
    assert worst_rows(np.zeros(24), predicted).tolist() == [1, 3, 2, 4, 5, 6, 7, 8, 9, 10]
    assert worst_rows(np.zeros(2), np.array([1.0, 2.0])).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("numbers", "formula"), [([8, 22, 8], "O2Ti"), ([1, 1], "H"), ([6, 6, 1, 1, 1, 1], "CH2"), ([11, 17] * 4, "ClNa")]
)
def test_formulas(numbers, formula):
    crystal = Crystals.from_arrays(np.zeros((len(numbers), 3)), np.eye(3), numbers)
    assert reduced_formulas(crystal) == [formula]


def test_formulas_of_the_shared_data(data):
    pq = pytest.importorskip("pyarrow.parquet")
    from cgfast.io import read

    path = data / "matbench_phonons.parquet"
    expected = pq.read_table(path, columns=["chemical_formula_reduced"])["chemical_formula_reduced"].to_pylist()
    assert [formula for batch in read(path) for formula in reduced_formulas(batch)] == expected


def test_by_domain(errors):
    truth, predicted = errors
    random = np.random.default_rng(3)
    element, distance, none = random.random(len(truth)) < 0.3, random.random(len(truth)) < 0.3, np.zeros(len(truth), dtype=bool)
    rows = by_domain(DomainCheck(element, distance, none), truth, predicted, classes=False).to_pylist()
    expected = {
        "inside": ~element & ~distance,
        "outside": element | distance,
        "unseen_element": element,
        "unusual_distance": distance,
    }
    assert [row["domain"] for row in rows] == list(expected)
    for row in rows:
        error = (predicted - truth)[expected[row["domain"]]]
        assert row["n"] == len(error) > 0
        assert row["mae"] == pytest.approx(np.abs(error).mean())
