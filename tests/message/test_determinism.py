"""Same bits on every run and for every number of threads, however the edges are cut into chunks; and the right ones.

Rows are cut where the edges so far and those to come share no source (crystals of a batch); where there is no such place,
chunks of rows hold source gradients of their own that are added afterwards. The graphs below take either way, or both.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from samples import (
    KERNEL,
    TERMS,
    TWIN,
    assert_same,
    message_and_gradients,
    message_problem,
    moments_and_gradients,
    moments_problem,
    per_thread_count,
    pointers,
    with_leaves,
)

from cgfast._native import core

pytestmark = pytest.mark.usefixtures("each_device")


def crystals(rng, sizes, max_neighbors=12):
    """(degrees, sources): every crystal's edges come from its own atoms."""
    degrees, sources, first = [], [], 0
    for n in sizes:
        counts = rng.integers(0, max_neighbors + 1, n)
        degrees.extend(counts)
        sources.append(first + rng.integers(0, n, counts.sum()))
        first += n
    return degrees, np.concatenate(sources)


def batch_of_crystals():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 60, 120)
    degrees, sources = crystals(rng, sizes)
    return degrees, sources, sizes.sum()


def one_huge_crystal():
    rng = np.random.default_rng(1)
    return [13] * 4000, rng.integers(0, 4000, 52_000), 4000


def banded():
    """Sources near their targets, as in a large cell: chunks share some sources with the next ones only."""
    rng = np.random.default_rng(2)
    target = np.repeat(np.arange(5000), 11)
    return [11] * 5000, np.clip(target + rng.integers(-40, 41, len(target)), 0, 4999), 5000


def mixed():
    """Small crystals, a huge one, small ones again, and atoms without edges between them."""
    rng = np.random.default_rng(3)
    before, first = crystals(rng, [30] * 60)
    after, last = crystals(rng, [25] * 70)
    huge = rng.integers(0, 2500, 30_000)
    offset = 1800 + 50
    return (
        [*before, *[0] * 50, *[12] * 2500, *after],
        np.concatenate([first, offset + huge, offset + 2500 + last]),
        offset + 2500 + 1750,
    )


def shuffled_sources():
    """Crystals whose sources are numbered in another order than their targets (bipartite), half of the sources unused."""
    rng = np.random.default_rng(4)
    degrees, sources = crystals(rng, [40] * 100)
    crystal = rng.permutation(100)[sources // 40]
    return degrees, (crystal * 40 + sources % 40) * 2 + 1, 8001


def interleaved():
    """Two huge crystals whose atoms alternate: no cut is clean."""
    rng = np.random.default_rng(5)
    target = np.repeat(np.arange(3000), 9)
    return [9] * 3000, 2 * rng.integers(0, 1500, len(target)) + target % 2, 3000


def one_long_row():
    rng = np.random.default_rng(6)
    return [3, 0, 20_000, 5, 1], rng.integers(0, 700, 20_009), 700


GRAPHS = {
    f.__name__: f for f in (batch_of_crystals, one_huge_crystal, banded, mixed, shuffled_sources, interleaved, one_long_row)
}


def chunked_problem(graph, term, dtype, make=message_problem):
    degrees, source, n_sources = GRAPHS[graph]()
    return make(
        term,
        row_ptr=pointers(degrees),
        source=torch.from_numpy(np.asarray(source, dtype=np.int64)),
        n_sources=int(n_sources),
        n_features=4,
        n_basis=3,
        dtype=dtype,
    )


@functools.cache
def twin_results(graph, term):
    return message_and_gradients(TWIN, with_leaves(chunked_problem(graph, term, torch.float64)))


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("graph", GRAPHS)
def test_same_bits_and_the_right_ones(graph, term):
    problem = with_leaves(chunked_problem(graph, term, torch.float64))
    first, *others = per_thread_count(lambda: message_and_gradients(KERNEL, problem))
    assert_same(first, twin_results(graph, term), 1e-10)
    for other in others:
        assert all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("term", ["dense", "gaussian"])
@pytest.mark.parametrize("graph", ["batch_of_crystals", "one_huge_crystal"])
def test_float32(graph, term):
    problem = chunked_problem(graph, term, torch.float32)
    first, *others = per_thread_count(lambda: message_and_gradients(KERNEL, with_leaves(problem)), (2, 1, 3))
    expected = message_and_gradients(TWIN, with_leaves(problem, dtype=torch.float64))
    assert_same(first, expected, 1e-4)
    for name, want in expected.items():
        error = (first[name].double() - want).square().mean().sqrt()
        assert error <= 1e-5 * want.square().mean().sqrt(), name
    for other in others:
        assert all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("graph", GRAPHS)
def test_moments(graph, term):
    problem = with_leaves(chunked_problem(graph, term, torch.float64, moments_problem))
    first, *others = per_thread_count(lambda: moments_and_gradients(KERNEL, problem))
    assert_same(first, moments_and_gradients(TWIN, problem), 1e-10)
    for other in others:
        assert all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("seed", range(12))
def test_any_cut(seed):
    """Random block structures, of up to a dozen chunks, with a tenth of the edges across blocks or none."""
    rng = np.random.default_rng(seed)
    degrees, sources = crystals(rng, rng.integers(1, 400, 10), max_neighbors=int(rng.integers(5, 30)))
    n = len(degrees)
    if seed % 2:
        across = rng.random(len(sources)) < 0.1
        sources = np.where(across, np.clip(sources + rng.integers(-300, 300, len(sources)), 0, n - 1), sources)
    sources = sources if seed % 3 else n - 1 - sources
    problem = message_problem(
        "none", row_ptr=pointers(degrees), source=torch.from_numpy(sources.astype(np.int64)), n_sources=n, n_features=2
    )
    first, second = per_thread_count(lambda: message_and_gradients(KERNEL, with_leaves(problem)), (1, 3))
    assert_same(first, message_and_gradients(TWIN, with_leaves(problem)), 1e-10)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_crystals_do_not_depend_on_their_batch():
    """The same edges with other crystals around: the same bits for all that belongs to single atoms and edges."""
    degrees, sources, n = batch_of_crystals()
    one = message_problem("none", row_ptr=pointers(degrees), source=torch.from_numpy(sources), n_sources=int(n), ordered=False)
    many = dict(one)
    many["row_ptr"] = torch.cat([one["row_ptr"], one["row_ptr"][1:] + one["row_ptr"][-1]])
    many["source"] = torch.cat([one["source"], one["source"] + len(one["q"])])
    for name in ("p", "q", "edge_weight"):
        many[name] = torch.cat([one[name], one[name]])
    grad = torch.randn(len(one["p"]), 5, dtype=torch.float64)
    alone = message_and_gradients(KERNEL, with_leaves(one), grad)
    together = message_and_gradients(KERNEL, with_leaves(many), torch.cat([grad, grad]))
    for name in ("out", "p", "q", "edge_weight"):
        assert torch.equal(together[name], torch.cat([alone[name], alone[name]])), name


ISA_SCRIPT = """
import sys; sys.path.insert(0, {folder!r})
import torch
from samples import *
from cgfast._native import core
torch.set_num_threads(1)
for dtype, tolerance in ((torch.float32, 2e-5), (torch.float64, 1e-11)):
    for term in TERMS:
        for n_features in (5, 8, 64):
            for affine in (False, True):
                problem = message_problem(term, n_features=n_features, dtype=dtype, affine=affine)
                found = message_and_gradients(KERNEL, with_leaves(problem))
                assert_same(found, message_and_gradients(TWIN, with_leaves(problem, dtype=torch.float64)), tolerance)
            problem = moments_problem(term, n_features=n_features, dtype=dtype)
            found = moments_and_gradients(KERNEL, with_leaves(problem))
            assert_same(found, moments_and_gradients(TWIN, with_leaves(problem, dtype=torch.float64)), tolerance)
bad = message_problem("gaussian")
bad["distances"][bad["row_ptr"][5]] = float("nan")
bad["order"] = None
assert message_and_gradients(KERNEL, with_leaves(bad))["p"][5].isnan().all()
print(core().isa())
"""


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
def test_gradients_of_every_instruction_set(isa):
    if not core().isa_supported(isa):
        pytest.skip(f"this processor or build has no {isa}")
    script = ISA_SCRIPT.format(folder=str(Path(__file__).parent))
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], env={**os.environ, "CGFAST_ISA": isa}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == isa
