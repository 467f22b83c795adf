"""What a model knows of its training set, against NumPy and SciPy; and that a file keeps it to the bit."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from cgfast import Crystals, GraphSpec, build_graphs, load_model
from cgfast.models import Target
from cgfast.models.distance_ranges import DistanceRanges, contacts
from cgfast.models.domain import Domain, DomainCheck, pooled_features
from cgfast.models.feature_cloud import FeatureCloud
from cgfast.nearest_edges import nearest_edges

if TYPE_CHECKING:
    from pathlib import Path

    from cgfast.models import PropertyModel

BULK = Target("bulk modulus", "log10(GPa)", "log10_bulk_modulus_GPa")
SHEAR = Target("shear modulus", "log10(GPa)", "log10_shear_modulus_GPa")
METAL = Target("probability of being a metal", "1", "metal_probability", ("nonmetal", "metal"))


def rock_salts(lattice: np.ndarray, cation: int = 11, anion: int = 17) -> Crystals:
    """Primitive cells of rock salt; the nearest neighbours are half a lattice constant apart."""
    parts = []
    for a in lattice:
        cell = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) * a / 2
        parts.append(Crystals.from_arrays([[0.0, 0, 0], [a / 2, 0, 0]], cell, [cation, anion]))
    return Crystals.concatenate(parts)


def fit(*batches: Crystals) -> DistanceRanges | None:
    found, start = [], 0
    for crystals in batches:
        found.append(contacts(build_graphs(crystals), start))
        start += len(crystals)
    return DistanceRanges.fit(found)


def unusual(ranges: DistanceRanges, crystals: Crystals) -> list[bool]:
    graph = build_graphs(crystals)
    return ranges.unusual(graph, nearest_edges(graph)).tolist()


# --- distances ------------------------------------------------------------------------------------------------------------


def test_a_range_is_that_of_the_training_set_and_a_tolerance() -> None:
    lattice = np.linspace(5.4, 6.0, 61)
    ranges = fit(rock_salts(lattice[:40]), rock_salts(lattice[40:]), rock_salts(np.linspace(4, 4.2, 30), 3, 9))
    assert ranges is not None
    assert ranges.pairs.tolist() == [[3, 9], [11, 17]]
    np.testing.assert_allclose(ranges.ranges, [[2.0, 2.1], [2.7, 3.0]], rtol=1e-6)
    # Each crystal against the ranges of the others: only the first and last of each series are outside of these.
    steps = [4.2 / (4.2 - 0.2 / 29), 1 + (0.2 / 29) / 4, 5.41 / 5.4, 6.0 / 5.99]
    expected = np.quantile(np.sort([*np.array(steps) - 1, *np.zeros(61 + 30 - 4)]), 0.995)
    assert ranges.tolerance == pytest.approx(max(expected, 0.01), abs=1e-6)
    edge = 1 + ranges.tolerance
    inside, outside = [5.4 / edge + 1e-4, 5.7, 6.0 * edge - 1e-4], [5.4 / edge - 1e-4, 6.0 * edge + 1e-4]
    assert unusual(ranges, rock_salts(np.array(inside))) == [False] * 3
    assert unusual(ranges, rock_salts(np.array(outside))) == [True] * 2


def test_the_tolerance_is_where_half_a_percent_of_left_out_crystals_are_unusual() -> None:
    random = np.random.default_rng(0)
    lattice = np.exp(random.normal(np.log(5.6), 0.03, 400))
    pairs = [(z, 17) for z in (3, 11, 19, 37)] * 100
    crystals = Crystals.concatenate([rock_salts(np.array([a]), *pair) for a, pair in zip(lattice, pairs, strict=True)])
    ranges = fit(crystals)
    assert ranges is not None
    excess = []
    for one, (a, pair) in enumerate(zip(lattice, pairs, strict=True)):
        others = [b for k, (b, other) in enumerate(zip(lattice, pairs, strict=True)) if other == pair and k != one]
        excess.append(max(min(others) / a, a / max(others), 1.0) - 1)
    assert ranges.tolerance == pytest.approx(max(np.quantile(excess, 0.995), 0.01), abs=1e-6)


def test_a_pair_that_training_did_not_have_is_not_judged() -> None:
    ranges = fit(rock_salts(np.array([5.5, 5.6])))
    assert ranges is not None
    assert unusual(ranges, rock_salts(np.array([3.0, 9.0]), 11, 9)) == [False, False]
    assert unusual(ranges, rock_salts(np.array([3.0, 9.0]))) == [True, True]


def test_copies_and_coincident_atoms_and_no_edges_at_all() -> None:
    copies = fit(rock_salts(np.full(5, 5.6)))
    assert copies is not None
    assert copies.tolerance == 0.01
    assert unusual(copies, rock_salts(np.array([5.6, 5.6 * 1.02]))) == [False, True]
    on_top = Crystals.from_arrays([[0.0, 0, 0], [0, 0, 0]], np.eye(3) * 5, [11, 17])
    ranges = fit(rock_salts(np.array([5.5, 5.6])), on_top)
    assert ranges is not None
    assert np.isfinite(ranges.tolerance)
    assert unusual(ranges, on_top) == [False]
    assert fit() is None
    alone = Crystals.from_arrays([[0.0, 0, 0]], np.eye(3) * 20, [11])
    assert fit(alone) is None


@pytest.mark.parametrize(
    ("pairs", "ranges", "tolerance"),
    [([[8, 1]], [[1, 2]], 0.1), ([[0, 1]], [[1, 2]], 0.1), ([[1, 8]], [[2, 1]], 0.1), ([[1, 8]], [[1, np.nan]], 0.1)],
)
def test_refuses_ranges_that_are_none(pairs, ranges, tolerance) -> None:
    with pytest.raises(ValueError, match="ranges must be"):
        DistanceRanges(np.array(pairs, np.uint8), np.array(ranges, np.float32), tolerance)
    with pytest.raises(ValueError, match="tolerance must be"):
        DistanceRanges(np.array([[1, 8]], np.uint8), np.array([[1, 2]], np.float32), np.nan)


# --- features -------------------------------------------------------------------------------------------------------------


def test_the_distance_is_that_of_mahalanobis() -> None:
    spatial = pytest.importorskip("scipy.spatial.distance")
    random = np.random.default_rng(1)
    mixing = random.normal(size=(6, 6))
    x = (random.normal(size=(3000, 6)) @ mixing + 5).astype(np.float32)
    cloud = FeatureCloud.fit([x[:1000], x[1000:]])
    assert cloud is not None
    covariance = np.cov(x.astype(np.float64).T)
    inverse = np.linalg.inv(covariance + 1e-3 * np.trace(covariance) / 6 * np.eye(6))
    expected = [spatial.mahalanobis(row, x.astype(np.float64).mean(axis=0), inverse) for row in x]
    np.testing.assert_allclose(cloud.distances(x), expected, rtol=1e-5)
    assert cloud.threshold == pytest.approx(np.quantile(expected, 0.995), rel=1e-5)
    assert cloud.far(x).mean() == pytest.approx(0.005, abs=0.0005)
    assert cloud.far(x + 100).all()


def test_a_distance_does_not_depend_on_the_batch() -> None:
    random = np.random.default_rng(2)
    x = random.normal(size=(500, 64)).astype(np.float32)
    cloud = FeatureCloud.fit([x])
    assert cloud is not None
    whole = cloud.distances(x)
    for size in (1, 2, 7, 100):
        parts = np.concatenate([cloud.distances(x[k : k + size]) for k in range(0, 500, size)])
        assert np.array_equal(parts, whole)


def test_features_that_do_not_vary() -> None:
    same = np.ones((10, 4), np.float32)
    cloud = FeatureCloud.fit([same])
    assert cloud is not None
    assert not cloud.far(same).any()
    assert cloud.far(same + 3).all()
    half = np.random.default_rng(3).normal(size=(50, 4)).astype(np.float32)
    half[:, 0] = 7.0
    cloud = FeatureCloud.fit([half])
    assert cloud is not None
    assert np.isfinite(cloud.distances(half)).all()
    assert FeatureCloud.fit([same[:1]]) is None
    assert FeatureCloud.fit([]) is None
    assert FeatureCloud.fit([np.full((5, 2), np.nan, np.float32)]) is None


def test_refuses_a_cloud_that_is_none() -> None:
    with pytest.raises(ValueError, match="whitening must be a matrix for 3 features"):
        FeatureCloud(np.zeros(3, np.float32), np.zeros((3, 2), np.float32), 1.0)
    with pytest.raises(ValueError, match="threshold must be"):
        FeatureCloud(np.zeros(3, np.float32), np.eye(3, dtype=np.float32), 0.0)


# --- models ---------------------------------------------------------------------------------------------------------------


def with_domain(model: PropertyModel, crystals: Crystals, elements: tuple[str, ...]) -> PropertyModel:
    graphs = [build_graphs(crystals[:2], model.spec), build_graphs(crystals[2:], model.spec)]
    return replace(model, domain=Domain.fit(model.network, graphs, elements))


@pytest.mark.parametrize("readout", ["head", "atom", "site"])
def test_one_pass_gives_both_values_and_features(make_model, three_crystals, readout) -> None:
    model = make_model([BULK, SHEAR], members=2, readout=readout)
    graph = build_graphs(three_crystals, model.spec)
    columns, features = model.predict_with_features(graph)
    assert np.array_equal(columns, model.predict_columns(graph))
    with torch.inference_mode():
        x = model.network.atom_features(graph.torch()).numpy()
    expected = [x[a:b].mean(axis=0) for a, b in zip(graph.graph_ptr[:-1], graph.graph_ptr[1:], strict=True)]
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-6)
    assert features.dtype == np.float32
    assert np.array_equal(features, pooled_features(model.network, graph))


def test_classes_too(make_model, three_crystals) -> None:
    model = make_model([METAL], classification=True)
    graph = build_graphs(three_crystals, model.spec)
    assert np.array_equal(model.predict_with_features(graph)[0], model.predict_columns(graph))


def test_a_file_keeps_the_domain_to_the_bit(make_model, three_crystals, tmp_path: Path) -> None:
    model = with_domain(make_model([BULK], members=2), three_crystals, ("Fe", "B", "N", "Cl", "Na"))
    loaded = load_model(model.save(tmp_path / "saved"))
    assert model.domain is not None
    assert loaded.domain is not None
    assert loaded.domain.elements == ("B", "N", "Na", "Cl", "Fe")
    (fields, arrays), (again, same) = model.domain.to_parts(), loaded.domain.to_parts()
    assert fields == again
    assert arrays.keys() == same.keys() == {"pairs", "ranges", "mean", "whitening"}
    assert all(arrays[name].tobytes() == same[name].tobytes() and arrays[name].dtype == same[name].dtype for name in arrays)
    assert np.array_equal(model.predict(three_crystals).values, loaded.predict(three_crystals).values)


def test_check_domain_says_what_is_unlike_the_training_set(make_model, three_crystals) -> None:
    model = with_domain(make_model([BULK]), three_crystals, ("B", "N", "Na", "Cl"))
    check = model.check_domain(three_crystals)
    assert check.unseen_element.tolist() == [False, False, True]
    assert not check.unusual_distance.any()
    assert check.outside.tolist()[2]
    stretched = Crystals.from_arrays(
        three_crystals.positions * 1.3, three_crystals.cell * 1.3, three_crystals.atomic_numbers, graph_ptr=[0, 2, 4, 5]
    )
    assert model.check_domain(stretched).unusual_distance.all()
    assert model.check_domain(three_crystals[:0]).outside.shape == (0,)
    with pytest.raises(ValueError, match="check_domain: made does not say what it was trained on"):
        make_model([BULK]).check_domain(three_crystals)


def test_checks_join_in_order() -> None:
    yes, no = np.ones(1, dtype=bool), np.zeros(1, dtype=bool)
    joined = DomainCheck.join([DomainCheck(yes, no, no), DomainCheck(no, yes, no), DomainCheck(no, no, no)])
    assert joined.unseen_element.tolist() == [True, False, False]
    assert joined.outside.tolist() == [True, True, False]
    assert DomainCheck.join([]).outside.shape == (0,)


def test_a_model_of_before_says_its_elements_in_its_card(make_model, three_crystals, tmp_path: Path) -> None:
    folder = make_model([BULK]).save(tmp_path / "old", card={"elements": ["Na", "Cl"]})
    domain = load_model(folder).domain
    assert domain is not None
    assert domain.elements == ("Na", "Cl")
    assert domain.distances is domain.features is None
    assert load_model(folder).check_domain(three_crystals).outside.tolist() == [False, True, True]
    assert load_model(make_model([BULK]).save(tmp_path / "silent")).domain is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found.update(domain=[1]), "cannot be read as a model"),
        (lambda found: found["domain"].update(elements=["Xx"]), "elements must be chemical symbols, got 'Xx'"),
        (lambda found: found["domain"]["features"].update(threshold="far"), "cannot be read as a model"),
        (lambda found: found["domain"].pop("features"), ""),
        (lambda found: found.pop("domain"), "has no place for domain.mean"),
    ],
)
def test_a_damaged_description_is_a_sentence(make_model, three_crystals, tmp_path: Path, change, message) -> None:
    folder = with_domain(make_model([BULK]), three_crystals, ("Na",)).save(tmp_path / "saved")
    found = json.loads((folder / "model.json").read_text())
    change(found)
    (folder / "model.json").write_text(json.dumps(found))
    if not message:
        domain = load_model(folder).domain
        assert domain is not None
        assert domain.features is None
        return
    with pytest.raises(ValueError, match=message):
        load_model(folder)


def test_elements_that_are_not_known_are_not_judged() -> None:
    assert Domain().unseen(np.array([1, 118])).tolist() == [False, False]
    assert Domain(("H",)).unseen(np.array([1, 2, 118])).tolist() == [False, True, True]


def test_fitting_is_the_same_however_the_graphs_are_divided(make_model, three_crystals) -> None:
    model = make_model([BULK])
    one = Domain.fit(model.network, [build_graphs(three_crystals, GraphSpec(5.0, 8))], ("Na",)).to_parts()
    three = Domain.fit(model.network, [build_graphs(c, GraphSpec(5.0, 8)) for c in three_crystals], ("Na",)).to_parts()
    assert one[0]["distances"] == three[0]["distances"]
    assert np.array_equal(one[1]["ranges"], three[1]["ranges"])
    np.testing.assert_allclose(one[1]["mean"], three[1]["mean"], rtol=1e-5, atol=1e-6)
