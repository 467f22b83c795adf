"""ASE's databases against ase.db; and SQLite files that are damaged or hostile."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("pyarrow")
pytest.importorskip("ase.db")
pytest.importorskip("ase_db_backends")

from cgfast.io import ase_sqlite, read
from cgfast.io.ase_lmdb import AseLmdb
from cgfast.io.ase_sqlite import AseSqlite
from tests.io.ase_rows import connect, some_atoms, state, write
from tests.io.oracles import assert_same, everything, ids, real_crystals

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ("db", "aselmdb")


@pytest.mark.parametrize("kind", KINDS)
def test_like_ase_db_and_nothing_is_touched(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"x.{kind}", some_atoms(60), lambda k: {"gap": 0.1 * k, "stable": k % 2 == 0, "label": f"n{k}"})
    before = state(tmp_path)
    keep = ["energy", "gap", "stable", "label", "unique_id", "forces"]
    reader = read(path, keep=keep, batch_rows=1000)
    (batch,) = reader.batches()
    assert reader.n_rows == reader.n_rows_estimate == 60
    assert "number" in reader.describe()["ids"]
    assert state(tmp_path) == before
    rows = list(connect(path).select())
    assert_same(batch.crystals, [row.toatoms() for row in rows])
    assert batch.crystals.ids.tolist() == [str(row.id) for row in rows]
    kept = batch.columns.to_pydict()
    for name in keep[:-1]:
        assert kept[name] == [row[name] for row in rows]
    assert np.allclose(json.loads(kept["forces"][3]), rows[3].forces, rtol=0, atol=0)
    assert {"energy", "gap", "stable", "label"} <= set(read(path).describe()["columns"])


@pytest.mark.parametrize("kind", KINDS)
def test_real_crystals_and_their_ids(kind: str, data: Path, tmp_path: Path) -> None:
    crystals = real_crystals(data, 200)
    names = [str(name) for name in crystals.ids]
    path = write(tmp_path / f"x.{kind}", crystals.to_ase(), lambda k: {"material_id": names[k]})
    found, failures = everything(path)
    assert failures == []
    assert found == crystals


@pytest.mark.parametrize("kind", KINDS)
def test_deleted_rows_and_shards(kind: str, tmp_path: Path) -> None:
    atoms = some_atoms(9)
    write(tmp_path / f"data0.{kind}", atoms[:5])
    with connect(tmp_path / f"data0.{kind}") as db:
        db.delete([2, 5])
    write(tmp_path / f"data1.{kind}", atoms[5:], lambda k: {"mat_id": f"m{k}"} if k % 2 else {})
    (tmp_path / f"data2.{kind}").write_bytes((tmp_path / f"data1.{kind}").read_bytes()[:5000])
    (tmp_path / "metadata.npz").write_bytes(b"x")
    crystals, failures = everything(tmp_path)
    assert crystals.ids.tolist() == ["data0:1", "data0:3", "data0:4", "data1:1", "m1", "data1:3", "m3"]
    assert [(f.id, f.row) for f in failures] == [("data2", 7)]
    with pytest.raises(ValueError, match="cannot be read as an ASE database"):
        read(tmp_path / f"data2.{kind}")


def test_ids_in_the_data_of_a_row(tmp_path: Path) -> None:
    path = write(tmp_path / "x.aselmdb", some_atoms(2), data=lambda k: {"sid": f"agm{k}", "v": np.arange(3), "w": {"x": 1.5}})
    assert ids(path) == ["agm0", "agm1"]
    (batch,) = read(path, keep=["data.w.x", "data.v"]).batches()
    assert batch.columns.to_pydict() == {"data.w.x": [1.5, 1.5], "data.v": ["[0, 1, 2]"] * 2}


def test_names_that_need_quoting_and_content_that_tells(tmp_path: Path) -> None:
    odd = tmp_path / "a b?mode=rw#%41.db"
    shutil.copy(write(tmp_path / "x.db", some_atoms(2)), odd)
    assert len(everything(odd)[0]) == 2
    for kind in KINDS:
        path = tmp_path / f"no_suffix_{kind}"
        shutil.copy(write(tmp_path / f"y.{kind}", some_atoms(2)), path)
        assert len(everything(path)[0]) == 2


def change(path: Path, *statements: str) -> Path:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return path


WRONG_ROWS = {
    "numbers of another length": ("numbers = zeroblob(200)", "there are 50 species"),
    "numbers cut": ("numbers = x'0b'", "no arrays as ASE writes them"),
    "numbers of zero": ("numbers = zeroblob(length(numbers))", "atomic number 0"),
    "positions of text": ("positions = 'abc'", "no arrays as ASE writes them"),
    "positions null": ("positions = NULL", "no arrays as ASE writes them"),
    "positions cut": ("positions = x'0000000000000000'", "no arrays as ASE writes them"),
    "a cell of two": ("cell = zeroblob(48)", "no arrays as ASE writes them"),
    "no cell though periodic": ("cell = NULL, pbc = 7", "no cell"),
    "pbc of text": ("pbc = 'x'", "no arrays as ASE writes them"),
    "a number where arrays are": ("positions = 3.5", "no arrays as ASE writes them"),
}


@pytest.mark.parametrize("name", WRONG_ROWS)
def test_wrong_rows_of_sqlite_are_failures(name: str, tmp_path: Path) -> None:
    what, reason = WRONG_ROWS[name]
    path = write(tmp_path / "x.db", some_atoms(5))
    crystals, failures = everything(change(path, f"UPDATE systems SET {what} WHERE id = 3"))  # noqa: S608
    assert len(crystals) == 4
    assert [(f.id, f.row) for f in failures] == [("3", 2)]
    assert reason in failures[0].reason


@pytest.mark.parametrize("pairs", ["x", "[1]", '{"material_id": [1]}', '{"material_id": ""}', "[" * 100_000, b"\xff", None, 5])
def test_wrong_key_value_pairs_cost_nothing_but_themselves(pairs: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "x.db", some_atoms(3))
    connection = sqlite3.connect(path)
    connection.execute("UPDATE systems SET key_value_pairs = ? WHERE id = 2", (pairs,))
    connection.commit()
    connection.close()
    assert ids(path) == ["1", "2", "3"]
    assert len(read(path).describe()["columns"]) > 3


def test_sqlite_files_that_are_none(tmp_path: Path) -> None:
    good = write(tmp_path / "x.db", some_atoms(3)).read_bytes()
    cases = {
        "empty": (b"", "without ASE's table"),
        "text": (b"hello" * 1000, "cannot be read as an ASE database"),
        "cut": (good[:2000], "cannot be read as an ASE database"),
        "head": (good[:100] + os.urandom(50_000), "cannot be read|without ASE's table"),
    }
    for name, (content, message) in cases.items():
        path = tmp_path / f"{name}.db"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read(path)
    for name, statements, message in (
        ("other", ["CREATE TABLE t (a)"], "without ASE's table 'systems'"),
        ("columns", ["CREATE TABLE systems (id INTEGER PRIMARY KEY, numbers)"], "without the column unique_id"),
        ("view", ["CREATE TABLE t (a)", "CREATE VIEW systems AS SELECT a AS id FROM t"], "without ASE's table 'systems'"),
    ):
        with pytest.raises(ValueError, match=message):
            read(change(tmp_path / f"{name}.db", *statements))
    with pytest.raises(ValueError, match="of version 10"):
        read(change(tmp_path / "x.db", "UPDATE information SET value = '10' WHERE name = 'version'"))


def test_a_database_that_is_being_written(tmp_path: Path) -> None:
    path = write(tmp_path / "x.db", some_atoms(3))
    (tmp_path / "x.db-journal").write_bytes(b"x")
    with pytest.raises(ValueError, match="is being written"):
        read(path)


def test_a_damaged_page_costs_its_rows_alone(tmp_path: Path) -> None:
    import ase

    path = write(tmp_path / "x.db", [ase.Atoms("H400", np.random.default_rng(0).normal(size=(400, 3))) for _ in range(20)])
    content = bytearray(path.read_bytes())
    half = len(content) // 2 // 4096 * 4096
    content[half : half + 4096] = b"\xff" * 4096
    path.write_bytes(content)
    try:
        crystals, failures = everything(path)
    except ValueError:
        pytest.skip("the page is one that all rows need")
    assert len(crystals) + len(failures) == 20
    assert len(crystals) >= 15


def test_sqlite_is_stopped_at_the_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ase_sqlite, "_STEPS", 10)
    path = write(tmp_path / "x.db", some_atoms(50))
    with pytest.raises(ValueError, match="interrupted"):
        AseSqlite(path, 0.0)
    source = AseSqlite(path, 10.0)
    source._time_limit = 0.0
    records = list(source.records())
    assert len(records) == 50
    assert all("interrupted" in record.reason for record in records)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draws=st.data())
def test_damaged_databases_never_do_worse_than_a_value_error(draws: st.DataObject, tmp_path: Path) -> None:
    kind = draws.draw(st.sampled_from(KINDS))
    good = tmp_path / f"good.{kind}"
    if not good.exists():
        write(good, some_atoms(30))
    content = bytearray(good.read_bytes())
    for _ in range(draws.draw(st.integers(1, 4))):
        at = draws.draw(st.integers(0, len(content) - 1))
        part = draws.draw(st.binary(min_size=1, max_size=8) | st.just(b"\xff" * 512) | st.just(bytes(512)))
        content[at : at + len(part)] = part
    path = tmp_path / f"bad.{kind}"
    path.write_bytes(content)
    try:
        source = AseLmdb(path) if kind == "aselmdb" else AseSqlite(path, 5.0)
        records = sum(1 for _ in source.records())
    except ValueError:
        return
    assert records == source.n_rows
