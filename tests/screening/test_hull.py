"""Energies above hull against pymatgen's PhaseDiagram."""

from __future__ import annotations

import bz2
import gzip
import json

import numpy as np
import pyarrow as pa
import pytest

from cgfast.crystals import Crystals
from cgfast.elements import atomic_number
from cgfast.screening.selection.hull import HULL_COLUMN, Hull

pytest.importorskip("pymatgen")

from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition
from pymatgen.entries.computed_entries import ComputedEntry

ELEMENTS = ("Ba", "Ti", "O", "N", "Li", "Na", "F")
FORMATION = "formation_energy_per_atom_eV"
TOTAL = "final_energy_per_atom_eV"


def random_entries(elements, n, seed=7):
    """Entries with energies and corrections; each element several times, with different energies."""
    random = np.random.default_rng(seed)
    entries = []
    for number, element in enumerate(elements):
        for atoms in (1, 2):
            energy = (-2.0 - number - 0.1 * random.random()) * atoms
            entries.append(
                ComputedEntry(Composition({element: atoms}), energy, correction=-0.05 * atoms, entry_id=f"{element}{atoms}")
            )
    for k in range(n):
        amounts = random.integers(0, 4, len(elements)) * (random.random(len(elements)) < 0.6)
        if amounts.sum() == 0:
            continue
        composition = Composition({e: int(a) for e, a in zip(elements, amounts, strict=True) if a})
        energy = sum((-2.0 - i) * a for i, a in enumerate(amounts)) - random.uniform(-0.2, 1.0) * amounts.sum()
        entries.append(ComputedEntry(composition, float(energy), correction=float(-0.3 * amounts[-1]), entry_id=f"e{k}"))
    return entries


def random_crystals(elements, n, seed=8):
    random = np.random.default_rng(seed)
    numbers = [[atomic_number(e) for e in random.choice(elements, random.integers(1, 7))] for _ in range(n)]
    sizes = np.cumsum([0, *map(len, numbers)])
    return Crystals.from_arrays(
        np.zeros((sizes[-1], 3)), np.tile(np.eye(3), (n, 1, 1)), np.concatenate(numbers), graph_ptr=sizes
    )


def table_of(crystals, values, name, flags=None):
    return pa.table(
        {
            "id": crystals.ids.tolist(),
            name: values,
            "flags": flags or ["ok"] * len(crystals),
            "kept": list(range(len(crystals))),
        }
    )


def compositions(crystals):
    return [
        Composition({e: int(c) for e, c in zip(*np.unique(crystals[k].atomic_numbers, return_counts=True), strict=True)})
        for k in range(len(crystals))
    ]


def write(path, entries):
    path.write_text(json.dumps([entry.as_dict() for entry in entries]))
    return path


@pytest.mark.parametrize("elements", [ELEMENTS[:2], ELEMENTS[:3], ELEMENTS[:5], ELEMENTS])
def test_formation_energies_equal_pymatgen(tmp_path, elements):
    entries = random_entries(elements, 60)
    crystals = random_crystals(elements, 60)
    values = np.random.default_rng(1).uniform(-2, 1, len(crystals))
    table = Hull(write(tmp_path / "e.json", entries), [FORMATION]).add(table_of(crystals, values, FORMATION), crystals)
    assert table.column_names == ["id", FORMATION, HULL_COLUMN, "flags", "kept"]
    diagram = PhaseDiagram(entries)
    lowest = {str(e): ref.energy_per_atom for e, ref in diagram.el_refs.items()}
    expected = []
    for composition, value in zip(compositions(crystals), values, strict=True):
        energy = value * composition.num_atoms + sum(lowest[e.symbol] * n for e, n in composition.items())
        expected.append(diagram.get_e_above_hull(PDEntry(composition, energy), allow_negative=True))
    np.testing.assert_allclose(table[HULL_COLUMN].to_numpy(), expected, rtol=0, atol=1e-9)
    assert set(table["flags"].to_pylist()) == {"ok"}
    assert min(expected) < 0 < max(expected)


def test_total_energies_leave_corrections_out(tmp_path):
    entries = random_entries(ELEMENTS[:4], 80)
    crystals = random_crystals(ELEMENTS[:4], 60)
    values = np.random.default_rng(2).uniform(-8, -3, len(crystals))
    table = Hull(write(tmp_path / "e.json", entries), [TOTAL, "band_gap_eV"]).add(
        table_of(crystals, values, TOTAL).add_column(2, "band_gap_eV", [[0.0] * len(crystals)]), crystals
    )
    assert table.column_names[:5] == ["id", TOTAL, "band_gap_eV", HULL_COLUMN, "flags"]
    diagram = PhaseDiagram([PDEntry(e.composition, e.uncorrected_energy) for e in entries])
    expected = [
        diagram.get_e_above_hull(PDEntry(c, v * c.num_atoms), allow_negative=True)
        for c, v in zip(compositions(crystals), values, strict=True)
    ]
    np.testing.assert_allclose(table[HULL_COLUMN].to_numpy(), expected, rtol=0, atol=1e-9)


def test_every_entry_itself_lies_where_pymatgen_says(tmp_path):
    entries = random_entries(ELEMENTS[:4], 80)
    diagram = PhaseDiagram(entries)
    numbers = [[e.Z for e, n in entry.composition.items() for _ in range(int(n))] for entry in entries]
    sizes = np.cumsum([0, *map(len, numbers)])
    crystals = Crystals.from_arrays(
        np.zeros((sizes[-1], 3)), np.zeros((len(numbers), 3, 3)), np.concatenate(numbers), graph_ptr=sizes
    )
    values = np.array([diagram.get_form_energy_per_atom(entry) for entry in entries])
    table = Hull(write(tmp_path / "e.json", entries), [FORMATION]).add(table_of(crystals, values, FORMATION), crystals)
    above = table[HULL_COLUMN].to_numpy()
    np.testing.assert_allclose(above, [diagram.get_e_above_hull(e) for e in entries], rtol=0, atol=1e-9)
    stable = [entry in diagram.stable_entries for entry in entries]
    np.testing.assert_array_equal(np.abs(above) < 1e-9, stable)


def test_a_missing_element_is_null_and_flagged(tmp_path):
    entries = [*random_entries(("Ba", "Ti"), 10), ComputedEntry(Composition("BaO"), -9.0)]  # oxygen only in a compound
    crystals = Crystals.from_arrays(np.zeros((6, 3)), np.zeros((3, 3, 3)), [56, 8, 56, 22, 56, 8], graph_ptr=[0, 2, 4, 6])
    table = table_of(crystals, [-1.0, -1.0, -1.0], FORMATION, flags=["ok", "few_neighbors", "few_neighbors;far"])
    found = Hull(write(tmp_path / "e.json", entries), [FORMATION]).add(table, crystals)
    assert found["flags"].to_pylist() == ["no_hull_reference", "few_neighbors", "few_neighbors;far;no_hull_reference"]
    assert [value is None for value in found[HULL_COLUMN].to_pylist()] == [True, False, True]


def test_a_kept_column_of_the_same_name_is_renamed(tmp_path):
    crystals = random_crystals(ELEMENTS[:2], 3)
    table = table_of(crystals, [-1.0] * 3, FORMATION).append_column(HULL_COLUMN, [[9.0] * 3])
    found = Hull(write(tmp_path / "e.json", random_entries(ELEMENTS[:2], 10)), [FORMATION]).add(table, crystals)
    assert found.column_names == ["id", FORMATION, HULL_COLUMN, "flags", "kept", f"input.{HULL_COLUMN}"]


def test_no_rows(tmp_path):
    crystals = random_crystals(ELEMENTS[:2], 3)[:0]
    path = write(tmp_path / "e.json", random_entries(ELEMENTS[:2], 10))
    found = Hull(path, [FORMATION]).add(
        pa.table({"id": pa.array([], pa.string()), FORMATION: pa.array([], pa.float64()), "flags": pa.array([], pa.string())}),
        crystals,
    )
    assert found.column_names == ["id", FORMATION, HULL_COLUMN, "flags"]


def test_containers_of_entries(tmp_path):
    entries = [entry.as_dict() for entry in random_entries(ELEMENTS[:3], 20)]
    text = {
        "list.json": json.dumps(entries),
        "alexandria.json.bz2": bz2.compress(json.dumps({"entries": entries}).encode()),
        "later.json.gz": gzip.compress(json.dumps({"note": {"a": [1]}, "entries": entries}, indent=1).encode()),
        "mapping.json": json.dumps({f"mp-{k}": entry for k, entry in enumerate(entries)}),
        "lines.jsonl": "\n".join(map(json.dumps, entries)),
    }
    crystals = random_crystals(ELEMENTS[:3], 20)
    found = []
    for name, content in text.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        hull = Hull(tmp_path / name, [FORMATION])
        found.append(hull.add(table_of(crystals, np.zeros(20), FORMATION), crystals)[HULL_COLUMN].to_numpy())
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


def test_structure_entries_without_a_composition(tmp_path):
    site = {"species": [{"element": "Ba", "occu": 1}], "abc": [0, 0, 0]}
    entries = [
        {"energy": -2.0, "structure": {"sites": [site]}, "composition": None},
        {"energy": -3.0, "composition": {"O2-": 1}},
        {"energy": -12.0, "composition": {"Ba2+": 1, "O2-": 1}},
    ]
    (tmp_path / "e.json").write_text(json.dumps(entries))
    crystals = Crystals.from_arrays(np.zeros((2, 3)), np.zeros((1, 3, 3)), [56, 8])
    found = Hull(tmp_path / "e.json", [FORMATION]).add(table_of(crystals, [-3.0], FORMATION), crystals)
    assert found[HULL_COLUMN].to_pylist() == [pytest.approx(0.5)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "holds no entries"),
        ("", "holds no entries"),
        ("[3]", "entry 0 .* expected an object"),
        ('[{"energy": 1}]', "entry 0 .* 'structure' is missing"),
        ('[{"composition": {"Xx": 1}, "energy": 1}]', "entry 0 .* Xx: 1 in its composition"),
        ('[{"composition": {"O": 1}, "energy": 1}, {"composition": {"O": 1}, "energy": NaN}]', "entry 1 .* finite energy"),
        ('[{"composition": {"O": 0}, "energy": 1}]', "entry 0 .* expected atoms"),
        ('[{"composition": {"O": 1}, "energy": 1}, {"comp', "e.json"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, content, message):
    (tmp_path / "e.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        Hull(tmp_path / "e.json", [FORMATION])


def test_columns_that_cannot_be_compared(tmp_path):
    path = write(tmp_path / "e.json", random_entries(ELEMENTS[:2], 10))
    with pytest.raises(ValueError, match=r"needs a prediction column formation_energy_per_atom_eV or .* are band_gap_eV"):
        Hull(path, ["band_gap_eV"])
    with pytest.raises(ValueError, match="several energies"):
        Hull(path, [f"a.{FORMATION}", f"b.{FORMATION}"])
    with pytest.raises(ValueError, match="predicts energy_above_hull_eV_per_atom already"):
        Hull(path, [FORMATION, HULL_COLUMN])
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        Hull(tmp_path / "none.json", [FORMATION])
