"""Threads, processes and the interpreter lock."""

from __future__ import annotations

import multiprocessing
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import cgfast

from .crystals import batches, random_crystal

FIELDS = ("edge_index", "shifts", "distances", "row_ptr", "edge_weight")
CUBE = 24.0 * np.eye(3)


def assert_identical(one: Any, other: Any) -> None:
    """Demand the same bits in every field."""
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sort": "distance"},
        {"max_neighbors": 12},
        {"max_neighbors": 12, "ties": "shell", "missing": "pad-2018"},
    ],
    ids=["radius", "sorted", "nearest", "shell"],
)
def test_any_number_of_threads_gives_the_same_bits(options: dict[str, Any]) -> None:
    """For one large cell, for a batch of small ones, and for a mixture."""
    large = random_crystal(1, 3000, CUBE, 2.0)
    mixed = batches()
    searches = [((large, CUBE, True, 5.0), {})]
    for name in ("everything-small", "one-outlier", "empty", "only-empty-crystals"):
        positions, cell, pbc, graph_ptr = mixed[name]
        searches.append(((positions, cell, pbc, 5.0), {"graph_ptr": graph_ptr}))
    for arguments, batch in searches:
        first = cgfast.neighbor_list(*arguments, **batch, **options, threads=1)
        for threads in (2, 5, 64, None):
            assert_identical(first, cgfast.neighbor_list(*arguments, **batch, **options, threads=threads))


def test_repeated_runs_give_the_same_bits() -> None:
    """Ten runs on two threads."""
    positions = random_crystal(2, 1500, CUBE)
    first = cgfast.neighbor_list(positions, CUBE, True, 5.0, threads=2)
    for _ in range(9):
        assert_identical(first, cgfast.neighbor_list(positions, CUBE, True, 5.0, threads=2))


def n_edges_of(seed: int) -> int:
    """Search in a worker process, on two threads."""
    return int(cgfast.neighbor_list(random_crystal(seed, 1500, CUBE), CUBE, True, 5.0, threads=2).n_edges)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this platform cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_forked_workers() -> None:
    """A pool that lives in the parent is rebuilt in its children, who also fork in turn."""
    want = [n_edges_of(seed) for seed in range(4)]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map_async(n_edges_of, range(4)).get(timeout=60) == want
    assert [n_edges_of(seed) for seed in range(4)] == want


@pytest.mark.skipif("spawn" not in multiprocessing.get_all_start_methods(), reason="this platform cannot spawn")
def test_results_travel_between_processes() -> None:
    """A NeighborList can be pickled."""
    result = cgfast.neighbor_list(random_crystal(3, 50, CUBE), CUBE, True, 8.0, max_neighbors=3, ties="shell")
    assert_identical(result, pickle.loads(pickle.dumps(result)))  # noqa: S301 - our own bytes


def test_two_python_threads_at_once() -> None:
    """Concurrent searches do not disturb one another, whichever number of threads they ask for."""
    crystals = [random_crystal(seed, 300 + 400 * (seed % 3), CUBE) for seed in range(8)]
    want = [cgfast.neighbor_list(positions, CUBE, True, 5.0, threads=1) for positions in crystals]
    for threads in (1, 2, 3):
        with ThreadPoolExecutor(4) as executor:
            found = executor.map(
                lambda positions, threads=threads: cgfast.neighbor_list(positions, CUBE, True, 5.0, threads=threads),
                crystals,
            )
            for one, other in zip(want, found, strict=True):
                assert_identical(one, other)


def test_bad_input_in_a_thread_leaves_the_pool_usable() -> None:
    """An error in one search is raised there, and the next search works."""
    positions = random_crystal(4, 200, CUBE)
    want = cgfast.neighbor_list(positions, CUBE, True, 5.0, threads=2)
    for _ in range(5):
        with pytest.raises(ValueError, match="positions"):
            cgfast.neighbor_list(np.full((200, 3), np.nan), CUBE, True, 5.0, threads=2)
        assert_identical(want, cgfast.neighbor_list(positions, CUBE, True, 5.0, threads=2))


def test_the_interpreter_lock_is_released() -> None:
    """Another Python thread goes on while a long search runs."""
    box = 60.0 * np.eye(3)
    positions = random_crystal(5, 20_000, box)
    ticks: list[float] = []
    done = threading.Event()

    def tick() -> None:
        while not done.wait(0.002):
            ticks.append(time.perf_counter())

    counter = threading.Thread(target=tick)
    counter.start()
    try:
        n_atoms, seconds, during = len(positions), 0.0, 0
        cutoff = 6.0
        while seconds < 0.2:  # search further until the search takes long enough to tell
            start = time.perf_counter()
            # Few enough neighbours to keep, so that the time goes into the search, not into copies.
            result = cgfast.neighbor_list(positions, box, True, cutoff, max_neighbors=200, missing="drop", threads=1)
            stop = time.perf_counter()
            seconds, during = stop - start, sum(start < t < stop for t in list(ticks))
            assert len(result.row_ptr) == n_atoms + 1
            if seconds < 0.2:
                positions = np.concatenate([positions, random_crystal(n_atoms, n_atoms, box)])
                n_atoms = len(positions)
    finally:
        done.set()
        counter.join()
    # Held for the whole search, the lock would leave a tick or two at its ends.
    assert during > 0.1 * seconds / 0.002
