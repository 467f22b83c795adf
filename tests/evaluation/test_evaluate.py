"""`evaluate` on small data: which rows are judged, by which labels, and that every row is accounted for."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest

from cgfast.crystals import Crystals
from cgfast.evaluation import evaluate
from cgfast.io.labelled import read_labelled
from cgfast.models import PropertyModel

for package in ("torch", "torchmetrics"):
    pytest.importorskip(package, reason="evaluation needs it")
pq = pytest.importorskip("pyarrow.parquet", reason="evaluation needs it")

LABEL = "energy_per_atom_eV"


def test_predictions_and_metrics(path, model, crystals, truth):
    found = evaluate(model, path)
    predicted = model.predict(crystals).values
    np.testing.assert_allclose(found.predictions[LABEL].to_numpy(), predicted, rtol=1e-6)
    np.testing.assert_array_equal(found.predictions[LABEL + "_true"].to_numpy(), truth)
    assert found.predictions["id"].to_pylist() == crystals.ids.tolist()
    assert found.predictions["row"].to_pylist() == list(range(60))
    assert found.predictions["n_atoms"].to_pylist() == np.diff(crystals.graph_ptr).tolist()
    assert found.metrics[LABEL]["mae"] == pytest.approx(np.abs(predicted - truth).mean(), rel=1e-5)
    assert (found.n_rows, found.n_evaluated, found.n_outside, found.failures) == (60, 60, 0, ())
    assert found.account == "60 rows in: 60 evaluated, 0 failures"
    worst = found.targets[LABEL].worst.to_pylist()
    assert [row["row"] for row in worst] == np.argsort(-np.abs(predicted - truth))[:10].tolist()
    assert worst[0]["error"] == worst[0]["prediction"] - worst[0]["truth"]
    assert [row["id"] for row in worst] == [f"c{row['row']}" for row in worst]


def test_same_bits_for_any_number_of_threads(path, model):
    one, three = (evaluate(model, path, threads=n).predictions for n in (1, 3))
    assert one.equals(three)


def test_every_row_is_accounted_for(write, crystals, model, truth):
    """A broken cell, an element the model does not know, missing labels: each is listed with its row."""
    cell = crystals.cell.copy()
    cell[4] = 0
    numbers = crystals.atomic_numbers.copy()
    numbers[crystals.graph_ptr[9]] = 110
    broken = Crystals(crystals.positions, cell, crystals.pbc, numbers, crystals.graph_ptr, crystals.ids)
    labels = [None if k in (2, 30) else float(value) for k, value in enumerate(truth)]
    found = evaluate(model, write(broken, **{LABEL: labels}))
    assert [(f.row, f.id, f.stage) for f in found.failures] == [
        (2, "c2", "label"),
        (4, "c4", "read"),
        (9, "c9", "predict"),
        (30, "c30", "label"),
    ]
    assert found.failures[0].reason == f"no value of {LABEL}"
    assert "110" in found.failures[2].reason
    assert found.n_rows == 60 == found.n_evaluated + len(found.failures)
    assert sorted([*found.predictions["row"].to_pylist(), 2, 4, 9, 30]) == list(range(60))
    good = np.setdiff1d(np.arange(60), [2, 4, 9, 30])
    expected = np.abs(model.predict(crystals[good]).values - truth[good]).mean()
    assert found.metrics[LABEL]["mae"] == pytest.approx(expected, rel=1e-5)


class Poisoned(PropertyModel):
    """Gives NaN for crystals with iron, and cannot do titanium at all."""

    def predict_columns(self, graph):
        numbers = np.asarray(graph.atomic_numbers)
        if 22 in numbers:
            message = "no titanium"
            raise RuntimeError(message)
        values = PropertyModel.predict_columns(self, graph)
        values[[26 in numbers[a:b] for a, b in pairwise(np.asarray(graph.graph_ptr))]] = np.nan
        return values


def test_what_the_model_cannot_do(path, model, crystals, truth):
    poisoned = Poisoned(**{f.name: getattr(model, f.name) for f in fields(model)})
    found = evaluate(poisoned, path)
    reasons = ["no titanium" if 22 in c.atomic_numbers else "not finite" if 26 in c.atomic_numbers else "" for c in crystals]
    bad = [k for k, reason in enumerate(reasons) if reason]
    assert [f.row for f in found.failures] == bad
    assert all(reasons[f.row] in f.reason for f in found.failures)
    assert {f.stage for f in found.failures} == {"predict"}
    good = np.setdiff1d(np.arange(60), bad)
    assert len(good) > 5 < len(bad)
    expected = np.abs(model.predict(crystals[good]).values - truth[good]).mean()
    assert found.metrics[LABEL]["mae"] == pytest.approx(expected, rel=1e-5)


@pytest.fixture
def both(make_model, energy, metal):
    """A model of a number and a class, as an ensemble of three."""
    return make_model(energy, metal, members=3)


@pytest.fixture
def gap(crystals):
    return np.where(np.arange(len(crystals)) % 3 == 0, 0.0, 1.5)


def test_several_targets_of_an_ensemble(write, crystals, both, truth, gap):
    labels = [None if k < 5 else float(value) for k, value in enumerate(truth)]
    gaps = [None if k in (3, 20) else float(value) for k, value in enumerate(gap)]
    found = evaluate(both, write(crystals, **{LABEL: labels, "gap_eV": gaps}))
    assert [f.row for f in found.failures] == [3]  # the other rows have one label at least
    assert {name: t.n for name, t in found.targets.items()} == {LABEL: 55, "metal_probability": 58}
    predicted = both.predict(crystals)
    table = found.predictions
    rows = np.array(table["row"].to_pylist())
    for name in (LABEL, LABEL + "_std", "metal_probability", "metal_probability_std"):
        np.testing.assert_allclose(table[name].to_numpy(), predicted[name][rows], rtol=1e-5)
    assert table[LABEL + "_true"].null_count == 4
    truths = dict(zip(rows.tolist(), table["metal_probability_true"].to_pylist(), strict=True))
    assert {row: truths[row] for row in (0, 1, 20, 21)} == {0: 1.0, 1: 0.0, 20: None, 21: 1.0}
    error, std = np.abs(predicted[LABEL] - truth)[5:], predicted[LABEL + "_std"][5:]
    assert found.metrics[LABEL]["share_within_1_std"] == pytest.approx((error <= std).mean())
    assert found.metrics[LABEL]["mean_std"] == pytest.approx(std.mean(), rel=1e-5)
    assert "expected_calibration_error" in found.metrics["metal_probability"]
    assert "share_within_1_std" not in found.metrics["metal_probability"]
    counts = found.targets["metal_probability"].counts
    assert counts["true_positive"] + counts["false_negative"] == sum(value == 0 for value in gaps)
    assert sum(counts.values()) == 58


def test_some_of_the_targets(write, crystals, both, gap):
    path = write(crystals, gap_eV=gap)
    found = evaluate(both, path, targets="metal_probability=gap_eV<0.001")
    assert list(found.targets) == ["metal_probability"]
    assert LABEL not in found.predictions.column_names
    with pytest.raises(ValueError, match=re.escape(LABEL)):
        evaluate(both, path)
    with pytest.raises(ValueError, match="targets: got 1 labels, expected 2 for energy_per_atom_eV and metal_probability"):
        evaluate(both, path, targets=["gap_eV"])
    with pytest.raises(ValueError, match="targets: got 'gap', expected COLUMN=LABEL, each once"):
        evaluate(both, path, targets=["gap=gap_eV<1"])


def test_labels_that_cannot_be_truths(write, crystals, both, model, make_model, energy, gap):
    path = write(crystals, gap_eV=gap, word=["a", "b"] * 30)
    with pytest.raises(ValueError, match=r"targets: gap_eV holds 1.5, expected 0 and 1 for insulator and metal"):
        evaluate(both, path, targets="metal_probability=gap_eV")
    with pytest.raises(ValueError, match="targets: word is text"):
        evaluate(model, path, targets="word")
    silent = make_model(energy._replace(data=None))
    with pytest.raises(ValueError, match=r"tiny does not say which column holds its labels \(energy per atom in eV/atom\)"):
        evaluate(silent, path)
    assert evaluate(silent, path, targets="gap_eV").n_evaluated == 60


def test_words_are_the_models_classes(write, crystals, make_model, metal):
    """A text column is read in the order of the model's classes, not in that of the alphabet."""
    words = ["metal" if k % 3 == 0 else "insulator" for k in range(60)]
    swapped = metal._replace(classes=("metal", "insulator"))
    path = write(crystals, kind=words)
    for target, expected in ((metal, [1.0, 0.0]), (swapped, [0.0, 1.0])):
        found = evaluate(make_model(target), path, targets="kind")
        assert found.predictions["metal_probability_true"].to_pylist()[:2] == expected


def test_units_that_differ_are_noted(write, crystals, model, tmp_path):
    import pyarrow as pa

    table = pq.read_table(write(crystals, modulus_GPa=np.arange(1.0, 61.0)))
    index = table.column_names.index("modulus_GPa")
    field = table.schema.field(index).with_metadata({"unit": "GPa"})
    pq.write_table(table.set_column(index, field, table.column(index)), tmp_path / "units.parquet")
    found = evaluate(model, tmp_path / "units.parquet", targets="log10(modulus_GPa)")
    assert found.notes == (f"the labels log10(modulus_GPa) are in log10(GPa), the predictions {LABEL} in eV/atom",)
    np.testing.assert_allclose(found.predictions[LABEL + "_true"].to_numpy(), np.log10(np.arange(1.0, 61.0)))
    assert isinstance(found.predictions, pa.Table)


def test_a_column_called_like_a_formula(write, crystals, make_model, energy):
    """Matbench has columns called log10(K_VRH), which hold logarithms already."""
    values = np.linspace(-1.0, 2.0, 60)
    modulus = energy._replace(column="log10(K_VRH)", unit="log10(GPa)", data="log10(K_VRH)")
    path = write(crystals, **{"log10(K_VRH)": values, "K_VRH": 10.0**-values, LABEL: values})
    found = evaluate(make_model(modulus, energy), path)
    np.testing.assert_array_equal(found.predictions["log10(K_VRH)_true"].to_numpy(), values)
    one = evaluate(make_model(modulus, energy), path, targets="log10(K_VRH) = log10(K_VRH)")
    assert list(one.targets) == ["log10(K_VRH)"]
    assert one.metrics["log10(K_VRH)"] == found.metrics["log10(K_VRH)"]
    labelled = read_labelled(path, ["log10(K_VRH)"])
    assert evaluate(make_model(modulus), labelled).notes == ()


def test_labelled_crystals_in_memory(path, model):
    labelled = read_labelled(path, [LABEL])
    assert evaluate(model, labelled).predictions.equals(evaluate(model, path).predictions)
    some = evaluate(model, labelled[np.array([3, 7])])
    assert some.predictions["row"].to_pylist() == [3, 7]
    assert some.data == "2 crystals in memory"
    with pytest.raises(ValueError, match="data: got Crystals, which have no labels"):
        evaluate(model, labelled.crystals)
    other = read_labelled(path, [LABEL + "<0"])
    with pytest.raises(ValueError, match=rf"data: got crystals labelled {LABEL}<0, expected {LABEL}; targets may name other"):
        evaluate(model, other)
    assert evaluate(model, other, targets=LABEL + " < 0").n_evaluated == 60  # spelled otherwise
    with pytest.raises(ValueError, match="data: got 2 labels a crystal, expected 1"):
        evaluate(model, replace(labelled, values=np.zeros((60, 2))))


def test_nothing_left_to_judge(write, crystals, model):
    with pytest.raises(
        ValueError, match=f"none of 60 rows has both a label and a prediction; the first: c0: no value of {LABEL}"
    ):
        evaluate(model, write(crystals, **{LABEL: np.full(60, np.nan)}))


def test_one_row(write, crystals, model):
    found = evaluate(model, write(crystals[:1], **{LABEL: [1.0]}))
    assert found.metrics[LABEL]["r2"] is None
    assert json.loads(found.to_json())["targets"][LABEL]["undefined"] == {"r2": "needs at least two rows"}


def test_ties_and_models(path, model, crystals):
    expected = model.with_ties("shell").predict(crystals).values
    np.testing.assert_allclose(evaluate(model, path, ties="shell").predictions[LABEL].to_numpy(), expected, rtol=1e-6)
    with pytest.raises(ValueError, match="ties: got 'random'"):
        evaluate(model, path, ties="random")
    with pytest.raises(ValueError, match="model: got 5, expected a name, a path or a loaded model"):
        evaluate(5, path)


def test_files(path, model, tmp_path):
    found = evaluate(model, path)
    read = json.loads(found.save(tmp_path / "m.json").read_text())
    assert read["targets"][LABEL]["metrics"] == found.targets[LABEL].metrics.values
    assert read["targets"][LABEL]["by_size"] == found.targets[LABEL].by_size.to_pylist()
    assert (read["n_rows"], read["n_evaluated"], read["n_failures"], read["failures"]) == (60, 60, 0, [])
    rows = list(csv.DictReader(found.save(tmp_path / "m.csv").read_text().splitlines()))
    assert {row["metric"]: float(row["value"]) for row in rows if row["metric"] != "n"} == found.metrics[LABEL]
    assert {row["unit"] for row in rows if row["metric"] in ("mae", "rmse", "max_error")} == {"eV/atom"}
    saved = found.save_predictions(tmp_path / "p.parquet")
    assert pq.read_table(saved).replace_schema_metadata(None).equals(found.predictions)
    assert (tmp_path / "p-failures.csv").read_text() == "id,row,stage,reason\n"
    with pytest.raises(ValueError, match=r"m.txt ends in '.txt', expected .json or .csv"):
        found.save(tmp_path / "m.txt")
    with pytest.raises(ValueError, match="cannot be written"):
        found.save(tmp_path / "no" / "m.json")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data.parquet", "m.csv", "m.json", "p-failures.csv", "p.parquet"]
