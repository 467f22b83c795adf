"""Any input becomes one Parquet table that gives the same crystals bit by bit; every row is accounted for."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("gemmi")

import cgfast  # noqa: E402
from cgfast.conversion import FailuresError, convert  # noqa: E402
from cgfast.crystals import Crystals  # noqa: E402
from cgfast.io import read  # noqa: E402
from tests.io.cifs import cif  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path


def whole(source: Any, **options: Any) -> Crystals:
    return Crystals.concatenate(read(source, **options))


def failures_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def entry(k: int, **changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(k)
    atoms = {
        "lattice_mat": (rng.normal(size=(3, 3)) + 6 * np.eye(3)).tolist(),
        "coords": rng.uniform(-1, 2, (k % 4 + 1, 3)).tolist(),
        "elements": ["Na", "Cl", "O", "Fe"][: k % 4 + 1],
    }
    return {
        "jid": f"J-{k}",
        "atoms": atoms | changes,
        "energy": 0.1 * k,
        "metal": k % 2 == 0,
        "note": f"n{k}",
        "id": f"other{k}",
    }


@pytest.fixture
def entries(tmp_path: Path) -> Path:
    path = tmp_path / "in.json"
    rows = [entry(k, **({"elements": ["Qq"] * (k % 4 + 1)} if k % 10 == 3 else {})) for k in range(50)]
    path.write_text(json.dumps(rows))
    return path


def test_the_same_crystals_and_all_properties(entries: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    seen = []
    result = cgfast.convert(entries, out, on_progress=seen.append)
    assert result.account == f"50 rows in: 45 structures, 5 failures (see {tmp_path / 'out-failures.csv'})"
    assert (result.n_rows, result.n_structures, result.n_failures, result.out) == (50, 45, 5, out)
    assert [f.row for f in result.failures] == [3, 13, 23, 33, 43]
    assert seen[-1].rows == 50
    assert whole(out) == whole(entries)
    table = pq.read_table(out)
    names = ["id", "lattice_vectors", "cartesian_site_positions", "species_at_sites", "dimension_types"]
    assert table.column_names == [*names, "energy", "metal", "note"]
    good = [k for k in range(50) if k % 10 != 3]
    assert table.column("id").to_pylist() == [f"J-{k}" for k in good]
    assert table.column("energy").to_pylist() == [0.1 * k for k in good]
    assert table.column("metal").to_pylist() == [k % 2 == 0 for k in good]
    assert table.column("dimension_types").to_pylist() == [[1, 1, 1]] * 45
    rows = failures_of(result.failures_out)
    assert [(row["id"], row["row"], row["stage"]) for row in rows] == [(f"J-{k}", str(k), "read") for k in range(3, 50, 10)]
    again = tmp_path / "again.parquet"
    assert convert(out, again).n_failures == 0
    assert pq.read_table(again).equals(table)
    assert not list(tmp_path.glob(".*"))


def test_what_is_kept(entries: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    assert convert(entries, out, keep=()).kept == ()
    assert pq.read_schema(out).names[5:] == []
    assert convert(entries, out, keep=["note", "id"]).kept == ("note", "input.id")
    assert pq.read_table(out, columns=["input.id"]).column(0)[0].as_py() == "other0"
    assert whole(out) == whole(entries)
    with pytest.raises(ValueError, match="has no property nope"):
        convert(entries, out, keep=["nope"])
    assert whole(out) == whole(entries)  # what was there before is still there


def test_real_crystals_with_units_and_lists(data: Path, tmp_path: Path) -> None:
    source = data / "matminer_elastic_tensor_2015.parquet"
    out = tmp_path / "out.parquet"
    result = convert(source, out)
    assert result.n_failures == 0
    assert whole(out) == whole(source)
    before, after = pq.read_table(source), pq.read_table(out)
    for name in ("elastic_tensor_GPa", "poisson_ratio", "chemical_formula_reduced"):
        assert after.column(name).equals(before.column(name))
        assert after.schema.field(name).metadata == before.schema.field(name).metadata
    assert pq.ParquetFile(out).metadata.num_row_groups == 1


def test_several_inputs_keep_what_all_have(entries: Path, tmp_path: Path) -> None:
    other = tmp_path / "b.json"
    other.write_text(json.dumps([{**entry(k), "jid": f"K-{k}", "extra": 1.0} for k in range(3)]))
    table = tmp_path / "t.parquet"
    convert(other, table)
    (tmp_path / "x.cif").write_text(cif("Na1 Na 0 0 0"))
    out = tmp_path / "out.parquet"
    result = convert([table, entries], out)
    assert result.kept == ("energy", "metal", "note")
    assert whole(out) == Crystals.concatenate([whole(table), whole(entries)])
    result = convert([tmp_path / "x.cif", entries], out)
    assert (result.kept, result.n_rows) == ((), 51)


def test_open_axes_disorder_and_other_names(tmp_path: Path) -> None:
    slab = {"lattice_vectors": [[3.0, 0, 0], [0, 3.0, 0], [None] * 3], "dimension_types": [1, 1, 0]}
    mixed = [{"name": "M", "chemical_symbols": ["Na", "K"], "concentration": [0.7, 0.3]}]
    rows = [
        {"name": "a", "cartesian_site_positions": [[0, 0, 0.1]], "species_at_sites": ["Au"], **slab},
        {"name": "b", "cartesian_site_positions": [[0, 0, 0.1]], "species_at_sites": ["M"], "species": mixed, **slab},
    ]
    path = tmp_path / "in.json"
    path.write_text(json.dumps(rows))
    out = tmp_path / "out.parquet"
    options: dict[str, Any] = {"columns": {"id": "name"}, "on_disorder": "majority"}
    assert convert(path, out, **options).kept == ()
    crystals = whole(out, on_disorder="error")  # nothing disordered is left
    assert crystals == whole(path, **options)
    assert crystals.ids.tolist() == ["a", "b"]
    assert crystals.pbc.tolist() == [[True, True, False]] * 2


def test_crystals_readers_and_nothing(entries: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    crystals = whole(entries)
    convert(crystals, out)
    assert whole(out) == crystals
    assert convert(read(entries, keep=["energy"]), out).kept == ("energy",)
    (tmp_path / "none.json").write_text('{"data": []}')
    result = convert(tmp_path / "none.json", out)
    assert (result.n_rows, result.account) == (0, "0 rows in: 0 structures, 0 failures")
    assert pq.read_table(out).num_rows == 0
    (tmp_path / "bad.json").write_text(json.dumps([entry(0, coords=[])]))
    assert convert(tmp_path / "bad.json", out, keep=["energy"]).n_failures == 1
    assert pq.read_schema(out).names[-1] == "energy"
    assert list(read(out)) == []


def test_refusals(entries: Path, tmp_path: Path) -> None:
    for out, message in (
        (tmp_path / "x.csv", r"out: .*x\.csv ends in '\.csv', expected \.parquet"),
        (tmp_path / "no" / "x.parquet", "does not exist"),
        (tmp_path, "expected .parquet"),
    ):
        with pytest.raises(ValueError, match=message):
            convert(entries, out)
    table = tmp_path / "t.parquet"
    convert(entries, table)
    with pytest.raises(ValueError, match="is also the input"):
        convert(table, table)
    with pytest.raises(FailuresError, match="strict: 5 of 50 rows failed") as caught:
        convert(entries, tmp_path / "s.parquet", strict=True)
    assert caught.value.result.n_structures == 45
    assert (tmp_path / "s.parquet").exists()


def test_a_damaged_input_leaves_what_was_there(entries: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    out.write_text("precious")
    entries.write_text(json.dumps([entry(k) for k in range(3000)])[:-10])
    with pytest.raises(ValueError, match="ends in the middle"):
        convert(entries, out)
    assert out.read_text() == "precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.json", "out.parquet"]


def test_notes_on_values_that_do_not_fit(tmp_path: Path) -> None:
    rows = [{**entry(k), "energy": 1.0 if k < 1000 else "n/a"} for k in range(1002)]
    (tmp_path / "in.json").write_text(json.dumps(rows))
    result = convert(tmp_path / "in.json", tmp_path / "out.parquet")
    assert result.n_failures == 0
    assert len(result.notes) == 1
    assert "2 values of energy became null" in result.notes[0]


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-P", "-m", "cgfast.cli", "convert", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_the_command(entries: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    (tmp_path / "x.cif").write_text(cif("Na1 Na 0 0 0"))
    done = command(entries, tmp_path / "x.cif", out)
    assert (done.returncode, done.stderr) == (0, "")
    first, last = done.stdout.splitlines()
    assert first.startswith(f"wrote {out} (")
    assert last == f"51 rows in: 46 structures, 5 failures (see {tmp_path / 'out-failures.csv'})"
    done = command(entries, out, "--keep", "energy", "--strict", "--column", "id=id")
    assert done.returncode == 1
    assert done.stderr == "error: strict: 5 of 50 rows failed\n"
    assert pq.read_schema(out).names[5:] == ["energy"]
    assert pq.read_table(out).column("id")[0].as_py() == "other0"
    assert command(entries, out, "--bare").returncode == 0
    assert pq.read_schema(out).names[5:] == []
    done = command(tmp_path / "nothing.json", out)
    assert (done.returncode, done.stderr) == (2, f"error: no such file or folder: {tmp_path / 'nothing.json'}\n")
