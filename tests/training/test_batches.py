"""Batches of an epoch: every crystal once, never too many at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgfast.training.batches import BatchPlan, share_of_process

SIZES = st.lists(st.integers(0, 30), max_size=60)


def plan_of(sizes: list[int], limit: int) -> BatchPlan:
    """Crystals 100, 99, ...: positions and indices must not be mixed up."""
    return BatchPlan(100 - np.arange(len(sizes)), np.array(sizes, np.int64), limit)


def by_hand(order: list[int], sizes: list[int], limit: int) -> list[list[int]]:
    """First come, first served; a small rest joins the batch before."""
    batches: list[list[int]] = []
    for index in order:
        if batches and sum(sizes[i] for i in batches[-1]) + sizes[index] <= limit:
            batches[-1].append(index)
        else:
            batches.append([index])
    if len(batches) > 1 and sum(sizes[i] for i in batches[-1]) < limit / 2:
        batches[-2:] = [batches[-2] + batches[-1]]
    return batches


@given(SIZES, st.integers(1, 40), st.integers(0, 2**40), st.integers(0, 1000))
def test_every_batch(sizes: list[int], limit: int, seed: int, epoch: int) -> None:
    plan = plan_of(sizes, limit)
    batches = plan.epoch(seed, epoch)
    order = [100 - index for batch in batches for index in batch.tolist()]
    assert sorted(order) == list(range(len(sizes)))
    assert [[100 - i for i in batch.tolist()] for batch in batches] == by_hand(order, sizes, limit)
    for batch, again in zip(batches, plan.epoch(seed, epoch), strict=True):
        np.testing.assert_array_equal(batch, again)


@given(SIZES, st.integers(1, 40))
def test_in_order(sizes: list[int], limit: int) -> None:
    batches = plan_of(sizes, limit).in_order()
    assert [[100 - i for i in batch.tolist()] for batch in batches] == by_hand(list(range(len(sizes))), sizes, limit)


@given(SIZES | st.integers(1, 60).map(lambda n: [1] * n), st.integers(1, 40), st.integers(0, 5), st.integers(0, 4))
def test_number_of_batches(sizes: list[int], limit: int, seed: int, epochs: int) -> None:
    plan = plan_of(sizes, limit)
    assert plan.n_batches(seed, epochs) == sum(len(plan.epoch(seed, epoch)) for epoch in range(epochs))


@pytest.mark.parametrize(
    ("n", "expected"), [(0, []), (1, [1]), (4, [4]), (5, [5]), (6, [4, 2]), (9, [4, 5]), (10, [4, 4, 2]), (12, [4, 4, 4])]
)
def test_a_small_rest_joins_the_batch_before(n: int, expected: list[int]) -> None:
    plan = plan_of([1] * n, 4)
    assert [len(batch) for batch in plan.in_order()] == expected
    assert [len(batch) for batch in plan.epoch(0, 0)] == expected


def test_a_crystal_larger_than_the_limit_is_alone() -> None:
    batches = plan_of([3, 3, 50, 3, 3, 4], 10).in_order()
    assert [(100 - batch).tolist() for batch in batches] == [[0, 1], [2], [3, 4, 5]]


def test_epochs_and_seeds_differ() -> None:
    plan = plan_of([1] * 40, 8)
    orders = {np.concatenate(plan.epoch(seed, epoch)).tobytes() for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25


def test_every_crystal_meets_every_place() -> None:
    plan = plan_of([1] * 6, 2)
    firsts = [int(plan.epoch(0, epoch)[0][0]) for epoch in range(300)]
    assert min(np.bincount(100 - np.array(firsts), minlength=6)) > 20  # 50 on average


@given(st.integers(0, 50), st.integers(1, 7))
def test_shares_are_a_partition(n: int, processes: int) -> None:
    batch = np.random.default_rng(0).permutation(n)
    shares = [share_of_process(batch, process, processes) for process in range(processes)]
    assert sorted(np.concatenate(shares).tolist()) == list(range(n))
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1
