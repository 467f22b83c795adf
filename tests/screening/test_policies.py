"""Flags and what the user wants done about them."""

from __future__ import annotations

import csv
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from cgfast import Crystals, GraphSpec, build_graphs, screen
from cgfast.models import PropertyModel, Target
from cgfast.models.domain import Domain
from cgfast.nn import CGCNN, GaussianBasis
from cgfast.screening.flags import MEANINGS, Flag, count_flags, flag_texts
from cgfast.screening.policies import Policies

if TYPE_CHECKING:
    from pathlib import Path

COLUMN = "mean_z"


def crystal(numbers: list[int], positions: list[list[float]], length: float, name: str) -> Crystals:
    return Crystals.from_arrays(positions, np.eye(3) * length, numbers, ids=[name])


@pytest.fixture
def odd() -> Crystals:
    """Caesium chloride; an atom alone in its cell; two atoms on top of each other; hydrogen at its bond length; einsteinium."""
    return Crystals.concatenate(
        [
            crystal([55, 17], [[0, 0, 0], [2, 2, 2]], 4.1, "plain"),
            crystal([18], [[0, 0, 0]], 12.0, "alone"),
            crystal([55, 17, 17], [[0, 0, 0], [2, 2, 2], [2, 2, 2]], 4.1, "on-top"),
            crystal([1, 1], [[0, 0, 0], [0.74, 0, 0]], 4.0, "H2"),
            crystal([99], [[0, 0, 0]], 3.0, "Es"),
            crystal([119 - 12], [[0, 0, 0]], 3.0, "Bh"),
            Crystals.from_arrays([[0.0, 0, 0]], np.diag([0.49, 5.0, 5.0]), [55], ids=["own-image"]),
        ]
    )


@pytest.fixture
def model() -> PropertyModel:
    """Random weights, which know nothing of their domain."""
    torch.manual_seed(1)
    network = CGCNN(atom_fea_len=8, n_conv=1, h_fea_len=8, basis=GaussianBasis()).eval()
    target = Target("some energy", "eV", COLUMN)
    return PropertyModel("made", (target,), (network,), GraphSpec(), (0.0,), (1.0,), sha256="", source="")


def flags_of(result) -> dict[str, str]:
    return dict(zip(*(result.table.column(name).to_pylist() for name in ("id", "flags")), strict=True))


def reasons_of(result) -> dict[str, tuple[str, str]]:
    return {failure.id: (failure.stage, failure.reason) for failure in result.failures}


# --- words ----------------------------------------------------------------------------------------------------------------


def test_words_are_joined_in_the_order_of_the_table() -> None:
    bits = np.array([0, Flag.FEW_NEIGHBORS, Flag.FAR_EMBEDDING | Flag.OVERLAP | Flag.MAJORITY_SPECIES, 0], np.uint16)
    assert flag_texts(bits) == ["ok", "few_neighbors", "majority_species;overlap;far_embedding", "ok"]
    assert flag_texts(np.empty(0, np.uint16)) == []
    assert list(MEANINGS) == ["ok", *(flag.word for flag in Flag), "no_hull_reference"]


def test_rows_are_counted_by_word() -> None:
    counts = count_flags([("ok", 3), ("overlap;few_neighbors", 2), ("few_neighbors", 1), ("few_neighbors;new", 1)])
    assert counts == {"ok": 3, "overlap": 2, "few_neighbors": 4, "new": 1}
    assert list(counts) == ["ok", "overlap", "few_neighbors", "new"]


@pytest.mark.parametrize("option", ["on_isolated", "on_overlap", "on_unknown_element"])
def test_another_word_is_refused(option, odd, model) -> None:
    with pytest.raises(ValueError, match=f"{option}: got 'drop', expected one of flag, skip, error"):
        Policies(**{option: "drop"})
    with pytest.raises(ValueError, match=f"{option}: got None"):
        screen(odd, model, **{option: None})


# --- distances ------------------------------------------------------------------------------------------------------------


def test_by_default_all_that_can_be_predicted_is_and_says_why_it_may_be_wrong(odd, model) -> None:
    result = screen(odd, model)
    assert flags_of(result) == {
        "plain": "ok",
        "alone": "isolated_atom;few_neighbors",
        "on-top": "overlap",
        "H2": "ok",
        "Es": "ok",
        "own-image": "overlap",
    }
    assert list(reasons_of(result)) == ["Bh"]
    assert result.flags == {"ok": 3, "overlap": 2, "isolated_atom": 1, "few_neighbors": 1}
    assert result.flagged == "flags: overlap 2, isolated_atom 1, few_neighbors 1"


def test_skip_makes_failures_and_leaves_the_other_rows_as_they_are(odd, model, tmp_path: Path) -> None:
    whole = screen(odd, model).table.to_pydict()
    result = screen(odd, model, out=tmp_path / "out.parquet", on_isolated="skip", on_overlap="skip")
    assert (result.n_rows, result.n_predictions, result.n_failures) == (7, 3, 4)
    with (tmp_path / "out-failures.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["row"], row["stage"], row["reason"]) for row in rows] == [
        ("alone", "1", "graph", "an atom has no neighbour within 8 Å (on_isolated='skip')"),
        ("on-top", "2", "graph", "two atoms are 0 Å apart, less than 0.5 Å (on_overlap='skip')"),
        ("Bh", "5", "predict", "Bh (Z=107) is unknown to made, which knows Z up to 100"),
        ("own-image", "6", "graph", "two atoms are 0.49 Å apart, less than 0.5 Å (on_overlap='skip')"),
    ]
    left = pq.read_table(tmp_path / "out.parquet").to_pydict()
    index = [whole["id"].index(name) for name in left["id"]]
    assert left["id"] == ["plain", "H2", "Es"]
    assert left[COLUMN] == [whole[COLUMN][k] for k in index]
    assert result.flags == {"ok": 3}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_overlap": "error"}, r"row 2 \(id on-top\): two atoms are 0 Å apart, less than 0.5 Å \(on_overlap='error'\)"),
        ({"on_isolated": "error"}, r"row 1 \(id alone\): an atom has no neighbour within 8 Å \(on_isolated='error'\)"),
        ({"on_isolated": "error", "on_overlap": "error"}, r"row 1 \(id alone\)"),
        ({"on_isolated": "skip", "on_overlap": "error"}, r"row 2 \(id on-top\)"),
        (
            {"on_unknown_element": "error"},
            r"row 5 \(id Bh\): Bh \(Z=107\) is unknown to made, .* \(on_unknown_element='error'\)",
        ),
    ],
)
def test_error_ends_the_job_with_the_first_row_and_writes_nothing(odd, model, options, message, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        screen(odd, model, out=tmp_path / "out.parquet", **options)
    assert not (tmp_path / "out.parquet").exists()


def test_a_message_names_the_row_of_the_input_not_of_a_batch(model) -> None:
    many = Crystals.concatenate([crystal([55, 17], [[0, 0, 0], [2, 2, 2]], 4.1, f"c{k}") for k in range(1500)])
    bad = crystal([55, 17], [[0, 0, 0], [0.1, 0, 0]], 4.1, "bad")
    for threads in (1, 2):
        with pytest.raises(ValueError, match=r"^row 1500 \(id bad\): two atoms are 0.1 Å"):
            screen(Crystals.concatenate([many, bad, bad]), model, on_overlap="error", threads=threads, batch_atoms=100)


def test_padded_neighbours_are_none(odd, model) -> None:
    padded = replace(model, spec=GraphSpec(missing="pad-2018"))
    assert flags_of(screen(odd[:3], padded)) == {"plain": "ok", "alone": "isolated_atom;few_neighbors", "on-top": "overlap"}


def test_flags_of_several_models_are_united(odd, model) -> None:
    near = replace(model, name="near", spec=GraphSpec(2.0, 12), targets=(Target("other", "eV", "other"),), sha256="1")
    flags = flags_of(screen(odd[:2], [replace(model, sha256="2"), near]))
    assert flags == {"plain": "isolated_atom;few_neighbors", "alone": "isolated_atom;few_neighbors"}


# --- the domain of the model ----------------------------------------------------------------------------------------------


@pytest.fixture
def trained(model) -> PropertyModel:
    """The same model, as if it had been trained on caesium chlorides and hydrogen."""
    sizes = np.linspace(3.9, 4.3, 80)
    salts = [crystal([55, 17], [[0, 0, 0], [a / 2] * 3], a, "salt") for a in sizes]
    hydrogen = [crystal([1, 1], [[0, 0, 0], [0.74, 0, 0]], a, "H2") for a in sizes]
    graph = build_graphs(Crystals.concatenate([*salts, *hydrogen]), model.spec)
    return replace(model, domain=Domain.fit(model.network, [graph], ("H", "Cl", "Cs")))


def test_what_the_model_was_not_trained_on_is_flagged(odd, model, trained) -> None:
    flags = flags_of(screen(odd, trained))
    assert flags["plain"] == flags["H2"] == "ok"
    assert flags["Es"].split(";")[0] == flags["alone"].split(";")[2] == "unseen_element"
    assert flags["on-top"].startswith("overlap;")  # chlorine on chlorine was in no training crystal: a pair without a range
    wide = crystal([55, 17], [[0, 0, 0], [2.7] * 3], 5.4, "wide")
    assert "unusual_distance" in flags_of(screen(wide, trained))["wide"].split(";")
    expected = screen(odd, model).table
    assert screen(odd, trained).table.drop_columns("flags").equals(expected.drop_columns("flags"))


def test_far_features_are_flagged(trained) -> None:
    domain = trained.domain
    assert domain is not None
    assert domain.features is not None
    salt = crystal([55, 17], [[0, 0, 0], [2.05] * 3], 4.1, "salt")
    assert flags_of(screen(salt, trained)) == {"salt": "ok"}
    features = replace(domain.features, mean=domain.features.mean + np.float32(100))
    elsewhere = replace(trained, domain=replace(domain, features=features))
    assert flags_of(screen(salt, elsewhere)) == {"salt": "far_embedding"}


def test_elements_that_were_in_no_training_crystal_are_skipped_or_end_the_job(odd, trained) -> None:
    result = screen(odd, trained, on_unknown_element="skip")
    reasons = reasons_of(result)
    assert list(reasons) == ["alone", "Es", "Bh"]
    assert reasons["Es"] == ("predict", "no crystal that trained made holds Es (on_unknown_element='skip')")
    assert reasons["Bh"] == ("predict", "Bh (Z=107) is unknown to made, which knows Z up to 100")
    with pytest.raises(ValueError, match=r"^row 1 \(id alone\): no crystal that trained made holds Ar \(on_unknown_el"):
        screen(odd, trained, on_unknown_element="error")


def test_flags_do_not_depend_on_threads_or_batches(trained) -> None:
    random = np.random.default_rng(5)
    parts = []
    for k in range(300):
        a, n = random.uniform(2.5, 6.0), random.integers(1, 5)
        numbers = random.choice([1, 17, 55, 26], n)
        parts.append(crystal(numbers.tolist(), (random.random((n, 3)) * a).tolist(), a, f"c{k}"))
    crystals = Crystals.concatenate(parts)
    flags = [flags_of(screen(crystals, trained, threads=t, batch_atoms=n)) for t, n in ((1, 8192), (2, 8192), (1, 50), (2, 7))]
    assert all(one == flags[0] for one in flags)
    assert len(set(flags[0].values())) > 4


# --- disorder -------------------------------------------------------------------------------------------------------------


CIF = """data_x
_cell_length_a 4
_cell_length_b 4
_cell_length_c 4
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_occupancy
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
{sites}
"""


def test_the_majority_is_flagged_in_files(model, tmp_path: Path) -> None:
    for name, sites in {
        "ordered": "Cs1 Cs 1 0 0 0\nCl1 Cl 1 0.5 0.5 0.5",
        "shared": "Cs1 Cs 0.7 0 0 0\nRb1 Rb 0.3 0 0 0\nCl1 Cl 1 0.5 0.5 0.5",
        "partial": "Cs1 Cs 0.9 0 0 0\nCl1 Cl 1 0.5 0.5 0.5",
    }.items():
        (tmp_path / f"{name}.cif").write_text(CIF.format(sites=sites))
    flags = flags_of(screen(tmp_path, model, on_disorder="majority"))
    assert flags == {"ordered": "ok", "shared": "majority_species", "partial": "majority_species"}
    assert flags_of(screen(tmp_path, model)) == {"ordered": "ok"}


def test_the_majority_is_flagged_in_parquet(model, tmp_path: Path) -> None:
    def row(name: str, **species: list) -> dict:
        entries = [{"name": k, "chemical_symbols": v[0], "concentration": v[1]} for k, v in species.items()]
        cell = (np.eye(3) * 4.1).tolist()
        sites = {"lattice_vectors": cell, "cartesian_site_positions": [[0.0, 0, 0], [2.0, 2, 2]]}
        return {"id": name, **sites, "species_at_sites": [*species], "species": entries}

    plain = {"Cl": [["Cl"], [1.0]]}
    rows = [
        row("ordered", Cs=[["Cs"], [1.0]], **plain),
        row("bad", Cs=[["Cs", "Xx"], [0.5, 0.5]], **plain),
        row("named-like-the-majority", Cs=[["Cs", "Rb"], [0.6, 0.4]], **plain),
        row("mixed", M=[["Rb", "Cs"], [0.6, 0.4]], **plain),
    ]
    pq.write_table(pa.Table.from_pylist(rows * 600), tmp_path / "in.parquet", row_group_size=100)
    result = screen(tmp_path / "in.parquet", model, on_disorder="majority")
    assert result.table.column("flags").to_pylist() == ["ok", "majority_species", "majority_species"] * 600
    assert result.flags == {"ok": 600, "majority_species": 1200}


def test_the_majority_is_flagged_in_json(model, tmp_path: Path) -> None:
    structure = pytest.importorskip("pymatgen.core").Structure
    cell = np.eye(3) * 4.1
    mixed = structure(cell, [{"Cs": 0.6, "Rb": 0.4}, "Cl"], [[0, 0, 0], [0.5] * 3])
    ordered = structure(cell, ["Cs", "Cl"], [[0, 0, 0], [0.5] * 3])
    for name, one in (("mixed", mixed), ("ordered", ordered)):
        one.to(str(tmp_path / f"{name}.json"))
    assert flags_of(screen(tmp_path, model, on_disorder="majority")) == {"mixed": "majority_species", "ordered": "ok"}


# --- the command ----------------------------------------------------------------------------------------------------------


def test_the_command_counts_flags_and_takes_the_options(odd, trained, tmp_path: Path) -> None:
    testing = pytest.importorskip("typer.testing")
    from cgfast.cli import app
    from cgfast.elements import SYMBOLS

    rows = [
        {
            "id": str(one.ids[0]),
            "lattice_vectors": one.cell[0].tolist(),
            "cartesian_site_positions": one.positions.tolist(),
            "species_at_sites": [SYMBOLS[z] for z in one.atomic_numbers],
        }
        for one in odd
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    call = [
        "screen",
        str(tmp_path / "in.parquet"),
        "-m",
        str(trained.save(tmp_path / "model")),
        "-o",
        str(tmp_path / "out.csv"),
    ]
    told = testing.CliRunner().invoke(app, call)
    assert told.exit_code == 0, told.output
    with (tmp_path / "out.csv").open(newline="") as file:
        flags = [row["flags"] for row in csv.DictReader(file)]
    n_unseen = sum("unseen_element" in flag for flag in flags)
    assert n_unseen == 2
    assert f"flags: overlap 2, isolated_atom 1, few_neighbors 1, unseen_element {n_unseen}" in told.output
    told = testing.CliRunner().invoke(app, [*call, "--on-overlap", "error"])
    assert told.exit_code == 2
    assert "row 2 (id on-top): two atoms are 0 Å apart" in told.output
    skip = [word for name in ("isolated", "overlap", "unknown-element") for word in (f"--on-{name}", "skip")]
    told = testing.CliRunner().invoke(app, [*call, *skip])
    assert told.exit_code == 0, told.output
    assert "7 rows in: 2 predictions, 5 failures" in told.output
    assert "flags:" not in told.output
