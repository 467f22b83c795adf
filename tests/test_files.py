"""Files that appear whole or not at all, and locks that die with their process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cgfast._files import FileLock, write_text

BUSY = "out: somebody is here"
ROOT = Path(__file__).resolve().parents[1]
_HOLD = "import sys, time; from pathlib import Path; from cgfast._files import FileLock; "
_HOLD += "lock = FileLock(Path(sys.argv[1]), '.lock', busy='x'); print('held', flush=True); time.sleep(600)"


def test_one_at_a_time(tmp_path: Path) -> None:
    with FileLock(tmp_path / "new", ".lock", busy=BUSY) as first:
        assert first.held
        with pytest.raises(ValueError, match=BUSY):
            FileLock(tmp_path / "new", ".lock", busy=BUSY)
        FileLock(tmp_path / "new", "other", busy=BUSY).release()
    assert not first.held
    first.release()  # twice does no harm
    FileLock(tmp_path / "new", ".lock", busy=BUSY).release()


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=BUSY):
            FileLock(tmp_path, ".lock", busy=BUSY)
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / ".lock").is_file()
    FileLock(tmp_path, ".lock", busy=BUSY).release()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_does_not_keep_it(tmp_path: Path) -> None:
    lock = FileLock(tmp_path, ".lock", busy=BUSY)
    ready, tell = os.pipe()
    child = os.fork()
    if not child:
        os.write(tell, b"!")
        time.sleep(600)
        os._exit(0)
    try:
        os.read(ready, 1)
        lock.release()
        FileLock(tmp_path, ".lock", busy=BUSY).release()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_folder_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    """The lock of a file that is gone from the folder is worth nothing: another process would get one too."""
    folder = tmp_path / "run"
    first = FileLock(folder, ".lock", busy=BUSY)
    (folder / ".lock").unlink()
    folder.rmdir()
    second = FileLock(folder, ".lock", busy=BUSY)
    with pytest.raises(ValueError, match=BUSY):
        FileLock(folder, ".lock", busy=BUSY)
    first.release()
    with pytest.raises(ValueError, match=BUSY):
        FileLock(folder, ".lock", busy=BUSY)
    second.release()


def test_places_that_take_no_lock(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "no" / "folder"):
        with pytest.raises(ValueError, match=re.escape(f"out: cannot write in the folder {folder.parent}")) as error:
            FileLock(folder, ".lock", busy=BUSY)
        assert isinstance(error.value.__cause__, OSError)


def test_text_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    assert write_text(tmp_path / "a.txt", "caf\udce9").read_text(encoding="utf-8") == "caf\\udce9"
    (tmp_path / "folder").mkdir()
    for place in (tmp_path / "folder", tmp_path / "no" / "a.txt"):
        with pytest.raises(ValueError, match="cannot be written"):
            write_text(place, "x")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.txt", "folder"]
