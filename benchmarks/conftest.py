"""Shared pieces of the benchmarks: threads, the timer, and what goes into the JSON.

The default test run never comes here (`testpaths` holds `tests` only); `pytest benchmarks` does.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from benchmarks import machine

ROUND_BUDGET = 1.5  # seconds of timed rounds a benchmark aims for
ITERATION = 2e-3  # seconds that one timed round should take at least
Measure = Callable[..., None]
LOAD_BEFORE = pytest.StashKey[float]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="one round a benchmark: answers are checked, figures mean nothing")


def pytest_configure(config: pytest.Config) -> None:
    """Note how busy the machine was before we began: figures from a busy machine are worth less.

    A run in which everything was skipped writes no JSON; that is no error.
    """
    config.addinivalue_line("filterwarnings", "ignore::pytest_benchmark.logger.PytestBenchmarkWarning")
    config.stash[LOAD_BEFORE] = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put contenders for the same work next to each other, so that they are timed in the same minute.

    Peers may warn as they like: their deprecations are not our failures.
    """
    order: dict[tuple[object, ...], int] = {}
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("ignore"))
        order.setdefault(_work(item), len(order))
    items.sort(key=lambda item: order[_work(item)])


def _work(item: pytest.Item) -> tuple[object, ...]:
    """What a benchmark measures, without who does it: module, class, data set or size, passes."""
    params = getattr(getattr(item, "callspec", None), "params", {})
    return (item.path, getattr(item, "cls", None), *(params.get(key) for key in ("name", "size", "point", "work")))


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: Any, output_json: dict[str, Any]) -> None:
    """Keep the summary and our own description of the machine; drop raw rounds and host details."""
    del benchmarks
    kept = ("median", "min", "max", "iqr", "rounds", "iterations")
    output_json["machine_info"] = {**machine.describe(), "load_before": config.stash[LOAD_BEFORE]}
    output_json["commit_info"] = {key: output_json.get("commit_info", {}).get(key) for key in ("id", "time", "dirty")}
    output_json["benchmarks"] = [
        {
            "name": entry["name"],
            "group": entry["group"],
            "extra_info": entry["extra_info"],
            "stats": {key: entry["stats"][key] for key in kept},
        }
        for entry in output_json["benchmarks"]
    ]


@pytest.fixture(params=[1, 2], ids=["1-thread", "2-threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Threads for both sides; torch is set and put back."""
    import torch

    wanted: int = request.param
    if wanted > machine.usable_cpus():
        pytest.skip(f"needs {wanted} CPUs, this process may use {machine.usable_cpus()}")
    before = torch.get_num_threads()
    torch.set_num_threads(wanted)
    yield wanted
    torch.set_num_threads(before)


@pytest.fixture(params=["as run", "fair"], ids=["as-run", "fair"])
def setting(request: pytest.FixtureRequest) -> Iterator[str]:
    """How a peer runs: as users run it, or with denormals flushed; put back afterwards.

    Flushing may reach the calling thread only, so a fair peer's input must hold no denormals either.
    """
    import torch

    wanted: str = request.param
    torch.set_flush_denormal(wanted == "fair")
    yield wanted
    torch.set_flush_denormal(False)


@pytest.fixture
def measure(benchmark: Any, request: pytest.FixtureRequest) -> Measure:
    """Time `call()` and file the figure.

    `unit` is either a rate ("crystals/s": items over the median) or a time per item ("ns/edge"). `group` is
    the work that contenders share, `role` who did it. `check` is given the answer of the first call, which also
    warms up, and raises if it is wrong. Rounds are chosen to fill `budget` seconds; three at least, or as many
    of them as `patience` seconds hold.
    """

    def run(
        call: Callable[[], object],
        *,
        group: str,
        role: str,
        items: int,
        unit: str,
        threads: int,
        check: Callable[[Any], None] | None = None,
        budget: float = ROUND_BUDGET,
        patience: float = math.inf,
        max_rounds: int = 50,
        **notes: object,
    ) -> None:
        begin = time.perf_counter()
        answer = call()
        once = time.perf_counter() - begin
        if check is not None:
            check(answer)
        del answer
        quick = request.config.getoption("--quick")
        if once < ROUND_BUDGET / 10 and not quick:  # the first call may have paid for more than itself
            begin = time.perf_counter()
            call()
            once = time.perf_counter() - begin
        once = max(once, 1e-9)
        fewest = int(min(3, max(1, patience / once)))
        rounds = 1 if quick else min(max_rounds, max(fewest, int(budget / once)))
        iterations = 1 if quick else max(1, int(ITERATION / once))
        benchmark.group = f"{group} | {threads} thread{'s' if threads > 1 else ''}"
        benchmark.extra_info.update({"group": group, "role": role, "items": items, "unit": unit, "threads": threads, **notes})
        benchmark.pedantic(call, rounds=rounds, iterations=iterations)

    return run
