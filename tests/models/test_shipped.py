"""The models that come with the package: complete, documented, and as good as their cards say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cgfast
from cgfast.models.own import DEFAULT_MODEL, own_folder, own_names

pytest.importorskip("torch", reason="models need torch")
ROOT = Path(__file__).parents[2]
LARGEST = 1_000_000  # bytes of a model: the wheel stays small
TABLES = {
    "cgfast/electronic": "mp_cgcnn_36k",
    "cgfast/elasticity": "mp_cgcnn_elasticity_3k",
    "cgfast/formation-energy": "mp_cgcnn_36k",
    "cgfast/perovskite-heat": "perov5",
}


def test_names() -> None:
    assert own_names() == sorted(TABLES)
    assert DEFAULT_MODEL in TABLES
    assert sorted(f"cgfast/{path.stem}" for path in (ROOT / "docs" / "models").glob("[a-z]*.md")) == sorted(TABLES)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_card(name: str) -> None:
    model = cgfast.load_model(name)
    assert model.name == name
    assert model.card["complete"] is True
    assert "CC BY 4.0" in model.card["licence"] or "Castelli" in model.card["licence"]
    assert model.card["metrics_part"] == "test"
    assert set(model.card["metrics"]) == {target.column for target in model.targets}
    assert len(model.card["elements"]) > 50
    assert sum(path.stat().st_size for path in own_folder(name).iterdir()) < LARGEST


@pytest.mark.parametrize("name", sorted(TABLES))
def test_metrics_of_the_card(name: str, data: Path) -> None:
    """The split is made again from the recipe, the predictions and their errors too, the latter by hand."""
    pytest.importorskip("pyarrow", reason="the data are Parquet")
    path = data / f"{TABLES[name]}.parquet"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    from cgfast.io.labelled import read_labelled
    from cgfast.training.options import TrainOptions
    from cgfast.training.prepare import prepare
    from cgfast.training.splits import TEST

    model = cgfast.load_model(name)
    labelled = read_labelled(path, [target.data for target in model.targets])
    options = TrainOptions.from_dict(model.card["options"])
    prepared = prepare(labelled, model.targets, options, max_atomic_number=model.max_atomic_number)
    assert prepared.split_hash == model.card["split"]["sha256"]
    test = np.flatnonzero(prepared.parts == TEST)
    assert len(test) == model.card["crystals"]["test"]
    prediction = model.predict(prepared.data.crystals[test])
    truths = prepared.data.values[test]
    for t, target in enumerate(model.targets):
        predicted, truth = prediction[target.column], truths[:, t]
        known = ~np.isnan(truth)
        card = model.card["metrics"][target.column]
        if target.classes is None:
            error = np.abs(predicted - truth)[known].mean()
            assert error == pytest.approx(card["mae"], rel=1e-4)
            assert error < 0.5 * np.abs(truth[known] - np.median(truth[known])).mean()
        else:
            right = ((predicted > 0.5) == (truth == 1))[known].mean()
            assert right == pytest.approx(card["accuracy"], abs=1e-3)
