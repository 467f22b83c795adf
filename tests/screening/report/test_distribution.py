"""Histograms of columns of any length."""

from __future__ import annotations

import numpy as np
import pytest

from cgfast.screening.report.distribution import FEWEST_BINS, MOST_BINS, SAMPLE, Bins, Summary


def pieces(values: np.ndarray, seed: int) -> list[np.ndarray]:
    cuts = np.sort(np.random.default_rng(seed).integers(0, len(values) + 1, 40))
    return np.split(values, cuts)


def summary_of(values: np.ndarray, seed: int = 0) -> Summary:
    summary = Summary()
    for piece in pieces(values, seed):
        summary.add(piece)
    return summary


@pytest.mark.parametrize("n", [1, 7, 1000, SAMPLE, SAMPLE + 1, 5 * SAMPLE + 3])
def test_moments_and_sample(n):
    values = np.random.default_rng(n).normal(1e3, 2.0, n)
    values[n // 2 :: 11] = np.nan
    values[n // 3 :: 17] = np.inf
    finite = values[np.isfinite(values)]
    found = summary_of(values)
    assert (found.n, found.n_missing) == (len(finite), n - len(finite))
    if len(finite):
        assert (found.min, found.max) == (finite.min(), finite.max())
        np.testing.assert_allclose([found.mean, found.std], [finite.mean(), finite.std()], rtol=1e-9, atol=1e-9)
    assert len(found.sample) <= SAMPLE
    every = next(2**k for k in range(10) if -(-len(finite) // 2**k) <= SAMPLE)
    np.testing.assert_array_equal(found.sample, finite[::every])
    assert found.is_whole == (every == 1)


def test_the_sample_does_not_depend_on_the_pieces():
    values = np.random.default_rng(1).random(3 * SAMPLE)
    np.testing.assert_array_equal(summary_of(values, 1).sample, summary_of(values, 2).sample)


def test_bins_count_every_value():
    values = np.random.default_rng(2).normal(0.0, 1.0, 300_000)
    values[:3] = (1e6, -1e6, np.nan)  # odd values must not spoil the axis
    edges = summary_of(values).edges()
    assert FEWEST_BINS <= len(edges) - 1 <= MOST_BINS
    assert -6 < edges[0] < -3 < 3 < edges[-1] < 6
    bins = Bins(edges)
    for piece in pieces(values, 3):
        bins.add(piece)
    inside = values[(values >= edges[0]) & (values <= edges[-1])]
    np.testing.assert_array_equal(bins.counts, np.histogram(inside, edges)[0])
    assert bins.counts.sum() + bins.below + bins.above == np.isfinite(values).sum()
    assert bins.below == (values < edges[0]).sum()


def test_few_values_keep_their_extremes():
    values = np.array([0.0, 1.0, 2.0, 3.0])
    edges = summary_of(values).edges()
    assert (edges[0], edges[-1]) == (0.0, 3.0)


@pytest.mark.parametrize("value", [0.0, -4.5, 1e-12, 1e9])
def test_a_constant_column(value):
    summary = summary_of(np.full(10, value))
    bins = Bins(summary.edges())
    bins.add(np.full(10, value))
    assert bins.counts.tolist() == [10]


def test_limits_are_kept():
    assert summary_of(np.array([0.2, 0.4])).edges((0.0, 1.0))[[0, -1]].tolist() == [0.0, 1.0]


def test_nothing_at_all():
    summary = summary_of(np.full(5, np.nan))
    assert summary.n == 0
    assert np.isnan(summary.median)
    assert Bins(summary.edges()).counts.sum() == 0
