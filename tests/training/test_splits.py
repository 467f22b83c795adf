"""Splits: nobody torn, nobody twice, everyone where the seed says."""

from __future__ import annotations

import csv
import hashlib
import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgfast.training.splits import (
    PARTS,
    TEST,
    TRAIN,
    UNUSED,
    VAL,
    shared_with_training,
    split_by_column,
    split_by_fold,
    split_by_groups,
    split_hash,
    split_text,
)

if TYPE_CHECKING:
    from pathlib import Path

GROUPS = st.lists(st.integers(0, 12), min_size=1, max_size=80).map(lambda values: np.array(values, np.int64))


def untorn(groups: np.ndarray, parts: np.ndarray) -> bool:
    return all(len(set(parts[groups == group])) == 1 for group in np.unique(groups))


@given(GROUPS, st.tuples(*[st.integers(0, 10)] * 3).filter(any), st.integers(0, 2**40))
def test_groups(groups: np.ndarray, weights: tuple[int, int, int], seed: int) -> None:
    fractions = np.array(weights) / sum(weights)
    try:
        parts = split_by_groups(groups, fractions, seed)
    except ValueError as error:
        assert "no row is left for" in str(error)  # noqa: PT017
        return
    assert parts.dtype == np.int8
    assert set(parts) <= {TRAIN, VAL, TEST}
    assert untorn(groups, parts)
    largest = np.bincount(groups).max()
    # each border of two parts is off by half a group at most
    for last in (TRAIN, VAL):
        assert abs((parts <= last).sum() - fractions[: last + 1].sum() * len(groups)) <= largest / 2 + 1e-6
    for part, share in enumerate(fractions):
        assert (share > 0) == bool((parts == part).any())
    np.testing.assert_array_equal(parts, split_by_groups(groups, fractions, seed))
    # what the groups are called is no matter, as long as their order stays
    np.testing.assert_array_equal(parts, split_by_groups(groups * 7 - 3, fractions, seed))


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (0.6, 0.2, 0.2), (0.7, 0.3, 0.0), (1 / 3, 1 / 3, 1 / 3)])
def test_a_random_split_has_the_sizes_asked_for(fractions: tuple[float, ...]) -> None:
    parts = split_by_groups(np.arange(1000), fractions, 0)
    assert np.abs(np.bincount(parts, minlength=3) - 1000 * np.array(fractions)).max() <= 1


def test_other_seeds_give_other_splits() -> None:
    splits = {split_by_groups(np.arange(100), (0.8, 0.1, 0.1), seed).tobytes() for seed in range(20)}
    assert len(splits) == 20


def test_every_crystal_is_tested_by_some_seed() -> None:
    often = sum((split_by_groups(np.arange(50), (0.8, 0.1, 0.1), seed) == TEST).astype(int) for seed in range(200))
    assert 3 <= often.min() < often.max() <= 45  # 20 on average


@pytest.mark.parametrize(
    "fractions", [(0.8, 0.1), (0.8, 0.1, 0.2), (1.1, -0.1, 0.0), (float("nan"), 0.5, 0.5), (0.5, 0.25, 0.25, 0.0), ()]
)
def test_fractions_that_are_none(fractions: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="fractions must be three numbers"):
        split_by_groups(np.arange(10), fractions, 0)


def test_one_formula_only() -> None:
    """Polymorphs of a single composition: what stands in the way is said, and what there is instead."""
    said = r"no row is left for train \(10 labelled rows\).* they have 1 reduced formula, .*split='random'"
    with pytest.raises(ValueError, match=said):
        split_by_groups(np.zeros(10, np.int64), (0.4, 0.3, 0.3), 0)
    with pytest.raises(ValueError, match=r"they have 2 reduced formulas, .*split='random'"):
        split_by_fold(np.arange(10) // 5, 3, 0, 0)
    with pytest.raises(ValueError, match=r"expected at least one$"):  # all different: nothing is kept together
        split_by_groups(np.arange(3), (0.8, 0.1, 0.1), 0)


def test_a_part_without_rows() -> None:
    with pytest.raises(ValueError, match=r"no row is left for (val|test) \(10 labelled rows\)"):
        split_by_groups(np.zeros(10, np.int64), (0.8, 0.1, 0.1), 0)
    with pytest.raises(ValueError, match=r"no row is left for (train|val|test) \(3 labelled rows\)"):
        split_by_groups(np.arange(3), (0.8, 0.1, 0.1), 0)
    with pytest.raises(ValueError, match=r"no row is left for train \(0 labelled rows\)"):
        split_by_groups(np.arange(0), (0.8, 0.1, 0.1), 0)


@given(GROUPS, st.integers(3, 6), st.integers(0, 2**40))
def test_folds(groups: np.ndarray, n_folds: int, seed: int) -> None:
    try:
        splits = [split_by_fold(groups, n_folds, fold, seed) for fold in range(n_folds)]
    except ValueError as error:
        assert "no row is left for" in str(error)  # noqa: PT017
        return
    stack = np.array(splits)
    assert ((stack == TEST).sum(axis=0) == 1).all()  # everyone is tested once
    assert ((stack == VAL).sum(axis=0) == 1).all()
    assert ((stack == TRAIN).sum(axis=0) == n_folds - 2).all()
    np.testing.assert_array_equal(stack == VAL, np.roll(stack, -1, axis=0) == TEST)  # the next fold is the val
    assert all(untorn(groups, parts) for parts in splits)
    largest = np.bincount(groups).max()
    assert np.abs((stack == TEST).sum(axis=1) - len(groups) / n_folds).max() <= largest + 1e-6


@pytest.mark.parametrize(("n_folds", "fold"), [(2, 0), (0, 0), (5, 5), (5, -1)])
def test_folds_that_are_none(n_folds: int, fold: int) -> None:
    with pytest.raises(ValueError, match=f"fold must be K/N .* got {fold + 1}/{n_folds}"):
        split_by_fold(np.arange(30), n_folds, fold, 0)


def test_column() -> None:
    words = ["train", "Training", " val ", "valid", "VALIDATION", "test", "testing", None, ""]
    expected = [TRAIN, TRAIN, VAL, VAL, VAL, TEST, TEST, UNUSED, UNUSED]
    assert split_by_column("s", words).tolist() == expected
    assert split_by_column("s", ["train", "val"]).tolist() == [TRAIN, VAL]  # a test is not needed
    with pytest.raises(ValueError, match="split column s: got 'dev', expected train, val or test"):
        split_by_column("s", ["train", "val", "dev"])
    with pytest.raises(ValueError, match="split column s: got 3"):
        split_by_column("s", [1, 2, 3][2:])
    for words, name in ((["train", "test"], "val"), (["val"], "train"), ([None, ""], "train")):
        with pytest.raises(ValueError, match=f"no row is left for {name}"):
            split_by_column("s", words)


def test_shared_with_training() -> None:
    groups = np.array([0, 0, 1, 1, 2, 3, 3])
    parts = np.array([TRAIN, TEST, TEST, TEST, TRAIN, VAL, TEST], np.int8)
    assert shared_with_training(groups, parts) == 1  # group 3 meets the val part only
    parts[2] = TRAIN
    assert shared_with_training(groups, parts) == 2


NAMES = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(["a,b", 'q"q', "", " x ", "1e5", "café", "é"])


@given(st.lists(st.tuples(NAMES, st.integers(-1, 2)), max_size=20))
def test_text(lines: list[tuple[str, int]]) -> None:
    parts = np.array([part for _, part in lines], np.int8)
    text = split_text([name for name, _ in lines], range(5, 5 + len(lines)), parts)
    found = list(csv.reader(io.StringIO(text, newline="")))
    expected = [
        [name.replace("\r", "\\r"), str(row), PARTS[p] if p >= 0 else ""] for row, (name, p) in enumerate(lines, start=5)
    ]
    assert found == [["id", "row", "part"], *expected]
    assert split_hash(text) == hashlib.sha256(text.encode()).hexdigest()


def test_ids_that_are_no_text(tmp_path: Path) -> None:
    """File names that are not UTF-8, and halves of surrogate pairs."""
    text = split_text(["a\udcff", "b\ud800"], [0, 1], np.array([0, 1], np.int8))
    assert len(split_hash(text)) == 64
    (tmp_path / "s.csv").write_text(text, encoding="utf-8")
    lines = (tmp_path / "s.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[1:] for line in lines] == [["row", "part"], ["0", "train"], ["1", "val"]]
