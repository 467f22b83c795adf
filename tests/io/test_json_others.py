"""JARVIS, OPTIMADE and ASE JSON: dictionaries by hand, ASE's own writer, and the Parquet reader as a second opinion."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from cgfast.crystals import Crystals  # noqa: E402
from cgfast.io import read  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

CUBE = [[4.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 6.0]]


def single(path: Path, content: Any, **options: Any) -> Any:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    (batch,) = read(path, **options).batches()
    assert batch.n_rows == len(batch.crystals) + len(batch.failures)
    return batch


def jarvis(k: int, **changes: Any) -> dict[str, Any]:
    atoms = {
        "lattice_mat": CUBE,
        "coords": [[0, 0, 0], [0.5, 0.5, 0.1 * k]],
        "elements": ["Na", "Cl"],
        "abc": [4.0, 5.0, 6.0],
        "angles": [90.0] * 3,
        "cartesian": False,
        "props": ["", ""],
    }
    gap = "na" if k % 2 else 0.5 * k
    return {"jid": f"JVASP-{k}", "atoms": atoms | changes, "formation_energy_peratom": -1.0 * k, "optb88vdw_bandgap": gap}


def test_jarvis(tmp_path: Path) -> None:
    entries = [jarvis(k) for k in range(6)]
    entries[2]["atoms"] |= {"cartesian": True, "coords": [[0, 0, 0], [2.0, 2.5, 1.2]]}
    entries[3]["atoms"] |= {"cartesian": "False"}
    del entries[4]["atoms"]["cartesian"]
    batch = single(tmp_path / "d.json", entries, keep=["formation_energy_peratom", "optb88vdw_bandgap"])
    want = Crystals.concatenate(
        Crystals.from_arrays([[0, 0, 0], [2.0, 2.5, 0.1 * k * 6.0]], CUBE, [11, 17], ids=[f"JVASP-{k}"]) for k in range(6)
    )
    np.testing.assert_allclose(batch.crystals.positions, want.positions, atol=1e-12)
    assert batch.crystals.ids.tolist() == want.ids.tolist()
    assert batch.crystals.atomic_numbers.tolist() == [11, 17] * 6
    assert batch.columns.column("optb88vdw_bandgap").to_pylist() == [0.0, None, 1.0, None, 2.0, None]  # "na" is no text
    assert single(tmp_path / "one.json", entries[0]["atoms"]).crystals.ids.tolist() == ["one"]
    bad = [jarvis(0, coords=[[0, 0, 0]]), jarvis(1, elements="NaCl"), jarvis(2, lattice_mat=None), {**jarvis(3), "atoms": "na"}]
    batch = single(tmp_path / "bad.json", [*bad, jarvis(4)])
    assert [f.id for f in batch.failures] == ["JVASP-0", "JVASP-1", "JVASP-2", "JVASP-3"]
    assert batch.crystals.ids.tolist() == ["JVASP-4"]


def optimade(k: int, **changes: Any) -> dict[str, Any]:
    attributes = {
        "lattice_vectors": CUBE,
        "cartesian_site_positions": [[0.1 * k, 0, 0], [2, 2, 2]],
        "species_at_sites": ["Na", "Cl"],
        "dimension_types": [1, 1, 1],
        "species": [{"name": x, "chemical_symbols": [x], "concentration": [1.0]} for x in ("Na", "Cl")],
        "structure_features": [],
        "nsites": 2,
        "_exmpl_band_gap": 0.5 * k,
        "elements": ["Cl", "Na"],
    }
    return {"id": f"odb-{k}", "type": "structures", "attributes": attributes | changes, "links": None}


MIXED = {"name": "M", "chemical_symbols": ["Na", "K"], "concentration": [0.7, 0.3]}
CHLORINE = {"name": "Cl", "chemical_symbols": ["Cl"], "concentration": [1.0]}
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "no species": {"species": None, "structure_features": None, "dimension_types": None},
    "other names": {
        "species_at_sites": ["Na1", "Cl"],
        "species": [{"name": "Na1", "chemical_symbols": ["Na"], "concentration": [1.0]}],
    },
    "mixed": {"species_at_sites": ["M", "Cl"], "species": [MIXED, CHLORINE], "structure_features": ["disorder"]},
    "mixed, not flagged": {"species_at_sites": ["M", "Cl"], "species": [MIXED]},
    "vacancies": {
        "species_at_sites": ["V", "Cl"],
        "species": [{"name": "V", "chemical_symbols": ["Na", "vacancy"], "concentration": [0.4, 0.6]}],
    },
    "flag alone": {"species": None, "structure_features": ["disorder"]},
    "attached": {
        "species": [{"name": "Na", "chemical_symbols": ["Na"], "concentration": [1.0], "attached": ["H"], "nattached": [1]}]
    },
    "slab": {"dimension_types": [1, 1, 0], "lattice_vectors": [*CUBE[:2], [0.0, 0.0, 0.0]]},
    "unknown": {"species_at_sites": ["Na", "vacancy"], "species": []},
    "too few": {"cartesian_site_positions": [[0, 0, 0]]},
    "flags": {"dimension_types": [1, 1, 2]},
    "null positions": {"cartesian_site_positions": None},
    "null lattice": {"lattice_vectors": None},
}


@pytest.mark.parametrize("on_disorder", ["skip", "majority"])
def test_json_and_parquet_of_one_table_are_the_same(tmp_path: Path, on_disorder: str) -> None:
    entries = [optimade(k, **changes) for k, changes in enumerate(CASES.values())]
    from_json = single(tmp_path / "o.json", {"data": entries, "meta": {"data_returned": len(entries)}}, on_disorder=on_disorder)
    rows = [{"id": e["id"], **e["attributes"]} for e in entries]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "o.parquet")
    (from_parquet,) = read(tmp_path / "o.parquet", on_disorder=on_disorder).batches()
    assert from_json.crystals == from_parquet.crystals
    assert [(f.id, f.row) for f in from_json.failures] == [(f.id, f.row) for f in from_parquet.failures]
    assert len(from_json.crystals) == (4 if on_disorder == "skip" else 7)


def test_disorder_can_stop_the_reading(tmp_path: Path) -> None:
    (tmp_path / "o.json").write_text(json.dumps({"data": [optimade(0), optimade(1, **CASES["mixed"])]}))
    with pytest.raises(ValueError, match=r"odb-1: .*species M.*on_disorder='error'"):
        list(read(tmp_path / "o.json", on_disorder="error"))


@pytest.mark.parametrize("links_first", [True, False])
def test_responses(tmp_path: Path, links_first: bool) -> None:
    data = [optimade(k) for k in range(5)]
    rest = {
        "links": {"next": None},
        "meta": {"api_version": "1.1.0", "query": {"representation": "/structures"}},
        "included": [],
    }
    content = {**rest, "data": data} if links_first else {"data": data, **rest}
    batch = single(tmp_path / "r.json", content, keep=["_exmpl_band_gap", "nsites"])
    assert batch.crystals.ids.tolist() == [f"odb-{k}" for k in range(5)]
    assert batch.crystals.positions[::2, 0].tolist() == [0.1 * k for k in range(5)]
    assert batch.columns.column("_exmpl_band_gap").to_pylist() == [0.5 * k for k in range(5)]
    assert single(tmp_path / "single.json", {**rest, "data": data[2]}).crystals.ids.tolist() == ["odb-2"]
    (tmp_path / "none.json").write_text(json.dumps({**rest, "data": []}))
    assert list(read(tmp_path / "none.json").batches()) == []


def test_json_lines(tmp_path: Path) -> None:
    lines = [
        {"x-optimade": {"meta": {"api_version": "1.1.0"}}},
        {"type": "info", "id": "structures", "properties": {}},
        optimade(0),
        {"type": "references", "id": "dijkstra", "attributes": {"doi": "x"}},
        optimade(1, species_at_sites=["Na", "Qq"], species=[]),
        {"type": "relaxed", "no": "structure"},  # nothing that OPTIMADE knows is left out silently
        optimade(2),
    ]
    for name in ("x.jsonl", "x.json", "x.txt"):
        batch = single(tmp_path / name, "\n".join(map(json.dumps, lines)) + "\n\n")
        assert batch.crystals.ids.tolist() == ["odb-0", "odb-2"]
        assert [(f.id, f.row) for f in batch.failures] == [("odb-1", 1), ("2", 2)]
        assert batch.rows.tolist() == [0, 3]


def test_vectors_of_open_axes_may_be_null(tmp_path: Path) -> None:
    null = [None, None, None]
    wire = optimade(0, lattice_vectors=[null, CUBE[1], null], dimension_types=[0, 1, 0])
    molecule = optimade(1, lattice_vectors=[null] * 3, dimension_types=[0, 0, 0])
    lost = optimade(2, lattice_vectors=[null, CUBE[1], null], dimension_types=[1, 1, 0])
    batch = single(tmp_path / "w.json", [wire, molecule, lost])
    assert batch.crystals.pbc.tolist() == [[False, True, False], [False] * 3]
    assert batch.crystals.cell[0].tolist() == [[0.0] * 3, CUBE[1], [0.0] * 3]
    assert [f.row for f in batch.failures] == [2]


def test_what_ase_writes(tmp_path: Path) -> None:
    pytest.importorskip("ase")
    from ase import Atoms
    from ase.build import bulk, fcc111, molecule
    from ase.db import connect
    from ase.io import write
    from ase.io.jsonio import encode

    images = [bulk("NaCl", "rocksalt", a=5.6), fcc111("Au", (1, 1, 3), vacuum=5.0), molecule("H2O"), bulk("Fe") * (2, 2, 2)]
    write(tmp_path / "i.json", images)
    (got,) = read(tmp_path / "i.json")
    assert got == Crystals.from_ase(images, ids=["1", "2", "3", "4"])
    with connect(tmp_path / "db.json") as database:
        for k, one in enumerate(images):
            database.write(one, gap=0.5 * k, stable=k == 0)
    (batch,) = read(tmp_path / "db.json", keep=["gap", "stable"]).batches()
    assert batch.crystals == got
    assert batch.failures == []
    assert batch.columns.to_pydict() == {"gap": [0.0, 0.5, 1.0, 1.5], "stable": [True, False, False, False]}
    lines = "\n".join(encode(one) for one in images)
    assert single(tmp_path / "e.jsonl", lines).crystals.positions.tolist() == got.positions.tolist()
    plain = {"numbers": [6], "positions": [[0, 0, 0]], "cell": [3.0, 4.0, 5.0], "pbc": [True, True, False]}
    assert single(tmp_path / "plain.json", [plain]).crystals == Crystals.from_ase(
        Atoms("C", cell=[3, 4, 5], pbc=(1, 1, 0)), ids=["0"]
    )
    broken = {**plain, "positions": {"__ndarray__": [[2, 3], "float64", [1, 2, 3]]}}
    assert "cannot be read" in single(tmp_path / "broken.json", [broken]).failures[0].reason
