"""Which candidates there are: against brute force with pymatgen and plain Python."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cgfast.elements import SYMBOLS, atomic_number
from cgfast.enumeration import enumerate_crystals
from cgfast.enumeration.element_sets import ELEMENT_SETS, options_of
from cgfast.enumeration.prototype import PROTOTYPES, Prototype
from cgfast.enumeration.site_symmetry import site_permutations

# --- symmetry ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(PROTOTYPES))
def test_site_permutations_are_those_of_spglib(name):
    spglib = pytest.importorskip("spglib")
    prototype = PROTOTYPES[name]
    fractions = prototype.positions @ np.linalg.inv(prototype.cell)
    found = spglib.get_symmetry((prototype.cell * 5, fractions, [1] * len(fractions)), symprec=1e-3)
    expected = set()
    for rotation, translation in zip(found["rotations"], found["translations"], strict=True):
        moved = fractions @ rotation.T + translation
        apart = moved[:, None] - fractions[None]
        expected.add(tuple(np.abs(apart - np.round(apart)).sum(axis=2).argmin(axis=1).tolist()))
    assert set(map(tuple, site_permutations(prototype.cell, prototype.positions).tolist())) == expected


def test_site_permutations_of_a_sheared_cell():
    prototype = PROTOTYPES["perovskite"]
    shear = np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]])
    assert len(site_permutations(shear @ prototype.cell, prototype.positions)) == 6  # of three anions


@pytest.mark.parametrize(
    ("name", "sites"),
    [
        ("rocksalt", {"A": "Na,K,Cl", "X": "Cl,Na,Br"}),
        ("heusler", {"A": "Cu,Mn", "B": "Mn,Al,Cu", "C": "Al,Mn,Fe"}),
        ("half-heusler", {"A": "Ni,Ti", "B": "Ti,Sn,Ni", "C": "Sn,Ni,Ti"}),
        ("zincblende", {"A": "Zn,S", "X": "S,Zn,Se"}),
        ("double-perovskite", {"A": "Ba,Sr", "B": "Ti,Zr", "C": "Zr,Ti", "X": "O"}),
        ("perovskite", {"A": "Ba", "B": "Ti", "X": "O,OON,ONO,NOO,NON,O2N,OFN,NFO"}),
        ("wurtzite", {"A": "Zn,S,ZnCd,CdZn", "X": "S,Zn,Cd"}),
    ],
)
@pytest.mark.parametrize("repeats", [False, True])
def test_each_crystal_appears_once(name, sites, repeats):
    matcher = pytest.importorskip("pymatgen.analysis.structure_matcher").StructureMatcher(
        primitive_cell=False, scale=True, ltol=0.01, stol=0.01, angle_tol=0.1
    )
    prototype = PROTOTYPES[name]
    letters = prototype.sites
    options = {letter: options_of(letter, sites[letter], len(members)) for letter, members in letters.items()}
    everything = []
    for combination in itertools.product(*options.values()):
        if not repeats and any(set(a) & set(b) for a, b in itertools.combinations(combination, 2)):
            continue
        everything.append([SYMBOLS[z] for option in combination for z in option])
    structure = pytest.importorskip("pymatgen.core").Structure
    order = [site for members in letters.values() for site in members.tolist()]
    crystals = [
        structure(prototype.cell * 5, one, prototype.positions[order] * 5, coords_are_cartesian=True) for one in everything
    ]
    distinct = len(matcher.group_structures(crystals))
    found = enumerate_crystals(name, sites, repeats=repeats)
    assert found.n_rows == distinct
    kept = [crystal.to_pymatgen()[0] for batch in found for crystal in batch]
    assert len(matcher.group_structures(kept)) == len(kept) == distinct


def test_sets_that_are_not_exchanged_lose_nothing():
    found = enumerate_crystals("rocksalt", {"A": "Na,K", "X": "K,Cl"})
    ids = [name for batch in found for name in batch.ids.tolist()]
    # K-Na is not among the combinations, so Na-K is no duplicate of it
    assert ids == ["rocksalt-NaK-v1.00", "rocksalt-NaCl-v1.00", "rocksalt-KCl-v1.00"]


# --- charges -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sites"),
    [
        ("perovskite", {"A": "metals", "B": "Ti,Fe,Nb,Cu", "X": "O,F,N,O2N,OFN"}),
        ("double-perovskite", {"A": "Ba,La,Cs", "B": "Ti,Fe,Na", "C": "W,Mo,Bi", "X": "O,Cl"}),
        ("fluorite", {"A": "metals", "X": "all"}),
        ("cscl", {"A": "all", "X": "all"}),
    ],
)
def test_charge_neutrality_is_that_of_plain_python(name, sites):
    element = pytest.importorskip("pymatgen.core").Element

    def neutral(option_of_letter):
        sums = {0}
        for option in option_of_letter:
            kinds = sorted(set(option))
            states = itertools.product(*(element(SYMBOLS[z]).common_oxidation_states for z in kinds))
            own = {sum(s * option.count(z) for s, z in zip(one, kinds, strict=True)) for one in states}
            sums = {a + b for a in sums for b in own}
        return 0 in sums

    without = enumerate_crystals(name, sites)
    members = list(without.prototype.sites.values())
    expected = []
    for batch in without:
        numbers = batch.atomic_numbers.reshape(len(batch), -1)
        for row, one in zip(numbers, batch.ids.tolist(), strict=True):
            if neutral([tuple(row[where].tolist()) for where in members]):
                expected.append(one)
    found = [one for batch in enumerate_crystals(name, sites, charge_neutral=True) for one in batch.ids.tolist()]
    assert found == expected
    assert 0 < len(expected) < without.n_rows


# --- what stands on sites ------------------------------------------------------------------------------------------------


def test_options():
    def symbols(values, n=1):
        return ["".join(SYMBOLS[z] for z in option) for option in options_of("A", values, n)]

    assert symbols("Na,K, Na") == ["Na", "K"]
    assert symbols(["K", "alkali", "-Cs"]) == ["K", "Li", "Na", "Rb"]
    assert symbols("all,-metals,-nonmetals") == ["B", "Si", "Ge", "As", "Sb", "Te"]
    assert symbols("O,O2N,OFN", 3) == ["OOO", "OON", "OFN"]
    assert symbols("CO,Co", 2) == ["CO", "CoCo"]
    assert len(symbols("perovskite-metals")) == 52
    assert len(symbols("perovskite-anions", 3)) == 7
    assert all(
        atomic_number(name) for members in ELEMENT_SETS.values() for name in members if not name[-1].isdigit() and len(name) < 3
    )


@pytest.mark.parametrize(
    ("values", "n", "message"),
    [
        ("Zz", 1, "'Zz' for A is no element, formula or set; the sets are alkali"),
        ("", 1, "'' for A is no element"),
        ("O2", 1, "'O2' for A is not one element, or 1 atom for as many sites"),
        ("O2", 3, "or 3 atoms for as many sites"),
        ("O999999999999", 3, "'O999999999999' for A is not one element"),
        ("Na,-Na", 1, "nothing is left for A"),
        ("Xe", 1, "Xe for A has no atomic radius"),
        ("na", 1, "'na' for A is no element"),
    ],
)
def test_what_cannot_stand_on_sites(values, n, message):
    with pytest.raises(ValueError, match=f"sites: .*{message}"):
        options_of("A", values, n)


def test_what_is_no_enumeration():
    with pytest.raises(ValueError, match="sites: rocksalt has no 'B'; its letters are A, X"):
        enumerate_crystals("rocksalt", {"B": "Na"})
    with pytest.raises(ValueError, match="sites: nothing is said of X of rocksalt"):
        enumerate_crystals("rocksalt", {"A": "Na"})
    for volumes in ([], [0.0], [-1], [1, 1.0], "1.0", [float("nan")], 0):
        with pytest.raises(ValueError, match="volumes: got"):
            enumerate_crystals("rocksalt", {"A": "Na", "X": "Cl"}, volumes=volumes)
    many = Prototype("many", np.eye(3) * 30, np.arange(48.0).reshape(16, 3), tuple("ABCDEFGHIJKLMNOP"))
    with pytest.raises(ValueError, match="combinations are too many"):
        enumerate_crystals(many, dict.fromkeys("ABCDEFGHIJKLMNOP", "all"))
