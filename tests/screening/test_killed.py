"""A run that is killed at any moment and resumed gives the files of an undisturbed one, byte by byte."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("pyarrow", reason="screening writes tables with pyarrow")
pytest.importorskip("torch", reason="screening computes with torch")

from tests.screening.runs_apart import Killer, both, left_over, write_input


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    process = Killer(1024)
    yield process
    process.end()


@pytest.mark.parametrize(
    ("suffix", "step"),
    [
        ("parquet", 4),
        ("csv", 9),
        pytest.param("parquet", 1, marks=pytest.mark.slow),
        pytest.param("csv", 1, marks=pytest.mark.slow),
    ],
)
def test_killed_before_operations_on_files(killer: Killer, tmp_path: Path, suffix: str, step: int) -> None:
    source = write_input(tmp_path / "in.parquet", 2300)
    whole, out = tmp_path / f"whole.{suffix}", tmp_path / f"p.{suffix}"
    options = {"keep": ["label"], "resume": True}
    assert killer(source, whole, options=options)["status"] == "done"
    operation = 0
    resumed = set()
    while killer(source, out, operation=operation, options=options)["status"] == "killed":
        answer = killer(source, out, options=options)
        assert answer["status"] == "done", answer
        assert "error" not in answer, answer
        assert both(out) == both(whole), f"killed before operation {operation}"
        assert left_over(tmp_path) == []
        resumed.add(answer["rows"])
        for path in tmp_path.glob("p[.-]*"):
            path.unlink()
        operation += step
    assert operation > 20  # each part, both renames, each removal
    assert {0, 1024, 2300} <= resumed


def test_killed_again_and_again(killer: Killer, tmp_path: Path) -> None:
    source = write_input(tmp_path / "in.parquet", 3500)
    whole, out = tmp_path / "whole.parquet", tmp_path / "p.parquet"
    killer(source, whole)
    kills = 0
    while killer(source, out, operation=8, options={"resume": True})["status"] == "killed":
        kills += 1
        assert kills < 50
    assert kills > 2
    assert both(out) == both(whole)


@pytest.mark.slow
def test_fifty_random_moments(tmp_path: Path) -> None:
    random_ = random.Random(20180406)  # noqa: S311 - a fixed seed is the point
    killer = Killer(8192)
    try:
        source = write_input(tmp_path / "in.parquet", 100_000)
        whole, out = tmp_path / "whole.parquet", tmp_path / "p.parquet"
        options = {"keep": ["label"], "resume": True}
        seconds = killer(source, whole, options=options)["seconds"]
        reference = both(whole)
        kills, in_parts = 0, 0
        while kills < 50:
            answer = killer(source, out, after=random_.uniform(0, seconds), options=options)
            if answer["status"] == "killed":
                kills += 1
                in_parts += bool(left_over(tmp_path))
                continue
            assert "error" not in answer, answer
            assert both(out) == reference
            for path in tmp_path.glob("p[.-]*"):
                path.unlink()
        assert "error" not in killer(source, out, options=options)
        assert both(out) == reference
        assert left_over(tmp_path) == []
        assert in_parts > 25
    finally:
        killer.end()
