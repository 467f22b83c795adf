"""What a run writes of its training set into the model."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lightning")
pytest.importorskip("pyarrow")

import cgfast
from cgfast.training import finetune, train
from cgfast.training.run_domain import run_domain
from tests.training.runs import parts_of
from tests.training.samples import TINY, crystals, some_values, write_table

N = 60


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = crystals(N)
    return write_table(tmp_path_factory.mktemp("domain") / "data.parquet", made, {"y": "eV"}, y=some_values(made))


@pytest.fixture(scope="module")
def run(table: Path):
    return train(table, "y", out=table.parent / "run", **TINY | {"epochs": 2, "seeds": 2})


def nearest(made: cgfast.Crystals) -> dict[tuple[int, int], tuple[float, float]]:
    """Pair of elements -> shortest and longest distance from an atom to its nearest neighbour, crystal by crystal."""
    found: dict[tuple[int, int], list[float]] = {}
    images = np.array(np.meshgrid(*[[-1, 0, 1]] * 3)).reshape(3, -1).T
    for crystal in made:
        xyz, numbers = crystal.positions, crystal.atomic_numbers
        vectors = xyz[None, :, None] + (images @ crystal.cell[0])[None, None] - xyz[:, None, None]
        distances = np.linalg.norm(vectors, axis=-1)
        distances[distances == 0] = np.inf
        for i, row in enumerate(distances.min(axis=2)):
            j = int(row.argmin())
            found.setdefault(tuple(sorted((int(numbers[i]), int(numbers[j])))), []).append(row[j])
    return {pair: (min(values), max(values)) for pair, values in found.items()}


def test_the_model_carries_the_domain_of_its_training_part(run) -> None:
    parts = parts_of(run)
    trained = crystals(N)[[row for row, part in sorted(parts.items()) if part == "train"]]
    for model in (run.model, cgfast.load_model(run.folder)):
        domain = model.domain
        assert domain is not None
        assert list(domain.elements) == model.card["elements"]
        assert set(domain.unseen(np.unique(trained.atomic_numbers)).tolist()) == {False}
        expected = nearest(trained)
        assert [tuple(pair) for pair in domain.distances.pairs.tolist()] == sorted(expected)
        np.testing.assert_allclose(domain.distances.ranges, [expected[pair] for pair in sorted(expected)], rtol=1e-5)
        features = cgfast.evaluation.embed(model, trained).features
        np.testing.assert_allclose(domain.features.mean, features.mean(axis=0), rtol=1e-4, atol=1e-5)
        assert domain.features.threshold == pytest.approx(np.quantile(domain.features.distances(features), 0.995), rel=1e-3)


def test_a_run_of_before_gets_the_domain_that_it_would_have_written(run, table: Path, tmp_path: Path) -> None:
    written = run.model.domain.to_parts()
    moved = shutil.copy(table, tmp_path / "moved.parquet")
    for data in (None, moved):
        fields, arrays = run_domain(run.folder, data=data).to_parts()
        assert fields == written[0]
        assert all(np.array_equal(arrays[name], written[1][name]) for name in written[1])
    other = crystals(N, seed=1)
    wrong = write_table(tmp_path / "other.parquet", other, {"y": "eV"}, y=some_values(other))
    with pytest.raises(ValueError, match="the data is not what the run in"):
        run_domain(run.folder, data=wrong)


def test_shipping_adds_the_domain_to_a_model_without(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    place = Path(__file__).resolve().parents[2] / "tools" / "ship_model.py"
    spec = importlib.util.spec_from_file_location("ship_model", place)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    old = tmp_path / "old"
    shutil.copytree(run.folder, old)
    cgfast.load_model(run.folder).save(old)
    found = json.loads((old / "model.json").read_text())
    bare = cgfast.load_model(old)
    object.__setattr__(bare, "domain", None)
    bare.save(old)
    assert "domain" in found
    assert cgfast.load_model(old).domain.distances is None
    monkeypatch.setattr(tool, "WEIGHTS_FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["ship_model.py", str(old), "shipped", "--data", "rock salts"])
    tool.main()
    assert "wrote" in capsys.readouterr().out
    shipped = cgfast.load_model(tmp_path / "shipped")
    assert shipped.name == "cgfast/shipped"
    assert shipped.domain.to_parts()[0] == run.model.domain.to_parts()[0]
    assert np.array_equal(shipped.predict(crystals(5)).values, run.model.predict(crystals(5)).values)


def test_a_fine_tuned_model_keeps_the_elements_that_it_knew(table: Path, tmp_path: Path) -> None:
    first = train(table, "y", out=tmp_path / "first", **TINY | {"epochs": 1})
    known = set(first.model.domain.elements)
    made = crystals(N)
    of_lithium = [k for k, crystal in enumerate(made) if set(crystal.atomic_numbers.tolist()) <= {3, 8, 9, 16, 17}]
    some = made[of_lithium]
    few = write_table(tmp_path / "few.parquet", some, {"y": "eV"}, y=some_values(some))
    second = finetune(first.folder, few, out=tmp_path / "second", epochs=1, batch_size=4, threads=1, split="random")
    assert set(second.model.domain.elements) == known
    pairs = second.model.domain.distances.pairs
    assert set(np.unique(pairs).tolist()) <= {3, 8, 9, 16, 17}  # distances and features are those of the new data
