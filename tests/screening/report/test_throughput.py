"""Rates over time."""

from __future__ import annotations

import numpy as np

from cgfast.screening import Progress
from cgfast.screening.report import Throughput


def listened(seconds, rows, resumed: int = 0) -> Throughput:
    throughput = Throughput()
    for second, row in zip(seconds, rows, strict=True):
        throughput(Progress(int(row), None, 0, float(second), resumed))
    return throughput


def test_steady():
    throughput = listened(np.arange(1, 101), 50 * np.arange(1, 101))
    edges, rates = throughput.rates()
    assert (edges[0], edges[-1]) == (0.0, 100.0)
    np.testing.assert_allclose(rates, 50.0)
    assert (throughput.rate, throughput.seconds) == (50.0, 100.0)


def test_it_slows_down_in_the_middle():
    seconds = np.arange(1, 201)
    rows = np.where(seconds <= 100, 80 * seconds, 8000 + 20 * (seconds - 100))
    edges, rates = listened(seconds, rows).rates()
    np.testing.assert_allclose(rates[edges[1:] <= 100], 80.0)
    np.testing.assert_allclose(rates[edges[:-1] >= 100], 20.0)
    np.testing.assert_allclose((rates * np.diff(edges)).sum(), rows[-1])


def test_memory_is_bounded_and_no_row_is_lost():
    n = 50_000
    throughput = listened(np.arange(1, n + 1) * 0.5, 1024 * np.arange(1, n + 1))
    assert len(throughput._points) <= 4096
    edges, rates = throughput.rates()
    assert len(rates) == 100
    np.testing.assert_allclose(rates, 2048.0)
    np.testing.assert_allclose((rates * np.diff(edges)).sum(), 1024 * n)


def test_rows_of_an_earlier_run_do_not_count():
    throughput = listened([1.0, 2.0, 3.0, 4.0], [1100, 1200, 1300, 1400], resumed=1000)
    np.testing.assert_allclose(throughput.rates()[1], 100.0)
    assert throughput.rate == 100.0


def test_nothing_happened():
    edges, rates = Throughput().rates()
    assert len(edges) == len(rates) == 0
    assert Throughput().rate == 0.0
