"""CIF files against pymatgen's parser, and hostile ones."""

from __future__ import annotations

import time
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("gemmi")
pytest.importorskip("pyarrow")

from cgfast.crystals import Crystals
from cgfast.io import StructureBatch, read
from cgfast.io import cif as cif_reader
from cgfast.io.cif_symmetry import cell_from_parameters, parse_operation
from tests.io.cifs import HM, LIKE_PYMATGEN, OCCUPANCY, cif, operations

if TYPE_CHECKING:
    from pathlib import Path


def one(path: Path, text: str | bytes, **options: Any) -> StructureBatch:
    """The single batch of a CIF with this text."""
    path = path / "x.cif"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    (batch,) = read(path, **options).batches()
    assert batch.n_rows == len(batch.crystals) + len(batch.failures)
    return batch


def by_pymatgen(text: str) -> Crystals:
    parser = pytest.importorskip("pymatgen.io.cif").CifParser
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        structures = parser.from_str(text).parse_structures(primitive=False)
        return Crystals.from_pymatgen(structures)


def assert_same(got: Crystals, expected: Crystals, tolerance: float = 1e-9, *, any_order: bool = False) -> None:
    assert got.atomic_numbers.tolist() == expected.atomic_numbers.tolist()
    np.testing.assert_allclose(got.cell, expected.cell, atol=1e-12)
    inverse = np.linalg.inv(got.cell[0])
    fractional = got.positions[:, None] - expected.positions if any_order else got.positions - expected.positions
    fractional = fractional @ inverse
    distance = np.linalg.norm((fractional - np.rint(fractional)) @ got.cell[0], axis=-1)
    if any_order:
        distance[got.atomic_numbers[:, None] != expected.atomic_numbers] = np.inf
        assert sorted(distance.argmin(axis=1)) == list(range(got.n_atoms))
        distance = distance.min(axis=1)
    assert distance.max() < tolerance


@pytest.mark.parametrize("name", LIKE_PYMATGEN)
def test_like_pymatgen(name: str, tmp_path: Path) -> None:
    batch = one(tmp_path, LIKE_PYMATGEN[name])
    assert batch.failures == []
    text = LIKE_PYMATGEN[name]
    # pymatgen keeps the operations of a named group in a set: their order, and so that of the atoms, is
    # arbitrary
    named = "as_xyz" not in text and "operation_xyz" not in text
    assert_same(batch.crystals, by_pymatgen(text), any_order=named)
    assert batch.crystals.ids.tolist() == ["x"]


def test_samples_are_bit_equal_to_pymatgen(data: Path) -> None:
    folder = data / "cgcnn-2018" / "sample-regression"
    files = sorted(folder.glob("*.cif"))
    assert len(files) == 10
    for path in files:
        (batch,) = read(path).batches()
        expected = by_pymatgen(path.read_text())
        assert np.array_equal(batch.crystals.positions, expected.positions)
        assert np.array_equal(batch.crystals.cell, expected.cell)
        assert np.array_equal(batch.crystals.atomic_numbers, expected.atomic_numbers)


def test_real_crystals_written_by_pymatgen_and_ase(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("pymatgen")
    ase_io = pytest.importorskip("ase.io")
    writer = pytest.importorskip("pymatgen.io.cif").CifWriter
    crystals = next(iter(read(data / "mp_cgcnn_36k.parquet", batch_rows=500)))[::20]
    for structure, atoms in zip(crystals.to_pymatgen(), crystals.to_ase(), strict=True):
        text = str(writer(structure, symprec=1e-3 if len(structure) < 40 else None))
        assert_same(one(tmp_path, text).crystals, by_pymatgen(text), 1e-3)
        ase_io.write(tmp_path / "ase.cif", atoms)
        (batch,) = read(tmp_path / "ase.cif").batches()
        assert sorted(batch.crystals.atomic_numbers) == sorted(atoms.numbers)
        assert abs(np.linalg.det(batch.crystals.cell[0]) - atoms.get_volume()) < 1e-3 * atoms.get_volume()


def test_origin_choice_is_honoured(tmp_path: Path) -> None:
    # pymatgen does not know this name and falls back to P1: one atom
    text = cif("C1 C 0.125 0.125 0.125", cell=(4, 4, 4, 90, 90, 90), symmetry=HM.format("F d -3 m:2"))
    crystals = one(tmp_path, text).crystals
    at = sorted(map(tuple, (crystals.positions / 4 * 8).round(6) % 8))
    assert at == [(1, 1, 1), (1, 5, 5), (3, 3, 7), (3, 7, 3), (5, 1, 5), (5, 5, 1), (7, 3, 3), (7, 7, 7)]


def test_three_decimals_do_not_split_a_special_position(tmp_path: Path) -> None:
    sites = "Mg1 Mg 0.333 0.667 0.25"
    turns = operations("x,y,z", "-y,x-y,z", "-x+y,-x,z")
    crystals = one(tmp_path, cif(sites, cell=(3.21, 3.21, 5.21, 90, 90, 120), symmetry=turns)).crystals
    assert crystals.n_atoms == 1
    fractional = crystals.positions @ np.linalg.inv(crystals.cell[0])
    np.testing.assert_allclose(fractional, [[1 / 3, 2 / 3, 0.25]], atol=1e-12)  # the mean is the special position


def test_precise_coordinates_are_not_rounded(tmp_path: Path) -> None:
    crystals = one(tmp_path, cif("C1 C 0.33330000 0.66660001 0.5")).crystals
    np.testing.assert_allclose(crystals.positions[0] / 5, [0.3333, 0.66660001, 0.5], atol=1e-12)


def test_deuterium_and_tritium_are_hydrogen(tmp_path: Path) -> None:
    batch = one(tmp_path, cif("D1 D 0 0 0\nT1 T .5 .5 .5\nO1 O .5 0 0\nD2 D1+ 0 0 .5"))
    assert batch.crystals.atomic_numbers.tolist() == [1, 1, 1, 8]


DISORDERED = cif(
    "Fe1 Fe 0 0 0 0.5\nNi1 Ni 0 0 0 0.5\nO1 O .5 .5 .5 1\nLi1 Li .25 .25 .25 0.4\nNa1 Na .5 0 0 0.2\nK1 K .5 0 0 .7",
    columns=OCCUPANCY,
)


def test_disorder(tmp_path: Path) -> None:
    batch = one(tmp_path, DISORDERED)
    assert len(batch.crystals) == 0
    assert "site Fe1 is disordered (Fe 0.5, Ni 0.5)" in batch.failures[0].reason
    with pytest.raises(ValueError, match=r"x\.cif: site Fe1 is disordered"):
        one(tmp_path, DISORDERED, on_disorder="error")
    kept = one(tmp_path, DISORDERED, on_disorder="majority").crystals
    # Fe before Ni (lighter at a tie), K over Na, Li below one half is left out
    assert kept.atomic_numbers.tolist() == [19, 26, 8]
    with pytest.raises(ValueError, match="on_disorder is 'maybe'"):
        one(tmp_path, DISORDERED, on_disorder="maybe")


def test_occupancies_of_symmetry_equivalent_sites_are_summed(tmp_path: Path) -> None:
    text = cif("Fe1 Fe 0.1 0 0 0.7\nNi1 Ni 0.9 0 0 0.3", columns=OCCUPANCY, symmetry=operations("x,y,z", "-x,-y,-z"))
    batch = one(tmp_path, text)
    assert "disordered (Fe 0.7, Ni 0.3)" in batch.failures[0].reason
    assert one(tmp_path, text, on_disorder="majority").crystals.atomic_numbers.tolist() == [26, 26]


@pytest.mark.parametrize(("occupancy", "fine"), [("1.04", True), ("0.999", True), ("1.2", False), ("-0.5", False)])
def test_occupancy_limits(occupancy: str, fine: bool, tmp_path: Path) -> None:
    batch = one(tmp_path, cif(f"Fe1 Fe 0 0 0 {occupancy}\nO1 O .5 .5 .5 1", columns=OCCUPANCY))
    assert (len(batch.crystals) == 1) is fine


REASONS: dict[str, tuple[str | bytes, str]] = {
    "empty": (b"", "the file is empty"),
    "blank": (b" \n\n", "the file is empty"),
    "no atoms": ("data_x\n_cell_length_a 5\n", "no data block with fractional atom positions"),
    "question mark": (cif("O1 O ? ? ?\nH1 H 0 0 0"), "site O1 has the coordinates ? ? ?"),
    "not a number": (cif("O1 O nan 0 0"), "site O1 has the coordinates nan 0 0"),
    "infinite": (cif("O1 O inf 0 0"), "site O1 has the coordinates inf"),
    "no element": (cif("Qq1 Qq 0 0 0"), "is no element"),
    "dummy": (cif("X1 X 0 0 0"), "is no element"),
    "water": (cif("Wat1 Wat 0 0 0"), "a group of atoms"),
    "twice": (cif("O1 O 0 0 0\nO2 O 0 0 1.0"), "sum to 2"),
    "zero length": (cif("O1 O 0 0 0", cell=(0, 5, 5, 90, 90, 90)), "cell parameter a is 0"),
    "huge length": (cif("O1 O 0 0 0", cell=(1e300, 5, 5, 90, 90, 90)), "cell parameter a is 1e"),
    "flat angles": (cif("O1 O 0 0 0", cell=(5, 5, 5, 10, 10, 170)), "do not close a cell"),
    "zero angle": (cif("O1 O 0 0 0", cell=(5, 5, 5, 90, 90, 0)), "cell parameter gamma is 0"),
    "needle": (cif("O1 O 0 0 0", cell=(5, 5, 1e-4, 90, 90, 90)), "thick along c"),
    "dense": (cif("O1 O 0 0 0", cell=(0.2, 0.2, 0.2, 90, 90, 90)), "of cell an atom"),
    "nothing occupied": (cif("O1 O 0 0 0 0.0", columns=OCCUPANCY), "no atoms are left"),
    "only dummies": (
        cif("O1 O 0 0 0 dum", columns="label type_symbol fract_x fract_y fract_z calc_flag"), "no atoms are left"
    ),
    "many operations": (
        cif("O1 O 0 0 0", symmetry=operations(*(f"x+{k}/1000,y,z" for k in range(1000)))), "1000 symmetry operations"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REASONS)
def test_unusable_files_say_why(name: str, tmp_path: Path) -> None:
    text, reason = REASONS[name]
    batch = one(tmp_path, text)
    assert len(batch.crystals) == 0
    assert [(f.id, f.row, f.stage) for f in batch.failures] == [("x", 0, "read")]
    assert reason in batch.failures[0].reason


def test_explosive_symmetry_is_refused_at_once(tmp_path: Path) -> None:
    sites = "\n".join(f"O{k} O 0.{k:05d} 0.3 0.1" for k in range(20_000))
    start = time.perf_counter()
    batch = one(tmp_path, cif(sites, symmetry=HM.format("F m -3 m")))
    assert "expected at most 300000 positions" in batch.failures[0].reason
    assert time.perf_counter() - start < 10


def test_many_atoms_at_one_place_do_not_hang(tmp_path: Path) -> None:
    batch = one(tmp_path, cif("\n".join(f"O{k} O 0 0 0" for k in range(20_000))))
    assert "sum to 20000" in batch.failures[0].reason


def test_several_blocks(tmp_path: Path) -> None:
    text = cif("Na1 Na 0 0 0", name="a") + "data_empty\n_x 1\n" + cif("K1 K 0 0 ?", name="b") + cif("K1 K 0 0 0", name="a")
    batch = one(tmp_path, text)
    assert batch.crystals.ids.tolist() == ["x:a#1", "x:a#2"]
    assert batch.rows.tolist() == [0, 2]
    assert [f.id for f in batch.failures] == ["x:b"]


def test_byte_order_mark_and_latin_1(tmp_path: Path) -> None:
    text = cif("Na1 Na 0 0 0")
    assert len(one(tmp_path, b"\xef\xbb\xbf" + text.encode()).crystals) == 1
    author = "_publ_author_name 'M\xfcller'\n"
    assert len(one(tmp_path, text.replace("loop_", author + "loop_", 1).encode("latin-1")).crystals) == 1


@pytest.mark.parametrize("operation", ["", "x", "x,y", "x,y,z,w", "x,y,q", "x,x,x", "x,y,z+1/0", "2*x,y,z", "x y,z,1", "x,y,"])
def test_operations_that_are_none(operation: str) -> None:
    with pytest.raises(ValueError, match="no symmetry operation"):
        parse_operation(operation)


def test_operations_against_gemmi() -> None:
    gemmi = pytest.importorskip("gemmi")
    for group in gemmi.spacegroup_table():
        for op in group.operations():
            rotation, shift = parse_operation(op.triplet())
            assert np.array_equal(np.array(rotation) * 24, op.rot)
            assert np.allclose(np.array(shift) * 24, op.tran)


def test_cell_orientation_is_pymatgens() -> None:
    lattice = pytest.importorskip("pymatgen.core").Lattice
    rng = np.random.default_rng(1)
    for _ in range(200):
        lengths, angles = rng.uniform(2, 20, 3), rng.uniform(60, 119, 3)
        expected = lattice.from_parameters(*lengths, *angles).matrix
        assert np.array_equal(cell_from_parameters(lengths.tolist(), angles.tolist()), expected)


def test_too_large_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cif_reader, "MAX_BYTES", 1000)
    assert "expected at most" in one(tmp_path, cif("Na1 Na 0 0 0") + "#" * 2000).failures[0].reason


def test_folder_glob_and_zip(tmp_path: Path) -> None:
    folder = tmp_path / "crystals"
    (folder / "deep" / "er").mkdir(parents=True)
    good = cif("Na1 Na 0 0 0")
    for name in ("b", "a", "deep/c", "deep/a"):
        (folder / f"{name}.cif").write_text(good)
    (folder / "deep" / "er" / "bad.CIF").write_bytes(b"\x00\xff")
    (folder / ".hidden.cif").write_text(good)
    (folder / "notes.txt").write_text("no crystal")
    reader = read(folder, batch_rows=2)
    batches = list(reader.batches())
    assert [b.n_rows for b in batches] == [2, 2, 1]
    assert [str(i) for b in batches for i in b.crystals.ids] == ["a", "b", "deep/a", "c"]
    assert [(f.id, f.row) for b in batches for f in b.failures] == [("bad", 4)]
    assert reader.n_rows is None
    assert reader.n_rows_estimate == 5
    assert sum(len(c) for c in read(str(folder / "*.cif"))) == 2
    assert sum(len(c) for c in read(str(folder / "**" / "*.cif"))) == 4
    assert sum(len(c) for c in read([folder / "a.cif", folder / "deep"])) == 3

    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("in/b.cif", good)
        z.writestr("in/a.cif", good)
        z.writestr("__MACOSX/in/._a.cif", b"junk")
        z.writestr("bad.cif", "data_")
    (batch,) = read(archive).batches()
    assert batch.crystals.ids.tolist() == ["a", "b"]
    assert [(f.id, f.row) for f in batch.failures] == [("bad", 0)]
    data = bytearray(archive.read_bytes())
    data[45] ^= 0xFF  # inside the compressed bytes of in/b.cif
    archive.write_bytes(bytes(data))
    (batch,) = read(archive).batches()
    assert batch.crystals.ids.tolist() == ["a"]
    assert "x.zip/in/b.cif cannot be read" in batch.failures[1].reason


def test_sources_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.txt").write_text("hello")
    (tmp_path / "no.zip").write_bytes(b"PK\x03\x04junk")
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as z:
        z.writestr("readme", "x")
    cases: list[tuple[Any, str]] = [
        (tmp_path / "missing", "no such file or folder"),
        (tmp_path / "empty", "holds no id_prop.csv, .*[.]cif.* file"),
        (tmp_path / "x.txt", "no structure file"),
        (tmp_path / "no.zip", "cannot be read as a zip"),
        (tmp_path / "none.zip", r"no \.cif or .* among them; found 1 without suffix"),
        (str(tmp_path / "*.cif"), "nothing matches"),
        ([], "empty sequence"),
        (7, "source is a int"),
        ([7], "source holds a int"),
        ("a\0b", "no usable path|no such file"),
    ]
    for source, message in cases:
        with pytest.raises(ValueError, match=message):
            read(source)
    with pytest.raises(ValueError, match="format is 'xyz'"):
        read(tmp_path / "x.txt", format="xyz")
    (tmp_path / "empty" / "a.cif").write_text(cif("Na1 Na 0 0 0"))
    with pytest.raises(ValueError, match=r"CIF files .* have none"):
        read(tmp_path / "empty", keep=("band_gap",))
