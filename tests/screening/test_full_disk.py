"""A disk that fills up: a sentence, and the finished rows are kept and can be gone on from."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("pyarrow", reason="screening writes tables with pyarrow")
pytest.importorskip("torch", reason="screening computes with torch")

from tests.screening.runs_apart import Killer, both, left_over, write_input

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS = 6000


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_input(tmp_path_factory.mktemp("in") / "in.parquet", ROWS)


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    process = Killer(1024)
    yield process
    process.end()


@pytest.fixture(scope="module")
def whole(killer: Killer, source: Path) -> Path:
    """The output of a run that had room."""
    killer(source, source.with_name("whole.csv"))
    return source.with_name("whole.csv")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9])
def test_no_room_for_a_file(killer: Killer, source: Path, whole: Path, tmp_path: Path, share: float) -> None:
    """No file may be larger than a share of the output: even a part is too large, or the output is."""
    out = tmp_path / "p.csv"
    answer = killer(source, out, file_bytes=int(whole.stat().st_size * share))
    kept = "nothing was written" if share < 0.1 else f"{ROWS:,} finished rows are kept"
    assert answer["error"].startswith(f"out: cannot write {out}: File too large; {kept}")
    assert not out.exists()
    assert left_over(tmp_path) == ([] if share < 0.1 else [".p.csv.parts"])
    assert "error" not in killer(source, out, options={"resume": True})
    assert both(out) == both(whole)
    assert left_over(tmp_path) == []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Killer, Path]]:
    """A process that alone sees a disk of 100 KiB at the folder given."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        subprocess.run(["unshare", "-m", "true"], check=True, capture_output=True)  # noqa: S607 - wherever it is
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small disk needs root and unshare")
    mount = f'mount -t tmpfs -o size=100k tmpfs "{folder}" && exec "$@"'
    process = Killer(1024, ["unshare", "-m", "sh", "-c", mount, "sh"])
    yield process, folder
    process.end()


def beside(killer: Killer, *command: str) -> None:
    """Run a command that sees the disks of the process."""
    subprocess.run(["nsenter", "-t", str(killer.pid), "-m", *command], check=True)  # noqa: S607 - wherever it is


def test_a_full_disk(disk: tuple[Killer, Path], source: Path, whole: Path, tmp_path: Path) -> None:
    killer, folder = disk
    done = set()
    size = 100
    while size < 2000:
        answer = killer(source, folder / "p.csv", options={"resume": True})
        if "error" not in answer:
            break
        assert answer["error"].startswith(f"out: cannot write {folder / 'p.csv'}: no space is left on the disk; ")
        done.add(answer["error"].rpartition("; ")[2].partition(" ")[0])
        size += 40
        beside(killer, "mount", "-o", f"remount,size={size}k", str(folder))
    assert len(done) > 2  # it grew by a part or two at a time
    seen = tmp_path / "seen"
    seen.mkdir()
    for name in ("p.csv", "p-failures.csv"):
        beside(killer, "cp", str(folder / name), str(seen))
    assert both(seen / "p.csv") == both(whole)
