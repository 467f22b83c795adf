"""Batches depend on rows and `batch_atoms` alone, and cover every crystal once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgfast.graph import split_by_atoms


def greedy(sizes: list[int], limit: int) -> list[list[int]]:
    """The definition, one crystal at a time."""
    batches: list[list[int]] = []
    for size in sizes:
        if batches and sum(batches[-1]) + size <= limit:
            batches[-1].append(size)
        else:
            batches.append([size])
    return batches


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(1, 120))
def test_equals_the_definition(sizes: list[int], limit: int) -> None:
    graph_ptr = np.cumsum([0, *sizes])
    parts = list(split_by_atoms(graph_ptr, limit))
    assert [sizes[part] for part in parts] == greedy(sizes, limit)


def test_refuses_no_atoms() -> None:
    with pytest.raises(ValueError, match="batch_atoms: got 0, expected at least 1"):
        list(split_by_atoms(np.array([0, 3]), 0))


def test_the_same_batches_whatever_the_threads(graph_calls, make_rows, make_model, random_rows) -> None:
    from cgfast.screening import screen

    seen = []
    for threads in (1, 2, 1):
        model = make_model()
        screen(make_rows(random_rows, batch_rows=32), model, batch_atoms=25, threads=threads)
        seen.append(sorted(model.batches))  # which of two threads is done first is chance
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0]) == len(graph_calls) / 3
    assert all(sum(batch) <= 25 for batch in seen[0])
