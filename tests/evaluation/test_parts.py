"""Parts of a split: which rows are judged, and splits that were made for other data."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from cgfast.crystals import Crystals
from cgfast.evaluation import evaluate

for package in ("torch", "torchmetrics", "pyarrow"):
    pytest.importorskip(package, reason="evaluation needs it")

LABEL = "energy_per_atom_eV"


def split_file(folder, parts, ids=None):
    path = folder / "split.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "row", "part"))
        writer.writerows((ids[row] if ids else f"c{row}", row, part) for row, part in parts.items())
    return path


PARTS = {row: "train" if row < 40 else "val" if row < 45 else "test" for row in range(55)}


@pytest.mark.parametrize("options", [{"part": "test"}, {}])
def test_part_of_a_split(path, model, truth, crystals, tmp_path, options):
    found = evaluate(model, path, split=split_file(tmp_path, PARTS), **options)
    assert found.part == "test"
    assert found.predictions["row"].to_pylist() == list(range(45, 55))
    assert (found.n_evaluated, found.n_outside, found.n_rows) == (10, 50, 60)
    assert found.account == "60 rows in: 10 evaluated, 0 failures, 50 outside of the part 'test'"
    expected = np.abs(model.predict(crystals[45:55]).values - truth[45:55]).mean()
    assert found.metrics[LABEL]["mae"] == pytest.approx(expected, rel=1e-5)


def test_split_of_the_models_own_folder(path, model, tmp_path):
    folder = tmp_path / "run"
    model.save(folder)
    with pytest.raises(ValueError, match=r"part: got 'val', but .*run has no split.csv"):
        evaluate(str(folder), path, part="val")
    split_file(folder, PARTS)
    assert evaluate(str(folder), path, part="val").n_evaluated == 5
    assert evaluate(str(folder), path).n_evaluated == 60


def test_rows_that_trained_the_model_are_noted(write, crystals, model, truth, path, tmp_path):
    folder = tmp_path / "run"
    model.save(folder)
    split_file(folder, PARTS)
    others = split_file(tmp_path, dict.fromkeys(range(30, 50), "test"))
    told = "rows trained the model, whose errors there flatter it: part='test' leaves them out"
    assert evaluate(folder, path).notes == (f"40 of these 60 {told}",)
    assert evaluate(folder, path, split=others).notes == (f"10 of these 20 {told}",)
    for options in ({"part": "test"}, {"part": "val"}, {"part": "train"}):
        assert evaluate(folder, path, **options).notes == ()
    renamed = Crystals.concatenate([crystals[1:], crystals[:1]])
    assert evaluate(folder, write(renamed, "other.parquet", **{LABEL: truth})).notes == ()


def test_a_model_in_memory_has_no_files(path, model, tmp_path, monkeypatch):
    """Not even those that happen to be in the current folder."""
    split_file(tmp_path, PARTS)
    (tmp_path / "metrics.csv").write_text("epoch,val_mae\n1,0.1\n")
    monkeypatch.chdir(tmp_path)
    found = evaluate(model, path)
    assert (found.notes, found.histories) == ((), ())
    with pytest.raises(ValueError, match=r"part: got 'test', but a model in memory has no split.csv"):
        evaluate(model, path, part="test")


def test_ids_that_no_csv_file_holds_as_they_are(write, crystals, model, truth, tmp_path):
    """What training writes of odd ids is what evaluation compares: a carriage return, a line break, a quote."""
    splits = pytest.importorskip("cgfast.training.splits")
    names = [["a\rb", "line\nbreak", 'quo"te, comma', "ä"][k % 4] + str(k) for k in range(60)]
    odd = Crystals(
        crystals.positions, crystals.cell, crystals.pbc, crystals.atomic_numbers, crystals.graph_ptr, np.array(names)
    )
    parts = np.array([splits.PARTS.index(PARTS.get(row, "val")) for row in range(60)], np.int8)
    (tmp_path / "split.csv").write_text(splits.split_text(names, range(60), parts), encoding="utf-8", newline="")
    path = write(odd, **{LABEL: truth})
    found = evaluate(model, path, split=tmp_path / "split.csv")
    assert found.predictions["row"].to_pylist() == list(range(45, 55))
    folder = model.save(tmp_path / "run")
    (folder / "split.csv").write_bytes((tmp_path / "split.csv").read_bytes())
    assert [note[:21] for note in evaluate(folder, path).notes] == ["40 of these 60 rows t"]


def test_ids_that_are_no_unicode(crystals, model, truth, tmp_path):
    """File names may be any bytes: a CIF file called `\xff`."""
    splits = pytest.importorskip("cgfast.training.splits")
    labelled = pytest.importorskip("cgfast.io.labelled")
    names = [f"caf\udce9{k}" for k in range(60)]
    odd = Crystals(
        crystals.positions, crystals.cell, crystals.pbc, crystals.atomic_numbers, crystals.graph_ptr, np.array(names)
    )
    parts = np.array([splits.PARTS.index(PARTS.get(row, "val")) for row in range(60)], np.int8)
    (tmp_path / "split.csv").write_text(splits.split_text(names, range(60), parts), encoding="utf-8")
    data = labelled.LabelledCrystals(odd, truth[:, None], np.arange(60), [], 60, (LABEL,), ("",), (None,), (False,))
    found = evaluate(model, data, split=tmp_path / "split.csv")
    assert found.predictions["id"].to_pylist() == [f"caf\\xe9{k}" for k in range(45, 55)]


def test_failures_outside_of_the_part_do_not_count(write, crystals, model, truth, tmp_path):
    labels = [None if k in (1, 50) else float(value) for k, value in enumerate(truth)]
    found = evaluate(model, write(crystals, **{LABEL: labels}), split=split_file(tmp_path, PARTS))
    assert [f.row for f in found.failures] == [50]
    assert (found.n_evaluated, found.n_outside) == (9, 50)


def test_splits_that_do_not_fit(path, model, tmp_path):
    split = split_file(tmp_path, PARTS)
    with pytest.raises(ValueError, match=r"part: got 'tset', expected one that .* has: 'train', 'val', 'test'"):
        evaluate(model, path, split=split, part="tset")
    with pytest.raises(ValueError, match="split: there is no file"):
        evaluate(model, path, split=tmp_path / "no.csv")
    split_file(tmp_path, {3: "test"}, ids=dict.fromkeys(range(60), "other"))
    with pytest.raises(ValueError, match="split: row 3 is 'other', but 'c3' in the data"):
        evaluate(model, path, split=split)
    split_file(tmp_path, {3: "test", 600: "test"})
    with pytest.raises(ValueError, match=r"split: row 600 .* is not in the data"):
        evaluate(model, path, split=split)
    split.write_text("id,part\nc3,test\n")
    with pytest.raises(ValueError, match="must be CSV with the columns id, row and part"):
        evaluate(model, path, split=split)
