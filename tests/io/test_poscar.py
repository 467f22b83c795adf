"""POSCAR files against ASE's and pymatgen's readers, and files that are wrong."""

from __future__ import annotations

import gzip
import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pyarrow")

from cgfast.io import poscar
from cgfast.io.record_arrays import flat_arrays
from tests.io.oracles import everything, ids, real_crystals

if TYPE_CHECKING:
    from pathlib import Path

BODY = "4 0 0\n0.5 4 0\n0 0 5\n"
GOOD = f"a comment\n1.0\n{BODY}Na Cl\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n"


def structure(text: str | bytes) -> tuple[Any, Any, list[int]]:
    record = poscar.parse(text.encode() if isinstance(text, str) else text, "x")
    assert record.reason == ""
    positions, cell, _, numbers, _ = flat_arrays([record])
    return positions, cell[0], numbers.tolist()


def ase_structure(text: str) -> tuple[Any, Any, list[int]]:
    atoms = pytest.importorskip("ase.io").read(io.StringIO(text), format="vasp")
    return atoms.positions, atoms.cell[:], atoms.numbers.tolist()


def pymatgen_structure(text: str) -> tuple[Any, Any, list[int]]:
    vasp = pytest.importorskip("pymatgen.io.vasp.inputs")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        s = vasp.Poscar.from_str(text).structure
    return s.cart_coords, s.lattice.matrix, list(s.atomic_numbers)


def assert_equal(one: tuple[Any, Any, list[int]], other: tuple[Any, Any, list[int]]) -> None:
    assert np.allclose(one[0], other[0], rtol=0, atol=1e-12)
    assert np.allclose(one[1], other[1], rtol=0, atol=1e-12)
    assert one[2] == other[2]


LIKE_BOTH = {
    "direct": GOOD,
    "cartesian": GOOD.replace("Direct", "Cartesian"),
    "k for cartesian": GOOD.replace("Direct", "K-points do not matter"),
    "scaled": GOOD.replace("1.0", "2.5").replace("Direct", "cart"),
    "scaled by volume": GOOD.replace("1.0", "-90"),
    "selective": GOOD.replace("Direct", "Selective dynamics\nDirect")
    .replace("0 0 0\n", "0 0 0 T F T\n")
    .replace(".5\n", ".5 F F F\n"),
    "potentials and hashes": GOOD.replace("Na Cl", "Na_pv/6a2f546d Cl/8ad1"),
    "a count of zero": GOOD.replace("Na Cl\n1 1", "Na Mg Cl\n1 0 1"),
    "symbols at the ends": GOOD.replace("0 0 0\n", "0 0 0 Na\n").replace(".5\n", ".5 Cl\n"),
    "velocities": GOOD + "\n0 0 0\n0 0 0\n",
    "windows": GOOD.replace("\n", "\r\n"),
    "far outside the cell": GOOD.replace("0.5 0.5 0.5", "-3.5 12.25 1e2"),
}


@pytest.mark.parametrize("name", LIKE_BOTH)
def test_like_ase_and_pymatgen(name: str) -> None:
    text = LIKE_BOTH[name]
    assert_equal(structure(text), ase_structure(text.replace("\r", "")))
    assert_equal(structure(text), pymatgen_structure(text.replace("\r", "")))


def test_where_only_ase_follows_vasp() -> None:
    for text in (
        GOOD.replace("1.0", "1 2 3"),
        GOOD.replace("1.0", "1 2 3").replace("Direct", "Cartesian"),
        GOOD.replace("1.0", "-90").replace("Direct", "Cartesian"),  # pymatgen scales positions by -90
        GOOD.replace("1.0", "2 ! scale").replace("1 1", "1 1 ! counts"),
        "Na Cl\n" + GOOD.split("\n", 1)[1].replace("Na Cl\n", ""),  # VASP 4 with its custom of naming species in the comment
    ):
        assert_equal(structure(text), ase_structure(text))


def test_where_only_pymatgen_follows_vasp() -> None:
    left_handed = GOOD.replace("1.0", "-90").replace("0 0 5", "0 0 -5")
    assert_equal(structure(left_handed), pymatgen_structure(left_handed))
    vasp4 = GOOD.replace("Na Cl\n", "").replace("0 0 0\n", "0 0 0 Na\n").replace(".5\n", ".5 Cl\n")
    assert_equal(structure(vasp4), pymatgen_structure(vasp4))
    rows = GOOD.replace("Na Cl\n1 1\n", "Na\nCl\n1\n1\n")
    assert_equal(structure(rows), pymatgen_structure(rows))


def test_fortran_numbers() -> None:
    assert_equal(structure(GOOD.replace("1.0", "0.1D+01").replace("0.5 0.5 0.5", "5.0d-1 0.5 0.5")), structure(GOOD))


WRONG = {
    "empty": (" \n", "the file is empty"),
    "short": ("x\n1\n", "lines: expected a comment"),
    "vasp 4 without species": (GOOD.replace("Na Cl\n", ""), "does not say which elements"),
    "vasp 4 with names that are none": ("Salt Rock\n" + GOOD.split("\n", 1)[1].replace("Na Cl\n", ""), "VASP 4"),
    "no element": (GOOD.replace("Na Cl", "Na Qq"), "'Qq' is no element"),
    "a scale of zero": (GOOD.replace("1.0", "0.0"), "line 2 is '0.0'"),
    "two scales": (GOOD.replace("1.0", "1.0 1.0"), "three positive ones"),
    "negative scales": (GOOD.replace("1.0", "1 -1 1"), "three positive ones"),
    "no volume": (GOOD.replace("1.0", "-90").replace("0 0 5", "0.5 4 0"), "span no volume"),
    "a vector of two": (GOOD.replace("0.5 4 0", "0.5 4"), "line 4 is '0.5 4'"),
    "more species than counts": (GOOD.replace("Na Cl", "Na Mg Cl"), "3 species and 2 counts"),
    "counts of text": (GOOD.replace("1 1", "1 x"), "expected counts of atoms"),
    "counts of zero": (GOOD.replace("1 1", "0 0"), "sum to 0"),
    "too few positions": (GOOD.replace("1 1", "1 4"), "5 atoms by the counts"),
    "far too many": (GOOD.replace("1 1", "1 999999999"), "atoms by the counts"),
    "no mode": (GOOD.replace("Direct\n", ""), "expected Direct or Cartesian"),
    "a position of two": (GOOD.replace("0.5 0.5 0.5", "0.5 0.5"), "line 10 is '0.5 0.5'"),
    "a position of words": (GOOD.replace("0.5 0.5 0.5", "0.5 0.5 F"), "a position of three numbers"),
    "NaN": (GOOD.replace("0.5 0.5 0.5", "0.5 0.5 nan"), "a position of three numbers"),
    "binary": ("\0\xff" * 300, "lines: expected a comment"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files_say_why(name: str) -> None:
    text, reason = WRONG[name]
    assert reason in poscar.parse(text.encode(), "x").reason


def test_names_and_ids_in_a_tree(tmp_path: Path) -> None:
    good = ("mp-1/POSCAR", "mp-1/CONTCAR.gz", "mp-2/POSCAR", "a/POSCAR_7", "a/mp-3.vasp", "a/mp-4.poscar.gz", "b/8_CONTCAR")
    for name in (*good, "a/POSCARS.txt", "mp-1/INCAR", "mp-1/.POSCAR", "README"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(GOOD.encode()) if name.endswith("gz") else GOOD.encode())
    assert ids(tmp_path) == ["POSCAR_7", "mp-3", "mp-4", "8_CONTCAR", "mp-1/CONTCAR", "mp-1/POSCAR", "mp-2/POSCAR"]
    assert ids(tmp_path / "mp-2" / "POSCAR") == ["mp-2/POSCAR"]
    assert ids(str(tmp_path / "*" / "POSCAR")) == ["mp-1/POSCAR", "mp-2/POSCAR"]
    (tmp_path / "any").write_text(GOOD)
    assert ids(tmp_path / "any", format="poscar") == ["any"]


def test_real_crystals_as_ase_writes_them(data: Path, tmp_path: Path) -> None:
    ase_io = pytest.importorskip("ase.io")
    atoms = real_crystals(data, 200).to_ase()
    for k, one in enumerate(atoms):
        ase_io.write(tmp_path / f"{k:03d}.vasp", one, format="vasp", direct=k % 2 == 0, sort=k % 3 == 0, vasp5=True)
    crystals, failures = everything(tmp_path)
    assert failures == []
    for k, one in enumerate(crystals):
        text = (tmp_path / f"{k:03d}.vasp").read_text()
        expected = ase_structure(text)
        assert np.allclose(one.positions, expected[0], rtol=0, atol=1e-10)
        assert np.array_equal(one.cell[0], expected[1])
        assert one.atomic_numbers.tolist() == expected[2]
        assert one.ids.tolist() == [f"{k:03d}"]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_bytes_never_raise(data: st.DataObject) -> None:
    text = bytearray(data.draw(st.sampled_from(list(LIKE_BOTH.values()))).encode())
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    record = poscar.parse(bytes(text), "x")
    if not record.reason:
        flat_arrays([record])
