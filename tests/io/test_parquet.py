"""Parquet tables of structures: every nesting, every flaw, and batches that depend on the row index alone."""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from cgfast.crystals import Crystals  # noqa: E402
from cgfast.elements import SYMBOLS  # noqa: E402
from cgfast.io import StructureBatch, read  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

CUBE = [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]]


def good_row(k: int) -> dict[str, Any]:
    """Row k: k % 3 + 1 atoms."""
    n = k % 3 + 1
    return {
        "id": f"c-{k}",
        "lattice_vectors": CUBE,
        "cartesian_site_positions": [[0.5 * i, 0.25 * k % 4, 1.0] for i in range(n)],
        "species_at_sites": [SYMBOLS[(k + i) % 90 + 1] for i in range(n)],
        "energy": float(k),
        "label": f"l{k}",
    }


def write(path: Path, rows: list[dict[str, Any]], schema: Any = None, **options: Any) -> Path:
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, **options)
    return path


def single(path: Path, **options: Any) -> StructureBatch:
    (batch,) = read(path, **options).batches()
    assert batch.n_rows == len(batch.crystals) + len(batch.failures)
    return batch


def by_hand(rows: list[dict[str, Any]]) -> Crystals:
    return Crystals.concatenate(
        Crystals.from_arrays(
            r["cartesian_site_positions"],
            r["lattice_vectors"],
            [SYMBOLS.index(s) for s in r["species_at_sites"]],
            ids=[r["id"]],
        )
        for r in rows
    )


def matrix(kind: str, number: Any) -> Any:
    return {
        "list": pa.list_(pa.list_(number)),
        "large": pa.large_list(pa.large_list(number)),
        "fixed": pa.list_(pa.list_(number, 3)),
        "fixed-fixed": pa.list_(pa.list_(number, 3), 3),
    }[kind]


@pytest.mark.parametrize("kind", ["list", "large", "fixed"])
@pytest.mark.parametrize("number", [pa.float64(), pa.float32()])
@pytest.mark.parametrize("text", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_nestings(kind: str, number: Any, text: Any, tmp_path: Path) -> None:
    rows = [good_row(k) for k in range(7)]
    outer = pa.large_list if kind == "large" else pa.list_
    schema = pa.schema(
        [
            ("id", pa.large_string() if kind == "large" else pa.string()),
            ("lattice_vectors", matrix("fixed-fixed" if kind == "fixed" else kind, number)),
            ("cartesian_site_positions", matrix(kind, number)),
            ("species_at_sites", outer(text)),
        ]
    )
    path = write(tmp_path / "x.parquet", rows, schema, row_group_size=3)
    assert Crystals.concatenate(read(path, batch_rows=4)) == by_hand(rows)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "null lattice": ({"lattice_vectors": None}, "lattice_vectors is null"),
    "two vectors": ({"lattice_vectors": CUBE[:2]}, "lattice_vectors holds 2 vectors: expected 3"),
    "short vector": ({"lattice_vectors": [[4.0, 0.0], *CUBE[1:]]}, "a vector of 2 numbers: expected 3"),
    "null vector": ({"lattice_vectors": [None, *CUBE[1:]]}, "a vector of null"),
    "nan lattice": ({"lattice_vectors": [[np.nan, 0.0, 0.0], *CUBE[1:]]}, "lattice_vectors holds nan"),
    "null number": ({"lattice_vectors": [[None, 0.0, 0.0], *CUBE[1:]]}, "lattice_vectors holds a null"),
    "null positions": ({"cartesian_site_positions": None}, "cartesian_site_positions is null"),
    "infinite": ({"cartesian_site_positions": [[np.inf, 0.0, 0.0]]}, "cartesian_site_positions holds inf"),
    "ragged": ({"cartesian_site_positions": [[0.0, 0.0, 0.0, 0.0]]}, "a vector of 4 numbers"),
    "too few": ({"cartesian_site_positions": []}, "holds 1 symbols and cartesian_site_positions 0 positions"),
    "too many": (
        {"species_at_sites": ["H", "H"]},
        "holds 2 symbols and cartesian_site_positions 1 positions",
    ),
    "null species": ({"species_at_sites": None}, "species_at_sites is null"),
    "null symbol": ({"species_at_sites": [None]}, "species_at_sites holds a null"),
    "unknown": ({"species_at_sites": ["vacancy"]}, "holds 'vacancy', which is no element"),
    "no atoms": ({"species_at_sites": [], "cartesian_site_positions": []}, "no atoms"),
    "no volume": ({"lattice_vectors": [CUBE[0], CUBE[0], CUBE[2]]}, "no volume"),
    "zero cell": ({"lattice_vectors": [[0.0] * 3] * 3}, "no volume"),
    "needle": ({"lattice_vectors": [CUBE[0], CUBE[1], [0.0, 0.0, 1e-4]]}, "Å thick along c"),
    "far": ({"cartesian_site_positions": [[1e300, 0.0, 0.0]]}, "position of atom 0"),
    "long id": ({"id": "x" * 5000}, "id has 5000 characters"),
    "bad pbc": ({"dimension_types": [1, 1, 2]}, "dimension_types holds 2: expected 0 or 1"),
    "short pbc": ({"dimension_types": [1, 1]}, "dimension_types holds 2 numbers: expected 3"),
}


def test_every_flaw_is_one_failure_and_harms_no_neighbour(tmp_path: Path) -> None:
    rows = []
    for k, (change, _) in enumerate(BAD.values()):
        rows += [
            {**good_row(2 * k), "dimension_types": None},
            {**good_row(0), "id": f"bad-{k}", "dimension_types": [1, 1, 1], **change},
        ]
    batch = single(write(tmp_path / "x.parquet", rows), keep=("energy",))
    assert batch.crystals == by_hand(rows[::2])
    assert batch.rows.tolist() == list(range(0, len(rows), 2))
    assert batch.columns.column("energy").to_pylist() == [float(k) for k in batch.rows]
    assert [f.row for f in batch.failures] == list(range(1, len(rows), 2))
    for failure, (name, (_, reason)) in zip(batch.failures, BAD.items(), strict=True):
        assert reason in failure.reason, name
        assert failure.stage == "read"


@pytest.mark.parametrize("name", BAD)
def test_each_flaw_alone(name: str, tmp_path: Path) -> None:
    change, reason = BAD[name]
    base = pa.Table.from_pylist([{**good_row(0), "dimension_types": [1, 1, 1]}]).schema
    batch = single(write(tmp_path / "x.parquet", [{**good_row(0), **change}], base))
    assert len(batch.crystals) == 0
    assert reason in batch.failures[0].reason


def test_batches_depend_on_the_row_index_alone(tmp_path: Path) -> None:
    rows = [good_row(k) for k in range(50)]
    for k in (0, 7, 8, 9, 31, 49):
        rows[k]["species_at_sites"] = ["Qq"] * len(rows[k]["species_at_sites"])
    whole = write(tmp_path / "whole.parquet", rows, row_group_size=50)
    groups = write(tmp_path / "groups.parquet", rows, row_group_size=7)
    (tmp_path / "folder" / "sub").mkdir(parents=True)
    write(tmp_path / "folder" / "a.parquet", rows[:11], row_group_size=4)
    write(tmp_path / "folder" / "b.parquet", rows[11:12])
    write(tmp_path / "folder" / "c.parquet", [], pa.Table.from_pylist(rows).schema)
    write(tmp_path / "folder" / "sub" / "d.parquet", rows[12:])
    (tmp_path / "folder" / ".x.parts").mkdir()
    (tmp_path / "folder" / ".x.parts" / "0.parquet").write_bytes(b"half")
    for n in (1, 7, 10, 50, 64):
        expected = [
            (b.crystals, b.rows.tolist(), b.failures, b.n_rows, b.columns)
            for b in read(whole, batch_rows=n, keep=["energy"]).batches()
        ]
        assert [e[3] for e in expected] == [n] * (50 // n) + ([50 % n] if 50 % n else [])
        for source in (
            groups,
            tmp_path / "folder",
            [tmp_path / "folder" / "[ab].parquet", tmp_path / "folder" / "sub"],
        ):
            reader = read(source, batch_rows=n, keep=["energy"])
            got = [(b.crystals, b.rows.tolist(), b.failures, b.n_rows, b.columns) for b in reader.batches()]
            assert got == expected
            assert reader.n_rows == 50


def test_keep_names_and_ids(tmp_path: Path) -> None:
    rows = [good_row(k) for k in range(3)]
    path = write(tmp_path / "x.parquet", rows)
    batch = single(path, keep=("label", "energy", "label"))
    assert batch.columns.to_pydict() == {"label": ["l0", "l1", "l2"], "energy": [0.0, 1.0, 2.0]}
    with pytest.raises(ValueError, match=r"no column nothing\. Columns found: id, lattice_vectors"):
        read(path, keep=("nothing",))
    with pytest.raises(ValueError, match="keep is the string"):
        read(path, keep="energy")

    names = {"id": "number", "lattice_vectors": "lattice", "species_at_sites": "what"}
    table = pa.Table.from_pylist(rows).drop_columns("id").append_column("number", pa.array([7, None, 9]))
    table = table.rename_columns({"lattice_vectors": "lattice", "species_at_sites": "what"})
    pq.write_table(table, path)
    batch = single(path, columns=names)
    assert batch.crystals.ids.tolist() == ["7", "1", "9"]
    with pytest.raises(ValueError, match=r"has no column lattice_vectors, species_at_sites\. Columns found: lattice, "):
        read(path)
    with pytest.raises(ValueError, match="has no column absent"):
        read(path, columns={**names, "dimension_types": "absent"})
    with pytest.raises(ValueError, match=r"columns has the keys \['cell'\]"):
        read(path, columns={"cell": "lattice"})

    plain = pa.Table.from_pylist(rows).drop_columns("id")
    pq.write_table(plain, path)
    assert single(path).crystals.ids.tolist() == ["0", "1", "2"]
    pq.write_table(plain.append_column("immutable_id", pa.array(["x", "y", "z"])), path)
    assert single(path).crystals.ids.tolist() == ["x", "y", "z"]


def test_periodicity(tmp_path: Path) -> None:
    rows = [{**good_row(k), "dimension_types": pbc} for k, pbc in enumerate([[1, 1, 0], None, [0, 0, 0], [1, 1, 1]])]
    rows[2]["lattice_vectors"] = [[0.0] * 3] * 3  # open axes may hold anything
    batch = single(write(tmp_path / "x.parquet", rows))
    assert batch.crystals.pbc.tolist() == [[True, True, False], [True] * 3, [False] * 3, [True] * 3]


def test_charged_and_heavy_hydrogen_species(tmp_path: Path) -> None:
    row = {**good_row(2), "species_at_sites": ["Fe3+", "D", "O2-"]}
    assert single(write(tmp_path / "x.parquet", [row])).crystals.atomic_numbers.tolist() == [26, 1, 8]


def test_files_that_are_none(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", [good_row(k) for k in range(100)], row_group_size=10)
    whole = path.read_bytes()
    for content, message in [
        (b"", "is empty"),
        (b"hello, I am text", "is no readable Parquet file"),
        (whole[: len(whole) // 2], "is no readable Parquet file"),
        (whole[:-1], "is no readable Parquet file"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"x\.parquet {message}"):
            read(path)
    damaged = bytearray(whole)
    damaged[4 : len(whole) // 3] = b"\xff" * (len(whole) // 3 - 4)
    path.write_bytes(bytes(damaged))
    with pytest.raises(ValueError, match="is damaged near row 0"):
        list(read(path))


def test_columns_of_the_wrong_type(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    for name, value, message in [
        ("lattice_vectors", "[[4,0,0]]", "expected a list of lists of 3 numbers"),
        ("cartesian_site_positions", [1.0, 2.0], "expected a list of lists of 3 numbers"),
        ("species_at_sites", "NaCl", "expected a list of strings"),
        ("species_at_sites", [11, 17], "expected a list of strings"),
        ("dimension_types", 3, "expected a list of 3 integers"),
    ]:
        with pytest.raises(ValueError, match=f"column {name} has type .*{message}"):
            read(write(path, [{**good_row(0), name: value}]))


def test_kept_types_differ_between_files(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [{**good_row(0), "energy": 1}])
    write(tmp_path / "b.parquet", [{**good_row(1), "energy": 2.5}])
    tables = [b.columns for b in read(tmp_path, keep=["energy"], batch_rows=1).batches()]
    assert [t.schema.field("energy").type for t in tables] == [pa.float64()] * 2
    write(tmp_path / "b.parquet", [{**good_row(1), "energy": "high"}])
    with pytest.raises(ValueError, match="disagree on the type"):
        read(tmp_path, keep=["energy"])


def test_real_file_against_row_by_row_reading(data: Path) -> None:
    path = data / "mp20_biternary_valtest.parquet"
    rows = pq.read_table(path).slice(0, 1500).to_pylist()
    batch = next(read(path, batch_rows=1500).batches())
    assert batch.crystals == by_hand(rows)


def test_all_of_a_real_file_fast_and_flat(data: Path) -> None:
    path = data / "mp_cgcnn_36k.parquet"
    for _ in read(path):
        break
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    reader = read(path)
    n = sum(len(crystals) for crystals in reader)
    seconds = time.process_time() - start
    assert n == reader.n_rows == 31345
    assert seconds < 1.5  # 0.12 s on an idle machine; row-by-row reading takes half a minute
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_describe(data: Path) -> None:
    told = read(data / "carbon24.parquet").describe()
    assert (told["format"], told["files"], told["rows"], told["failures"]) == ("parquet", 1, 8628, 0)
    assert told["atoms"] == {"min": 6, "median": 8.0, "max": 24, "total": 79430}
    assert told["elements"] == ["C"]
    assert told["columns"]["energy_per_atom_eV"] == "double (eV/atom)"
