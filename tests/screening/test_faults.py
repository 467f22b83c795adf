"""Whatever is in the input: every row of it ends in the predictions or in the failures, once."""

from __future__ import annotations

import csv
import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="screening writes tables with pyarrow")
pytest.importorskip("gemmi", reason="reads CIF")
pytest.importorskip("torch", reason="screening computes with torch")

import pyarrow as pa
import pyarrow.parquet as pq

from cgfast.io import cif_fallback
from cgfast.screening import screen
from tests.io.cifs import OCCUPANCY, cif
from tests.screening.killed_runs import MeanZ

if TYPE_CHECKING:
    from pathlib import Path

SITES = "Na1 Na 0 0 0\nCl1 Cl .5 .5 .5"
GOOD = cif(SITES)
# Stands for pymatgen: hangs over one file, dies of another, reads none.
WORKER = """
import os, sys, time
out = os.fdopen(os.dup(1), "wb")
def say(text):
    out.write(len(text).to_bytes(8, "big") + text); out.flush()
say(b'{"ready": true}')
while len(head := sys.stdin.buffer.read(8)) == 8:
    body = sys.stdin.buffer.read(int.from_bytes(head, "big"))
    if b"HANG" in body: time.sleep(600)
    if b"DIE" in body: os._exit(3)
    say(b'{"blocks": []}')
"""
HOSTILE = {
    "died": "DIE",
    "disordered": cif("Na1 Na 0 0 0 0.5\nK1 K 0 0 0 0.5", columns=OCCUPANCY),
    "empty": "",
    "flat": cif(SITES, cell=(5, 5, 5, 90, 90, 0)),
    "hanging": "HANG",
    "infinite": cif(SITES, cell=(5, "1e400", 5, 90, 90, 90)),
    "nan": cif(SITES, cell=(5, "nan", 5, 90, 90, 90)),
    "no_atoms": "data_x\n_cell_length_a 4\n",
    "no_text": "\0\1\2\3" * 100,
    "no_volume": cif(SITES, cell=(5, 0, 5, 90, 90, 90)),
    "too_heavy": cif("Og1 Og 0 0 0"),
    "truncated": GOOD[: len(GOOD) // 2],
    "unknown_element": cif("Qq1 Qq 0 0 0"),
}
LEGAL = {
    "atom_alone": cif("He1 He 0 0 0", cell=(90, 90, 90, 90, 90, 90)),
    "far_outside": cif("Na1 Na 7 -9 0.5"),
    "good": GOOD,
    "needle": cif(SITES, cell=(300, 3, 3, 90, 90, 90)),
    "overlapping": cif("Na1 Na 0 0 0\nNa2 Na 0.02 0 0"),
    "sheared": cif(SITES, cell=(5, 5, 5, 90, 90, 5)),
    "two_blocks": GOOD + cif(SITES, name="again"),
}


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in for pymatgen."""
    package = tmp_path / "worker" / "cgfast" / "io"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "cif_worker.py").write_text(WORKER)
    monkeypatch.setattr(cif_fallback, "__file__", str(package / "cif_fallback.py"))


def check(result, out: Path, n_rows: int) -> dict[str, str]:
    """The account adds up, in the result and in the files; gives the reasons by id."""
    table = pq.read_table(out)
    with out.with_name(f"{out.stem}-failures.csv").open(newline="", encoding="utf-8") as file:
        failures = list(csv.DictReader(file))
    assert result.n_rows == n_rows == table.num_rows + len(failures)
    assert (result.n_predictions, result.n_failures) == (table.num_rows, len(failures))
    rows = [int(failure["row"]) for failure in failures]
    assert rows == sorted(set(rows))
    assert set(rows) <= set(range(n_rows))
    assert np.isfinite(table["mean_z"].to_numpy()).all()
    assert all(failure["reason"] for failure in failures)
    return {failure["id"]: failure["reason"] for failure in failures}


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "2018"])
def test_hostile_files_among_legal_ones(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, text in (HOSTILE | LEGAL).items():
        (folder / f"{name}.cif").write_text(text)
    n_rows, missing = len(HOSTILE) + len(LEGAL) + 1, set()
    source = folder
    if kind == "2018":
        names = [*HOSTILE, *LEGAL, "good", "not_there"]  # one is there twice
        (folder / "id_prop.csv").write_text("".join(f"{name},1\n" for name in names))
        n_rows, missing = len(names), {"not_there"}
    elif kind != "folder":
        source = shutil.make_archive(str(tmp_path / "all"), kind, folder)
    out = tmp_path / "p.parquet"
    reasons = check(screen(source, MeanZ(), out=out, time_limit=1.0), out, n_rows)
    assert {name.rpartition("/")[2] for name in reasons} == set(HOSTILE) | missing
    by_name = {name.rpartition("/")[2]: reason for name, reason in reasons.items()}
    assert "longer than 1 s" in by_name["hanging"]
    assert "Og (Z=118) is unknown" in by_name["too_heavy"]


def crystal(name: object, symbols: list[str], positions: list[list[float]], lattice: object = None) -> dict[str, object]:
    return {
        "id": name,
        "lattice_vectors": (np.eye(3) * 4).tolist() if lattice is None else lattice,
        "cartesian_site_positions": positions,
        "species_at_sites": symbols,
    }


ORIGIN = [[0.0, 0.0, 0.0]]
HOSTILE_ROWS = {
    "nan": crystal("nan", ["Na"], [[float("nan")] * 3]),
    "inf": crystal("inf", ["Na"], ORIGIN, [[float("inf")] * 3] * 3),
    "no volume": crystal("no volume", ["Na"], ORIGIN, np.zeros((3, 3)).tolist()),
    "planar": crystal("planar", ["Na"], ORIGIN, [[1.0, 0, 0], [2.0, 0, 0], [0, 0, 1.0]]),
    "no atoms": crystal("no atoms", [], []),
    "null": crystal("null", None, None),
    "too few symbols": crystal("too few symbols", ["Na"], ORIGIN * 2),
    "short vector": crystal("short vector", ["Na"], [[0.0, 0.0]]),
    "unknown": crystal("unknown", ["Xx"], ORIGIN),
    "too heavy": crystal("too heavy", ["Lr"], ORIGIN),
    "long" + "g" * 2000: crystal("long" + "g" * 2000, ["Na"], ORIGIN),
}


def rows_of(n: int) -> list[dict[str, object]]:
    """n rows: each hostile one between good ones, whose ids repeat."""
    hostile = list(HOSTILE_ROWS.values())
    good = crystal("twin", ["Na", "Cl"], [[0.0] * 3, [2.0] * 3])
    return [hostile[k // 5 % len(hostile)] if k % 5 == 3 else good for k in range(n)]


def test_hostile_rows_among_good_ones(tmp_path: Path) -> None:
    rows = rows_of(3000)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet", row_group_size=700)
    out = tmp_path / "p.parquet"
    reasons = check(screen(tmp_path / "in.parquet", MeanZ(), out=out), out, 3000)
    assert set(pq.read_table(out)["id"].to_pylist()) == {"twin"}
    assert len(reasons) == len(HOSTILE_ROWS)
    assert pq.read_metadata(out).num_rows == sum(row["id"] == "twin" for row in rows)


def test_hostile_records_in_json(tmp_path: Path) -> None:
    def optimade(row: dict[str, object]) -> str:
        attributes = {key: value for key, value in row.items() if key != "id"} | {"dimension_types": [1, 1, 1]}
        return json.dumps({"id": row["id"], "type": "structures", "attributes": attributes})

    lines = [optimade(row) for row in rows_of(500)]
    lines[100] = "this is no JSON"
    lines[200] = lines[200][:50]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    out = tmp_path / "p.parquet"
    check(screen(tmp_path / "in.jsonl", MeanZ(), out=out), out, 500)


@pytest.mark.slow
def test_a_cell_of_100000_atoms_among_small_ones(tmp_path: Path) -> None:
    side = 47  # 103,823 atoms
    places = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) * 2.5
    large = crystal("large", ["Na"] * len(places), places.tolist(), (np.eye(3) * 2.5 * side).tolist())
    rows = rows_of(2000)
    rows[1234] = large
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet", row_group_size=700)
    out = tmp_path / "p.parquet"
    check(screen(tmp_path / "in.parquet", MeanZ(), out=out), out, 2000)
    assert "large" in pq.read_table(out)["id"].to_pylist()
