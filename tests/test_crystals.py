"""Crystals: flat arrays in, the same crystals out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cgfast.crystals import Crystals
from cgfast.elements import ELECTRONEGATIVITY, SYMBOLS, atomic_number, atomic_numbers, symbol

if TYPE_CHECKING:
    from pathlib import Path


def make(counts: tuple[int, ...] = (2, 0, 3, 1), seed: int = 0) -> Crystals:
    rng = np.random.default_rng(seed)
    n, b = sum(counts), len(counts)
    return Crystals.from_arrays(
        rng.random((n, 3)) * 9,
        np.eye(3) * 4 + rng.random((b, 3, 3)),
        rng.integers(1, 119, n),
        pbc=rng.random((b, 3)) < 0.5,
        graph_ptr=np.cumsum([0, *counts]),
        ids=[f"id{k}" for k in range(b)],
    )


def test_types_and_sizes() -> None:
    c = make()
    assert len(c) == 4
    assert c.n_atoms == 6
    dtypes = [c.positions, c.cell, c.pbc, c.atomic_numbers, c.graph_ptr]
    assert [a.dtype for a in dtypes] == [np.float64, np.float64, np.bool_, np.int32, np.int64]
    assert c.ids.dtype.kind == "U"
    assert repr(c) == "Crystals(4 crystals, 6 atoms: 'id0', 'id1', 'id2', ...)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        c.positions = c.positions  # type: ignore[misc]
    with pytest.raises(TypeError):
        hash(c)


@pytest.mark.parametrize(
    "key",
    [0, -1, 3, np.int64(2), slice(None), slice(1, 3), slice(3, 1), slice(None, None, -1), slice(0, 9, 2), [2,
    0, 2], [-1],
     [], np.array([True, False, True, False]), np.array([3, 3, 1], dtype=np.uint8)],
)  # fmt: skip
def test_indexing_against_python_lists(key: Any) -> None:
    c = make()
    rows = np.atleast_1d(np.arange(4)[key if not isinstance(key, list) or key else slice(0, 0)]).tolist()
    got = c[key]
    assert got.ids.tolist() == [f"id{r}" for r in rows]
    for one, r in zip(got, rows, strict=True):
        a, b = c.graph_ptr[r : r + 2]
        assert len(one) == 1
        assert one.graph_ptr.tolist() == [0, b - a]
        assert np.array_equal(one.positions, c.positions[a:b])
        assert np.array_equal(one.atomic_numbers, c.atomic_numbers[a:b])
        assert np.array_equal(one.cell[0], c.cell[r])
        assert np.array_equal(one.pbc[0], c.pbc[r])


def test_slices_share_memory_and_ends_are_checked() -> None:
    c = make()
    assert np.shares_memory(c[1:3].positions, c.positions)
    for key in (4, -5, [0, 4]):
        with pytest.raises(IndexError):
            c[key]
    with pytest.raises(ValueError, match="mask has shape"):
        c[np.array([True])]
    with pytest.raises(ValueError, match="index has float64"):
        c[np.array([1.5])]


def test_concatenate_and_equality() -> None:
    c = make()
    assert Crystals.concatenate([c[:2], c[2:]]) == c
    assert Crystals.concatenate(list(c)) == c
    assert len(Crystals.concatenate([])) == 0
    assert c != c[::-1]
    assert c != 3
    assert c[0] != dataclasses.replace(c[0], ids=np.array(["other"]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": [[0.0, 0.0]]}, r"positions has shape \(1, 2\): expected \(N, 3\)"),
        ({"positions": [["a", "b", "c"]]}, "positions has type"),
        ({"positions": [[0.0, 0.0, 0.0], [1.0]]}, "positions cannot be made an array"),
        ({"cell": np.zeros((2, 3, 3))}, r"cell has shape \(2, 3, 3\): expected \(1, 3, 3\)"),
        ({"cell": [1.0, 2.0, 3.0]}, r"cell has shape \(3,\)"),
        ({"cell": [3, 4]}, "cell has shape"),
        ({"atomic_numbers": [1, 2]}, "atomic_numbers has length 2: expected 1"),
        ({"atomic_numbers": [1.5]}, "atomic_numbers has type float64: expected integers"),
        ({"atomic_numbers": [2**40]}, "atomic_numbers has values .* fit int32"),
        ({"atomic_numbers": [[1]]}, r"atomic_numbers has shape \(1, 1\)"),
        ({"graph_ptr": [0, 2]}, "graph_ptr has values .*ends at 1"),
        ({"graph_ptr": [0, 2, 1]}, "graph_ptr has values"),
        ({"graph_ptr": [1, 1]}, "graph_ptr has values"),
        ({"graph_ptr": []}, "graph_ptr has values"),
        ({"pbc": [True, False]}, r"pbc has shape \(2,\)"),
        ({"pbc": "yes"}, "pbc has type"),
        ({"ids": ["a", "b"]}, r"ids has shape \(2,\): expected \(1,\)"),
        ({"ids": "a"}, "ids has type str"),
    ],
)
def test_bad_arrays(change: dict[str, Any], message: str) -> None:
    fine: dict[str, Any] = {"positions": [[0.0, 0.0, 0.0]], "cell": np.eye(3), "atomic_numbers": [1]}
    with pytest.raises(ValueError, match=message):
        Crystals.from_arrays(**{**fine, **change})


def test_defaults() -> None:
    c = Crystals.from_arrays([[0, 0, 0]], np.eye(3, dtype=np.float32) * 3, [1])
    assert c.pbc.all()
    assert c.ids.tolist() == ["0"]
    assert not Crystals.from_arrays([[0, 0, 0]], None, [1]).pbc.any()
    assert len(Crystals.from_arrays([], np.eye(3), [])) == 1


def test_problems() -> None:
    n = 14
    positions = np.zeros((n, 3))
    cell = np.tile(np.eye(3) * 5, (n, 1, 1))
    pbc = np.ones((n, 3), bool)
    numbers = np.full(n, 6)
    expected: dict[int, str] = {}
    positions[1, 2], expected[1] = np.nan, "position of atom 0 is"
    positions[2, 0], expected[2] = 1e20, "position of atom 0 is"
    cell[3, 1], expected[3] = np.inf, "lattice vector b is"
    cell[4, 1], expected[4] = cell[4, 0], "no volume"
    cell[5], expected[5] = 0, "no volume"
    cell[6, 2, 2], expected[6] = 1e-5, "thick along c"
    cell[7], expected[7] = np.eye(3) * 0.3, "of cell an atom"
    numbers[8], expected[8] = 0, "atomic number of atom 0 is 0: expected 1 to 118"
    numbers[9], expected[9] = 119, "atomic number of atom 0 is 119"
    cell[10, 2], pbc[10, 2] = 0, False  # open axes may hold anything
    cell[11, 1:], pbc[11, 1:] = np.nan, False
    cell[12], pbc[12] = 0, False
    cell[13, 0], cell[13, 2], pbc[13, 2], expected[13] = cell[13, 1], 0, False, "no volume"
    c = Crystals.from_arrays(positions, cell, numbers, pbc=pbc, graph_ptr=np.arange(n + 1))
    found = c.problems()
    assert sorted(found) == sorted(expected)
    for k, text in expected.items():
        assert text in found[k], k
    for k in range(n):
        assert c[k].problems() == ({0: found[k]} if k in found else {})
    assert list(c.problems(max_atomic_number=5)) == list(range(n))
    assert "no atoms" in make((1, 0)).problems()[1]


def test_skewed_cells_are_no_problem() -> None:
    cell = np.eye(3) * 4
    cell[0] += 40 * cell[1] - 30 * cell[2]
    assert Crystals.from_arrays([[0, 0, 0]], cell, [1]).problems() == {}
    assert Crystals.from_arrays([[0, 0, 0]], -cell, [1]).problems() == {}


def test_save_and_load(tmp_path: Path) -> None:
    c = make()
    c.save(tmp_path / "x")
    for mmap in (True, False):
        assert Crystals.load(tmp_path / "x", mmap=mmap) == c
    assert not Crystals.load(tmp_path / "x").positions.flags.writeable
    empty = make(())
    empty.save(tmp_path / "empty")
    assert Crystals.load(tmp_path / "empty") == empty
    (tmp_path / "x" / "cell.npy").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"cell\.npy cannot be read"):
        Crystals.load(tmp_path / "x")
    (tmp_path / "x" / "cell.npy").unlink()
    with pytest.raises(ValueError, match=r"cell\.npy is missing"):
        Crystals.load(tmp_path / "x")


def test_pymatgen_there_and_back() -> None:
    core = pytest.importorskip("pymatgen.core")
    rng = np.random.default_rng(3)
    structures = [
        core.Structure(core.Lattice(np.eye(3) * 5 + rng.random((3, 3))), ["Na+", "Cl-", "D"][:n], rng.random((n, 3)))
        for n in (1, 2, 3)
    ]
    c = Crystals.from_pymatgen(structures, ids=["a", "b", "c"])
    assert c.atomic_numbers.tolist() == [11, 11, 17, 11, 17, 1]
    for structure, back, one in zip(structures, c.to_pymatgen(), c, strict=True):
        assert np.array_equal(one.cell[0], structure.lattice.matrix)
        assert np.array_equal(one.positions, structure.cart_coords)
        np.testing.assert_allclose(back.frac_coords, structure.frac_coords, atol=1e-12)
        assert [s.specie.Z for s in back] == [s.specie.Z for s in structure]
    assert len(Crystals.from_pymatgen(structures[0])) == 1
    slab = core.Structure(core.Lattice(np.eye(3) * 4, pbc=(True, True, False)), ["C"], [[0, 0, 0]])
    assert Crystals.from_pymatgen(slab).pbc.tolist() == [[True, True, False]]
    assert Crystals.from_pymatgen(slab).to_pymatgen()[0].lattice.pbc == (True, True, False)
    for species, message in [
        ({"Fe": 0.5, "Ni": 0.5}, "disordered"),
        ({"Fe": 0.5}, "disordered"),
        ("X", "no element"),
    ]:
        with pytest.raises(ValueError, match=f"structure 0, site 0 .*{message}"):
            Crystals.from_pymatgen(core.Structure(core.Lattice.cubic(3), [species], [[0, 0, 0]]))
    with pytest.raises(ValueError, match="structures is a int"):
        Crystals.from_pymatgen(3)
    with pytest.raises(ValueError, match="structure 0 is a int"):
        Crystals.from_pymatgen([3])


def test_ase_there_and_back() -> None:
    ase = pytest.importorskip("ase")
    build = pytest.importorskip("ase.build")
    atoms = [
        build.bulk("NaCl", "rocksalt", a=5.6),
        build.molecule("H2O"),
        build.fcc111("Al", (2, 2, 3), vacuum=5),
    ]
    c = Crystals.from_ase(atoms)
    for a, back, one in zip(atoms, c.to_ase(), c, strict=True):
        assert np.array_equal(one.positions, a.positions)
        assert np.array_equal(one.cell[0], a.cell[:])
        assert np.array_equal(one.pbc[0], a.pbc)
        assert back == a
    assert c.problems() == {}
    assert Crystals.from_ase(atoms[0])[0].atomic_numbers.tolist() == [11, 17]
    with pytest.raises(ValueError, match=r"atoms\[0\] is a str"):
        Crystals.from_ase(["NaCl"])
    mixed = ase.Atoms("Fe", info={"occupancy": {"0": {"Fe": 0.5, "Ni": 0.5}}})
    with pytest.raises(ValueError, match="disordered"):
        Crystals.from_ase(mixed)


def test_open_axes_get_a_lattice_for_pymatgen() -> None:
    pytest.importorskip("pymatgen.core")
    for pbc in ([True, False, True], [False, True, False], [False] * 3):
        cell = np.where(np.array(pbc)[:, None], np.array([[3, 1, 0], [0, 4, 1], [1, 0, 5.0]]), 0.0)
        c = Crystals.from_arrays([[0.5, 0.2, 0.1]], cell, [6], pbc=pbc)
        (structure,) = c.to_pymatgen()
        assert structure.lattice.volume > 0
        np.testing.assert_allclose(structure.cart_coords, c.positions, atol=1e-12)


def test_elements_against_pymatgen() -> None:
    element = pytest.importorskip("pymatgen.core").Element
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for z in range(1, 119):
            assert symbol(z) == element.from_Z(z).symbol
            x = float(element.from_Z(z).X)
            assert ELECTRONEGATIVITY[z] == (x if np.isfinite(x) else np.inf)
    assert len(ELECTRONEGATIVITY) == len(SYMBOLS) == 119


@pytest.mark.parametrize(
    ("text", "z"),
    [("H", 1), ("D", 1), ("T", 1), ("D+", 1), ("Na+", 11), ("Fe3+", 26), ("O2-", 8), ("Fe+3", 26), ("O-2", 8), ("Cu0+", 29),
     ("Fe2.5+", 26), ("Fe3+,spin=5", 26), (" Si ", 14), ("Og", 118), ("", 0), ("X", 0), ("na", 0), ("CO", 0), ("Fe3", 0),
     ("vacancy", 0), ("+", 0), ("Qq+", 0), ("NaCl", 0), ("Ｎａ", 0)],
)  # fmt: skip
def test_symbols(text: str, z: int) -> None:
    assert atomic_number(text) == z
    assert atomic_numbers([text, "He", text]).tolist() == [z, 2, z]


def test_no_such_element() -> None:
    for z in (0, 119, -1):
        with pytest.raises(ValueError, match="no element"):
            symbol(z)


def test_saving_into_the_folder_that_is_mapped(tmp_path: Path) -> None:
    crystals = Crystals.from_arrays(
        np.arange(30.0).reshape(10, 3), np.tile(np.eye(3), (5, 1, 1)), np.arange(1, 11), graph_ptr=range(0, 11, 2)
    )
    crystals.save(tmp_path)
    loaded = Crystals.load(tmp_path)
    loaded.save(tmp_path)
    assert loaded == crystals
    loaded[2:4].save(tmp_path)
    assert Crystals.load(tmp_path) == crystals[2:4]
    assert all(path.suffix == ".npy" for path in tmp_path.iterdir())
