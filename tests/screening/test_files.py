"""Files appear whole or not at all; one run per output; a killed run leaves no lock."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cgfast.screening import screen
from cgfast.screening.output.writer import OutputFile

pa = pytest.importorskip("pyarrow", reason="screening writes tables with pyarrow")

HOLD = """
import sys, time, os
import pyarrow as pa
from pathlib import Path
from cgfast.screening.output.writer import OutputFile
with OutputFile(Path(sys.argv[1]), {}) as file:
    file.write(pa.table({"id": ["a"]}))
    if len(sys.argv) > 2 and os.fork() == 0:
        os.close(1)
        time.sleep(60)
        os._exit(0)
    print("holding", flush=True)
    time.sleep(60)
"""


def hold(out: Path, *arguments: str) -> subprocess.Popen[str]:
    """A process in the middle of writing `out`."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", HOLD, str(out), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's background jobs ignore Ctrl-C and hand that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - the tests have no threads
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "holding\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    """Kill what is left of the process and its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def write_one(out: Path) -> None:
    with OutputFile(out, {}) as file:
        file.write(pa.table({"id": ["b"]}))
        file.commit()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.usefixtures("graph_calls")
def test_an_interrupted_job_leaves_what_was_there(make_rows, make_model, tmp_path: Path, error, suffix) -> None:
    def on_batch(start: int) -> None:
        if start == 8:
            raise error

    out = tmp_path / f"p.{suffix}"
    out.write_text("the result of yesterday")
    failures = tmp_path / "p-failures.csv"
    failures.write_text("and its failures")
    with pytest.raises(error):
        screen(make_rows([[1]] * 20, on_batch=on_batch), make_model(), out=out)
    assert out.read_text() == "the result of yesterday"
    assert failures.read_text() == "and its failures"
    assert names(tmp_path) == ["p-failures.csv", out.name]
    screen(make_rows([[1]] * 20), make_model(), out=out)
    assert out.stat().st_size > 100


def test_a_second_run_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    out = tmp_path / "p.csv"
    process = hold(out)
    try:
        with pytest.raises(ValueError, match="is being written by another running process"):
            write_one(out)
        write_one(tmp_path / "q.csv")
    finally:
        end(process)
    assert not out.exists()


@pytest.mark.parametrize("forked", [(), ("with a forked child that lives on",)])
def test_sigkill_leaves_no_lock(tmp_path: Path, forked: tuple[str, ...]) -> None:
    out = tmp_path / "p.csv"
    process = hold(out, *forked)
    try:
        process.kill()
        process.wait()
        assert names(tmp_path) == [".p.csv.parts"]
        write_one(out)
        assert out.read_text() == "id\nb\n"
        assert names(tmp_path) == ["p-failures.csv", "p.csv"]
    finally:
        end(process)


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    process = hold(tmp_path / "p.parquet")
    process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    end(process)
    assert names(tmp_path) == []


def test_row_groups_stream(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    with OutputFile(tmp_path / "p.parquet", {"a": 1}) as file:
        for start in range(0, 100_000, 1000):
            file.write(pa.table({"n": list(range(start, start + 1000))}))
        file.commit()
    written = pq.ParquetFile(tmp_path / "p.parquet")
    assert written.metadata.num_row_groups == 4
    assert written.read()["n"].to_pylist() == list(range(100_000))
    assert written.schema_arrow.metadata[b"cgfast"] == b'{"a": 1}'


def test_kept_columns_of_two_files_may_differ_in_width_not_in_kind(tmp_path: Path) -> None:
    with OutputFile(tmp_path / "p.csv", {}) as file:
        file.write(pa.table({"n": pa.array([1], pa.int64())}))
        file.write(pa.table({"n": pa.array([2], pa.int32())}))
        with pytest.raises(ValueError, match="keep: the kept columns change"):
            file.write(pa.table({"n": ["many"]}))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that takes no new names")
def test_a_folder_that_takes_no_new_names_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="out: cannot write in the folder /proc"):
        OutputFile(Path("/proc/predictions.csv"), {})
