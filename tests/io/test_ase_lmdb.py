"""LMDB pages against the lmdb package; and ASE's databases in LMDB that are damaged or hostile."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("lmdb")

import lmdb

from cgfast.io import lmdb_pages, read
from cgfast.io.ase_lmdb import AseLmdb
from tests.io.oracles import everything

if TYPE_CHECKING:
    from pathlib import Path


def put(path: Path, entries: dict[bytes, bytes]) -> Path:
    with lmdb.open(str(path), subdir=False, map_size=1 << 28, lock=False) as env, env.begin(write=True) as transaction:
        for key, value in entries.items():
            transaction.put(key, value)
    return path


def packed(value: Any) -> bytes:
    return zlib.compress((value if isinstance(value, str) else json.dumps(value)).encode())


ROW = {"numbers": [11, 17], "positions": [[0, 0, 0], [2, 2, 2]], "cell": [[4, 0, 0], [0, 4, 0], [0, 0, 4]], "pbc": [True] * 3}
WRONG_VALUES = {
    "no zlib": (b"hello", "cannot be read"),
    "cut": (packed(ROW)[:-9], "cut short"),
    "no JSON": (packed("{"), "cannot be read"),
    "deep JSON": (packed("[" * 200_000), "cannot be read"),
    "a list": (packed([1]), "holds no structure"),
    "no numbers": (packed({}), "species is None"),
    "an array of objects": (packed(ROW | {"numbers": {"__ndarray__": [[2], "object", [1, 2]]}}), "an array of object"),
    "a wrong shape": (packed(ROW | {"positions": {"__ndarray__": [[9, 9], "float64", [1, 2]]}}), "cannot be read"),
    "half an array": (packed(ROW | {"positions": {"__ndarray__": [[2, 3]]}}), "cannot be read"),
    "a pickle": (b"\x80\x04\x95", "cannot be read"),
    "a bomb": (zlib.compress(b" " * (300 << 20)), "more than 256 MiB"),
}


@pytest.mark.parametrize("name", WRONG_VALUES)
def test_wrong_rows_of_lmdb_are_failures(name: str, tmp_path: Path) -> None:
    value, reason = WRONG_VALUES[name]
    path = put(tmp_path / "x.aselmdb", {b"1": packed(ROW), b"2": value, b"3": packed(ROW), b"nextid": packed(4)})
    crystals, failures = everything(path)
    assert crystals.ids.tolist() == ["1", "3"]
    assert [(f.id, f.row) for f in failures] == [("2", 1)]
    assert reason in failures[0].reason


def test_plain_lists_nan_and_cells_as_objects(tmp_path: Path) -> None:
    cell = {"array": {"__ndarray__": [[3, 3], "float64", [4, 0, 0, 0, 4, 0, 0, 0, 4]]}, "__ase_objtype__": "cell"}
    rows = {
        b"1": ROW | {"energy": float("nan")},
        b"2": ROW | {"cell": cell},
        b"3": {k: ROW[k] for k in ("numbers", "positions")},
    }
    path = put(tmp_path / "x.aselmdb", {key: packed(row) for key, row in rows.items()} | {b"nextid": packed(4)})
    crystals, failures = everything(path)
    assert failures == []
    assert crystals.pbc.all(axis=1).tolist() == [True, True, False]
    assert np.array_equal(crystals.cell[0], crystals.cell[1])


def test_lmdb_files_that_are_none(tmp_path: Path) -> None:
    good = put(tmp_path / "x.aselmdb", {b"1": packed(ROW), b"nextid": packed(2)})
    content = good.read_bytes()
    other_version = bytearray(content)
    other_version[20] = other_version[4096 + 20] = 2
    cases = {
        "cut": (content[:-4096], "cut short"),
        "head": (content[:100], "ends early"),
        "version": (bytes(other_version), "data version 2"),
        "zeros": (bytes(10_000), "cannot be read as an ASE database"),
    }
    for name, (changed, message) in cases.items():
        path = tmp_path / f"{name}.aselmdb"
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=message):
            AseLmdb(path)
    for name, entries, message in (
        ("pickles", {b"0": b"\x80", b"length": b"\x80"}, "no entry 'nextid'"),
        ("many", {b"nextid": packed(10**12)}, "it is damaged"),
        ("text", {b"nextid": packed("x")}, "ids cannot be read"),
        ("negative", {b"nextid": packed(-5)}, "no positive integers"),
        ("deleted", {b"nextid": packed(3), b"deleted_ids": packed({"a": 1})}, "no positive integers"),
    ):
        with pytest.raises(ValueError, match=message):
            read(put(tmp_path / f"{name}.aselmdb", entries))
    with lmdb.open(str(tmp_path / "none.aselmdb"), subdir=False, lock=False):
        pass
    with pytest.raises(ValueError, match="it is empty"):
        read(tmp_path / "none.aselmdb")


@pytest.mark.parametrize("n", [1, 3, 200, 5000])
def test_pages_like_lmdb(n: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(n)
    entries = {
        str(k).encode(): rng.bytes(int(rng.integers(0, 6000 if k % 7 == 0 else 300))) for k in rng.permutation(n).tolist()
    }
    put(tmp_path / "x", entries)
    gone = list(entries)[:: max(2, n // 3)]
    with (
        lmdb.open(str(tmp_path / "x"), subdir=False, map_size=1 << 28, lock=False) as env,
        env.begin(write=True) as transaction,
    ):
        for key in gone:
            transaction.delete(key)
    with lmdb_pages.LmdbFile(tmp_path / "x") as file:
        assert file.n_entries == n - len(gone)
        for key, value in entries.items():
            assert file.get(key) == (None if key in gone else value)
        for key in (b"", b"x", b"99999999", b"\xff" * 100):
            assert file.get(key) is None
