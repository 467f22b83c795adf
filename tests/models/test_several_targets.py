"""Models of several targets and ensembles: their numbers against formulas in NumPy, and what a prediction says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cgfast import build_graphs
from cgfast.models import OutputColumn, Prediction, Target

BULK = Target("bulk modulus", "log10(GPa)", "log10_bulk_modulus_GPa")
METAL = Target("probability of being a metal", "1", "metal_probability", ("nonmetal", "metal"))
SHEAR = Target("shear modulus", "log10(GPa)", "log10_shear_modulus_GPa")
COLUMNS = ["log10_bulk_modulus_GPa", "metal_probability", "log10_shear_modulus_GPa"]


def values_by_hand(model, crystals) -> np.ndarray:
    """(M, B, 3): each network's four raw outputs through the formulas of the three targets."""
    found = []
    for network in model.networks:
        with torch.inference_mode():  # as a model predicts: with gradients the last bits may differ
            raw = network.eval()(build_graphs(crystals, model.spec)).numpy().astype(np.float64)
        assert raw.shape[1] == 4
        weights = np.exp(raw[:, 1:3])
        found.append(np.stack([raw[:, 0] * 0.5 + 1.0, weights[:, 1] / weights.sum(axis=1), raw[:, 3] * 0.5 + 3.0], axis=1))
    return np.array(found)


def test_one_network_of_three_targets(make_model, three_crystals):
    model = make_model()
    (expected,) = values_by_hand(model, three_crystals)
    assert expected.std(axis=0).min() > 1e-3  # the crystals differ in every column
    assert [column.name for column in model.columns] == COLUMNS
    assert [column.unit for column in model.columns] == ["log10(GPa)", "1", "log10(GPa)"]
    assert model.task == "mixed"
    columns = model.predict_columns(build_graphs(three_crystals, model.spec))
    assert columns.dtype == np.float64
    np.testing.assert_allclose(columns, expected, rtol=1e-12)
    found = model.predict(three_crystals)
    assert found.std is None
    np.testing.assert_allclose(found.values, expected, rtol=1e-5)
    np.testing.assert_array_equal(found["metal_probability"], found.values[:, 1])


def test_an_ensemble_of_three_targets(make_model, three_crystals):
    model = make_model(members=3)
    expected = values_by_hand(model, three_crystals)
    names = [column.name for column in model.columns]
    assert names == [text for name in COLUMNS for text in (name, f"{name}_std")]
    assert [column.unit for column in model.columns] == ["log10(GPa)"] * 2 + ["1"] * 2 + ["log10(GPa)"] * 2
    found = model.predict(three_crystals)
    mean = expected.sum(axis=0) / 3
    deviation = np.sqrt(((expected - mean) ** 2).sum(axis=0) / 3)
    assert deviation.min() > 1e-4
    np.testing.assert_allclose(found.values, mean, rtol=1e-5)
    np.testing.assert_allclose(found.std, deviation, rtol=1e-3)
    columns = model.predict_columns(build_graphs(three_crystals, model.spec))
    for k, name in enumerate(names):
        np.testing.assert_allclose(found[name], columns[:, k], rtol=1e-3, atol=1e-6)


def test_an_ensemble_of_one_target(make_model, three_crystals):
    model = make_model([BULK], members=2)
    found = model.predict(three_crystals)
    assert found.values.shape == found.std.shape == (3,)
    singles = [replace(model, networks=(network,)).predict(three_crystals).values for network in model.networks]
    np.testing.assert_allclose(found.values, np.mean(singles, axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.std, np.abs(singles[0] - singles[1]) / 2, rtol=1e-9)
    np.testing.assert_array_equal(model.predict_graph(build_graphs(three_crystals, model.spec)).shape, (3,))
    assert model.columns == (OutputColumn(BULK.column, BULK.unit), OutputColumn(f"{BULK.column}_std", BULK.unit))
    assert (model.unit, model.column, model.property, model.task) == (BULK.unit, BULK.column, BULK.property, "regression")


def test_members_that_agree_have_no_deviation(make_model, three_crystals):
    single = make_model()
    triple = replace(single, networks=single.networks * 2)
    found = triple.predict(three_crystals)
    np.testing.assert_array_equal(found.values, single.predict(three_crystals).values)
    np.testing.assert_array_equal(found.std, np.zeros((3, 3)))


def test_logits_and_log_probabilities_mean_the_same(make_model, three_crystals):
    """A network of classes applies log_softmax itself; one whose outputs are logits is normalised by the model."""
    classifier = make_model([METAL], classification=True)
    logits = make_model([METAL])
    logits.network.load_state_dict(classifier.network.state_dict())
    np.testing.assert_allclose(logits.predict(three_crystals).values, classifier.predict(three_crystals).values, rtol=1e-6)
    assert classifier.task == logits.task == "classification"
    assert logits.classes == ("nonmetal", "metal")


@pytest.mark.parametrize("options", [{"conv": "CGConv"}, {"readout": "site"}, {"readout": "site", "pooling": "sum"}])
def test_other_networks_have_several_targets_too(make_model, three_crystals, options):
    model = make_model(**options)
    np.testing.assert_allclose(
        model.predict(three_crystals).values, values_by_hand(model, three_crystals)[0], rtol=1e-4, atol=1e-6
    )


def test_no_crystals(make_model, three_crystals):
    for members in (1, 2):
        found = make_model(members=members).predict(three_crystals[:0])
        assert len(found) == 0
        assert found.values.shape == (0, 3)
    assert make_model([BULK]).predict(three_crystals[:0]).values.shape == (0,)


def test_same_bits_for_any_thread_count(make_model, three_crystals, monkeypatch):
    monkeypatch.setattr("cgfast.graph.BATCH_ATOMS", 2)
    model = make_model(members=2)
    one, two = (model.predict(three_crystals, threads=threads) for threads in (1, 2))
    assert np.array_equal(one.values, two.values)
    assert np.array_equal(one.std, two.std)


def test_what_has_no_single_answer_says_so(make_model, three_crystals):
    model = make_model()
    found = model.predict(three_crystals)
    for name in ("target", "unit", "column", "classes", "property"):
        with pytest.raises(ValueError, match=f"{name} of made has no single answer .*metal_probability"):
            getattr(model, name)
    for name in ("unit", "classes", "property"):
        with pytest.raises(ValueError, match=f"{name} has no single answer .*metal_probability"):
            getattr(found, name)
    with pytest.raises(ValueError, match="predict_graph of made has no single answer"):
        model.predict_graph(build_graphs(three_crystals, model.spec))
    with pytest.raises(ValueError, match="prediction has no column 'x'; it has log10_bulk_modulus_GPa, metal_probability"):
        found["x"]
    with pytest.raises(ValueError, match="metal_probability_std"):  # there is no deviation of one network
        found["metal_probability_std"]


def test_text_of_a_prediction():
    ids = np.array(["a", "b"])
    one = Prediction(np.array([1.0, 2.0]), None, ids, (Target("energy", "eV", "e"),))
    assert str(one) == "energy:\na  1.0000 eV\nb  2.0000 eV"
    several = Prediction(np.array([[1.0, 0.5]]), np.array([[0.25, 0.125]]), ids[:1], (Target("energy", "eV", "e"), METAL))
    assert str(several) == "energy, probability of being a metal:\na  1.0000 ± 0.2500 eV  0.5000 ± 0.1250"
    assert (len(one), one.unit, one.classes) == (2, "eV", None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": ()}, "targets must be one or more, got none"),
        ({"networks": ()}, "networks must be one or more, got none"),
        ({"targets": (BULK, METAL)}, "mean must be 2 finite numbers"),
        ({"mean": (0.0, np.nan, 0.0)}, "mean must be 3 finite numbers"),
        ({"std": (1.0, 1.0)}, "std must be 3 finite numbers, one per target, got"),
        ({"targets": (BULK, METAL, BULK)}, "columns of their own"),
        ({"targets": (BULK, METAL, SHEAR._replace(column="metal_probability_std"))}, "columns of their own"),
        ({"targets": (BULK, METAL, METAL._replace(column="other"))}, "need 5 outputs of the network .* it has 4"),
        ({"targets": (BULK, METAL._replace(classes=("a", "b", "c")), SHEAR)}, "must be two names"),
        ({"targets": (BULK, METAL._replace(classes=["a", "b"]), SHEAR)}, "classes of a target must be names"),
        ({"targets": (BULK, METAL, SHEAR._replace(column=""))}, "column of a target must be a text"),
        ({"targets": (BULK, METAL, SHEAR._replace(unit=None))}, "unit of a target must be a text"),
        ({"targets": (BULK, METAL, SHEAR._replace(data=3))}, "data of a target must be a text or None"),
    ],
)
def test_parts_that_do_not_fit(make_model, change, message):
    with pytest.raises(ValueError, match=message):
        replace(make_model(), **change)


def test_members_must_be_alike(make_model):
    model = make_model()
    for options in ({"conv": "CGConv"}, {"pooling": "sum"}, {"n_h": 2}):
        with pytest.raises(ValueError, match="member 1 differs from member 0"):
            replace(model, networks=(model.network, make_model(**options).network))
    other = make_model().network
    other.element_features[0, 0] = 2.0
    with pytest.raises(ValueError, match="architecture, basis and element features, but member 2"):
        replace(model, networks=(model.network, model.network, other))


def test_a_network_of_classes_takes_one_target_with_classes(make_model):
    classifier = make_model([METAL], classification=True)
    with pytest.raises(ValueError, match="must be one with classes for a network of classes"):
        replace(classifier, targets=(BULK,))
    with pytest.raises(ValueError, match="need 3 outputs"):
        replace(classifier, targets=(METAL._replace(classes=("a", "b", "c")),))
