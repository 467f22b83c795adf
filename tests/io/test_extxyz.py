"""Extended XYZ against ASE's reader, and files that are wrong."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pyarrow")

from cgfast.io import byte_lines, extxyz, read, xyz_info
from tests.io.oracles import assert_same, everything, ids, real_crystals

if TYPE_CHECKING:
    from pathlib import Path

LATTICE = 'Lattice="4 0 0 0 4 0 0 0 4"'
GOOD = f"2\n{LATTICE} Properties=species:S:1:pos:R:3 e=1.5\nNa 0 0 0\nCl 2 2 2\n"


def frames(text: str | bytes, name: str = "x") -> list[Any]:
    data = text.encode() if isinstance(text, str) else text
    return list(extxyz.frames(io.BytesIO(data).read, name))


def test_real_crystals_with_forces_like_ase(data: Path, tmp_path: Path) -> None:
    ase_io = pytest.importorskip("ase.io")
    atoms = real_crystals(data, 300).to_ase()
    rng = np.random.default_rng(0)
    for k, one in enumerate(atoms):
        one.set_array("forces", rng.normal(size=(len(one), 3)))
        one.set_array("selected", rng.random(len(one)) > 0.5)
        one.pbc = [(True, True, True), (True, True, False), (False, False, False)][k % 3]
        one.info = {"formula_pretty": str(one.symbols), "energy_x": -0.1 * k, "stable": k % 2 == 0, "note": 'a "b" = c'}
    path = tmp_path / "many.extxyz"
    ase_io.write(path, atoms, columns=["forces", "symbols", "selected", "positions"])
    reader = read(path, keep=["energy_x", "stable", "note"])
    batches = list(reader.batches())
    crystals, failures = everything(path)
    assert failures == []
    assert_same(crystals, ase_io.read(path, ":"))
    assert crystals.ids[:2].tolist() == ["many:0", "many:1"]
    kept = batches[0].columns.to_pydict()
    assert kept["energy_x"] == [-0.1 * k for k in range(300)]
    assert kept["stable"] == [k % 2 == 0 for k in range(300)]
    assert set(kept["note"]) == {'a "b" = c'}


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_packed_files_and_files_in_a_zip(pack: Any, tmp_path: Path) -> None:
    (tmp_path / "mp-1.extxyz.gz").write_bytes(pack(GOOD.encode()))  # content tells, not the name
    assert ids(tmp_path / "mp-1.extxyz.gz") == ["mp-1"]
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as z:
        z.writestr("mp-1.extxyz", GOOD)
        z.writestr("mp-2.extxyz.xz", pack((GOOD * 3).encode()))
        z.writestr("notes.txt", "x")
    assert ids(tmp_path / "x.zip") == ["mp-1", "mp-2:0", "mp-2:1", "mp-2:2"]
    cut = pack((GOOD * 30_000).encode())
    (tmp_path / "cut.xyz").write_bytes(cut[: len(cut) // 2])
    crystals, failures = everything(tmp_path / "cut.xyz")
    assert len(failures) == 1
    assert failures[0].row == len(crystals)


LIKE_ASE = {
    "no lattice": "1\nenergy=1\nH 0 0 0\n",
    "plain xyz": "2\nwater, more or less\nO 0 0 0\nH 0 0 1\n",
    "empty comment": "1\n\nH 0 0 0\n",
    "pbc": f'1\n{LATTICE} pbc="T T F"\nH 0 0 0\n',
    "pbc in words": f'1\n{LATTICE} pbc="true False T"\nH 0 0 0\n',
    "no pbc": f'1\n{LATTICE} pbc="F F F"\nH 0 0 0\n',
    "atomic numbers": f"2\n{LATTICE} Properties=id:I:1:Z:I:1:pos:R:3\n1 11 0 0 0\n2 17 2 2 2\n",
    "numbers win": f"1\n{LATTICE} Properties=species:S:1:Z:I:1:pos:R:3\nX 11 0 0 0\n",
    "positions first": f"1\n{LATTICE} Properties=pos:R:3:species:S:1\n0 1 2 Na\n",
    "capitals": f"2\n{LATTICE}\nNA 0 0 0\ncl 1 1 1\n",
    "more columns than said": f"1\n{LATTICE} Properties=species:S:1:pos:R:3\nNa 0 0 0 7 8 9\n",
    "blank lines at the end": GOOD + "\n  \n\n",
    "no line end at the end": GOOD.rstrip(),
    "lattice with commas": '1\nLattice="4,0,0,0,4,0,0,0,4"\nH 0 0 0\n',
    "lattice in braces": "1\nLattice={4 0 0 0 4 0 0.5 0 4}\nH 0 0 0\n",
    "windows": GOOD.replace("\n", "\r\n"),
    "exponents": f"1\n{LATTICE}\nH 1e-3 -2.5E+00 .5\n",
}


@pytest.mark.parametrize("name", LIKE_ASE)
def test_like_ase(name: str, tmp_path: Path) -> None:
    ase_io = pytest.importorskip("ase.io")
    path = tmp_path / "x.extxyz"
    path.write_bytes(LIKE_ASE[name].encode())
    crystals, failures = everything(path)
    assert failures == []
    assert_same(crystals, ase_io.read(path, ":", format="extxyz"))


WRONG = {
    "too few atoms": (GOOD.replace("2\n", "3\n", 1), "cut short|cannot be read|is '2'"),
    "too many atoms": (GOOD.replace("2\n", "1\n", 1), "more lines than its 1 atoms"),
    "no count": ("Na 0 0 0\n", "expected a number of atoms"),
    "far too many": (GOOD.replace("2\n", "1" + "0" * 17 + "\n", 1), "expected 1 to 1000000"),
    "no atoms": (f"0\n{LATTICE}\n", "has 0 atoms"),
    "no number": (GOOD.replace("Cl 2 2 2", "Cl 2 x 2"), "cannot be read"),
    "a column missing": (GOOD.replace("Cl 2 2 2", "Cl 2 2"), "expected 4 columns"),
    "lattice of eight": (GOOD.replace("4 0 0 0 4 0", "4 0 0 0 4"), "expected nine numbers"),
    "lattice of words": (GOOD.replace("4 0 0 0", "a 0 0 0"), "expected nine numbers"),
    "pbc of two": (GOOD.replace("e=1.5", 'pbc="T F"'), "three flags"),
    "periodic without a cell": ('1\npbc="T T T"\nH 0 0 0\n', "no cell"),
    "no element": (GOOD.replace("Cl", "Xx"), "no element"),
    "NaN": (GOOD.replace("2 2 2", "2 nan 2"), "nan|finite"),
    "columns unknown": (GOOD.replace("pos:R:3", "where:R:3"), "expected columns species"),
    "columns cut": (GOOD.replace("pos:R:3", "pos:R"), "NAME:TYPE:COUNT"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_wrong_frame_is_one_failure_and_the_others_are_read(name: str, place: int, tmp_path: Path) -> None:
    text, reason = WRONG[name]
    parts = [GOOD.replace("e=1.5", f"e={k}") for k in range(2)]
    parts.insert(place, text)
    (tmp_path / "x.xyz").write_text("".join(parts))
    crystals, failures = everything(tmp_path / "x.xyz")
    if name == "no count" and place > 0:  # it could as well belong to the frame before
        assert (len(crystals), len(failures)) == (1, 1)
        return
    assert len(crystals) == 2
    assert [failure.row for failure in failures] == [place]
    assert re.search(reason, failures[0].reason), failures[0].reason


def test_ids_of_frames() -> None:
    assert [r.id for r in frames(GOOD)] == ["x"]
    assert [r.id for r in frames(GOOD.replace("e=1.5", "material_id=007"))] == ["007"]
    assert [r.id for r in frames(GOOD.replace("e=1.5", 'id="a b"') + GOOD)] == ["a b", "x:1"]
    assert [r.id for r in frames("")] == ["x"]
    assert frames("\n\n")[0].reason == "the file is empty"


def test_a_count_that_is_far_too_large_costs_one_frame() -> None:
    text = GOOD + GOOD.replace("2\n", "900000\n", 1) + GOOD * 5000
    records = frames(text)
    assert [k for k, r in enumerate(records) if r.reason] == [1]
    assert len(records) == 5002


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_lines, "_MAX_BYTES", 4 << 20)
    asked = []

    def endless(size: int) -> bytes:  # one line without an end
        asked.append(size)
        return b"1" * size

    records = list(extxyz.frames(endless, "x"))
    assert len(asked) < 10
    assert [bool(r.reason) for r in records] == [True]
    assert "4 MiB" in records[0].reason
    # many frames may be longer than that in all
    text = (GOOD * 60_000).encode()
    assert len(text) > byte_lines._MAX_BYTES
    assert sum(not r.reason for r in frames(text)) == 60_000


def _ase_value(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    return value


@settings(max_examples=400, deadline=None)
@given(st.text(alphabet="ab=\"'{}[] \\,1.TF-", max_size=30))
def test_pairs_like_ase(line: str) -> None:
    parse = pytest.importorskip("ase.io.extxyz").key_val_str_to_dict
    try:
        expected = parse(line)
    except (IndexError, ValueError):  # ASE's reader fails
        xyz_info.pairs(line)
        return
    # ASE takes empty quotes for nothing at all, and then reads on; an empty value is an empty array to it
    if any(empty in line for empty in ('""', "''", "{}", "[]", "_")) or "" in expected:
        return
    found = {key: xyz_info.value_of(text) for key, text in xyz_info.pairs(line).items()}
    expected = {key: _ase_value(value) for key, value in expected.items()}
    assert found == {key: "" if value == [] else value for key, value in expected.items()} or any(
        not text.replace(",", " ").split() for text in xyz_info.pairs(line).values()
    )


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_bytes_never_raise(data: st.DataObject) -> None:
    text = bytearray((GOOD * 3).encode())
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    records = frames(bytes(text))
    assert 1 <= len(records) <= 5
