"""Disorder in OPTIMADE tables, told by `species` and `structure_features`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from cgfast.io import StructureBatch, optimade_disorder, read  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

CUBE = [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]]
SITES = [[0.0, 0.0, 0.0], [2.0, 2.0, 2.0]]


def kind(name: str, symbols: list[str], concentration: list[float], attached: list[str] | None = None) -> dict[str, Any]:
    return {"name": name, "chemical_symbols": symbols, "concentration": concentration, "attached": attached}


NA, CL = kind("Na", ["Na"], [1.0]), kind("Cl", ["Cl"], [1.0])
# species_at_sites, species -> atomic numbers with "majority", reason with "skip" (None: ordered)
CASES: dict[str, tuple[list[str], list[dict[str, Any]], list[int] | None, str | None]] = {
    "ordered": (["Na", "Cl"], [NA, CL], [11, 17], None),
    "own names": (["Na1", "anion"], [kind("Na1", ["Na"], [1.0]), kind("anion", ["Cl"], [1.0])], [11, 17], None),
    "half full": (["Na", "Cl"], [kind("Na", ["Na"], [0.5]), CL], [11, 17], "Na 0.5"),
    "vacancy": (["Na", "Cl"], [kind("Na", ["Na", "vacancy"], [0.3, 0.7]), CL], [17], "Na 0.3"),
    "mixture": (["mix", "Cl"], [kind("mix", ["K", "Na"], [0.4, 0.6]), CL], [11, 17], "K 0.4, Na 0.6"),
    "another element": (["Na", "Cl"], [kind("Na", ["K"], [1.0]), CL], [19, 17], None),
    "disorder that is not used": (["Na", "Cl"], [NA, CL, kind("mix", ["K", "Li"], [0.5, 0.5])], [11, 17], None),
    "only vacancies": (["v", "v"], [kind("v", ["vacancy"], [1.0])], None, "no atoms are left"),
    "no element": (["Q", "Cl"], [kind("Q", ["X"], [1.0]), CL], None, "'X', which is no element"),
    "too full": (["m", "Cl"], [kind("m", ["K", "Na"], [0.8, 0.8]), CL], None, "sum to 1.6"),
    "attached": (["C", "Cl"], [kind("C", ["C"], [1.0], ["H"]), CL], None, "atoms attached"),
    "one short": (["m", "Cl"], [kind("m", ["K", "Na"], [1.0]), CL], None, "expected a number for each symbol"),
    "more of it": (["Cl", "Na"], [NA, CL], [17, 11], None),
}


def table(path: Path, form: str) -> Path:
    rows = [
        {
            "id": name,
            "lattice_vectors": CUBE,
            "cartesian_site_positions": SITES,
            "species_at_sites": names,
            "species": json.dumps(species) if form == "json" else species,
            "n": k,
        }
        for k, (name, (names, species, _, _)) in enumerate(CASES.items())
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def single(path: Path, **options: Any) -> StructureBatch:
    (batch,) = read(path, **options).batches()
    assert batch.n_rows == len(batch.crystals) + len(batch.failures)
    return batch


@pytest.mark.parametrize("form", ["json", "structs"])
def test_skip(tmp_path: Path, form: str) -> None:
    batch = single(table(tmp_path / "x.parquet", form), keep=["n", "species"])
    expected = {name: case[2] for name, case in CASES.items() if case[3] is None}
    assert {str(c.ids[0]): c.atomic_numbers.tolist() for c in batch.crystals} == expected
    reasons = {failure.id: failure.reason for failure in batch.failures}
    assert set(reasons) == set(CASES) - set(expected)
    for name, reason in reasons.items():
        assert str(CASES[name][3]) in reason
    assert batch.columns.column("n").to_pylist() == batch.rows.tolist()


@pytest.mark.parametrize("form", ["json", "structs"])
def test_majority(tmp_path: Path, form: str) -> None:
    batch = single(table(tmp_path / "x.parquet", form), on_disorder="majority")
    expected = {name: case[2] for name, case in CASES.items() if case[2] is not None}
    assert {str(c.ids[0]): c.atomic_numbers.tolist() for c in batch.crystals} == expected
    vacant = batch.crystals[list(batch.crystals.ids).index("vacancy")]
    assert vacant.positions.tolist() == [SITES[1]]


@pytest.mark.parametrize("form", ["json", "structs"])
def test_error(tmp_path: Path, form: str) -> None:
    with pytest.raises(ValueError, match=r"half full: site of species Na is disordered \(Na 0.5\).*on_disorder='error'"):
        single(table(tmp_path / "x.parquet", form), on_disorder="error")


@pytest.mark.parametrize("form", ["json", "structs"])
def test_plain_rows_are_not_looked_at_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    looked = []
    settle = optimade_disorder.settle
    monkeypatch.setattr(optimade_disorder, "settle", lambda names, *a, **k: looked.append(names) or settle(names, *a, **k))
    single(table(tmp_path / "x.parquet", form))
    assert len(looked) == len(CASES) - 2  # all but "ordered" and "more of it"


@pytest.mark.parametrize("as_list", [True, False])
@pytest.mark.parametrize("on_disorder", ["skip", "majority", "error"])
def test_flag_without_species(tmp_path: Path, on_disorder: str, as_list: bool) -> None:
    row = {"lattice_vectors": CUBE, "cartesian_site_positions": SITES, "species_at_sites": ["Na", "Cl"]}
    flags = [["disorder"], [], None, ["assemblies", "disorder"]]
    rows = [{**row, "structure_features": f if as_list or f is None else json.dumps(f)} for f in flags]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    if on_disorder == "error":
        with pytest.raises(ValueError, match="structure_features says disorder"):
            single(tmp_path / "x.parquet", on_disorder=on_disorder)
        return
    batch = single(tmp_path / "x.parquet", on_disorder=on_disorder)
    assert batch.rows.tolist() == [1, 2]
    assert [f.row for f in batch.failures] == [0, 3]


@pytest.mark.parametrize("species", [["NaCl", None], [["Na", "Cl"], None], [1, 2], ['[{"name": 1', "[]"]])
def test_a_column_of_that_name_that_is_something_else(tmp_path: Path, species: list[Any]) -> None:
    row = {"lattice_vectors": CUBE, "cartesian_site_positions": SITES, "species_at_sites": ["Na", "Cl"]}
    pq.write_table(pa.Table.from_pylist([{**row, "species": s} for s in species]), tmp_path / "x.parquet")
    batch = single(tmp_path / "x.parquet")
    broken = species[1] == "[]"
    assert len(batch.crystals) == (1 if broken else 2)
    assert not broken or "species cannot be read" in batch.failures[0].reason


@pytest.mark.parametrize("name", ["immutable_id", "material_id", "mat_id", "jid", "structure_id", "id"])
def test_names_of_the_id_column(tmp_path: Path, name: str) -> None:
    row = {"lattice_vectors": CUBE, "cartesian_site_positions": SITES, "species_at_sites": ["Na", "Cl"], name: "it"}
    pq.write_table(
        pa.Table.from_pylist([{**row, "structure_id": "it" if name == "structure_id" else "no"}]), tmp_path / "x.parquet"
    )
    assert single(tmp_path / "x.parquet").crystals.ids.tolist() == ["it"]
    assert read(tmp_path / "x.parquet").describe()["ids"] == name


@pytest.mark.parametrize("flags", [[[True, True, False], None], [[1, 1, 0], [1, 1, 1]]])
def test_dimension_types(tmp_path: Path, flags: list[Any]) -> None:
    row = {"lattice_vectors": CUBE, "cartesian_site_positions": SITES, "species_at_sites": ["Na", "Cl"]}
    pq.write_table(pa.Table.from_pylist([{**row, "dimension_types": f} for f in flags]), tmp_path / "x.parquet")
    batch = single(tmp_path / "x.parquet")
    assert batch.crystals.pbc.tolist() == [[True, True, False], [True, True, True]]
    assert batch.crystals.ids.tolist() == ["0", "1"]
    assert read(tmp_path / "x.parquet").describe()["ids"] == "row number"
