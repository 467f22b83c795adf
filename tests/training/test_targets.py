"""Targets: their names and units as a user would have them, and a scale that knows the training part only."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cgfast.models import Target
from cgfast.training.source import Wanted
from cgfast.training.splits import TEST, TRAIN, VAL
from cgfast.training.targets import Scale, make_targets, training_scale
from tests.training.samples import labelled

NAN = math.nan


def data_of(*labels: tuple) -> object:
    """labels: (text, values, unit, classes, binary), the last three may be left out."""
    filled = [(*label, *("", None, False)[len(label) - 2 :]) for label in labels]
    return labelled(
        len(filled[0][1]),
        values=np.array([values for _, values, *_ in filled], float).T,
        labels=tuple(text for text, *_ in filled),
        units=tuple(unit for _, _, unit, _, _ in filled),
        classes=tuple(classes for *_, classes, _ in filled),
        binary=tuple(binary for *_, binary in filled),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gap", (None, "gap")),
        ("metal=gap<0.001", ("metal", "gap<0.001")),
        (" K = log10(bulk) ", ("K", "log10(bulk) ")),
        ("gap<0.001", (None, "gap<0.001")),
        ("x=a=b", ("x", "a=b")),
        ("=a", (None, "=a")),
    ],
)
def test_names(text: str, expected: tuple) -> None:
    wanted = Wanted.parse(text, log10=False)
    assert (*wanted.names, *wanted.labels) == expected


def test_logarithms_of_all() -> None:
    wanted = Wanted.parse(["a", "b=log10(c)", "d=e", "f<3"], log10=True)
    assert wanted == Wanted(("log10(a)", "log10(c)", "log10(e)", "f<3"), (None, "b", "d", None))
    # A column of any name but a logarithm or a question.
    wanted = Wanted.parse([" K (GPa) ", "k=f(x)", "log10( K (GPa) )"], log10=True)
    assert wanted.labels == ("log10(K (GPa))", "log10(f(x))", "log10( K (GPa) )")


@pytest.mark.parametrize("target", [None, [], "", ["a", " "], [3], 3])
def test_targets_that_are_none(target: object) -> None:
    with pytest.raises(ValueError, match="target: got"):
        Wanted.parse(target, log10=False)


@pytest.mark.parametrize(
    ("label", "said", "given", "unit"),
    [
        ("heat", "eV/cell", None, "eV/cell"),
        ("heat", "eV/cell", "meV", "meV"),
        ("heat", "", None, "unit of its training data"),
        ("gap_eV", "", None, "eV"),
        ("e_eV_per_atom", "", None, "eV/atom"),
        ("e_per_atom_eV", "", None, "eV/atom"),
        ("e_eV_per_cell", "", None, "eV/cell"),
        ("f_eV_per_A", "", None, "eV/Å"),
        ("phonon_per_cm", "", None, "1/cm"),
        ("T_K", "", None, "K"),
        ("gap_eV", "meV", None, "meV"),
        ("log10(K_GPa)", "", None, "log10(GPa)"),
        ("log10(K)", "GPa", None, "log10(GPa)"),
        ("log10(K)", "", "GPa", "log10(GPa)"),  # the unit of the column, not of its logarithm
        ("log10(K)", "", "log10(GPa)", "log10(GPa)"),
        ("log10(K)", "", None, "unit of its training data"),
    ],
)
def test_units(label: str, said: str, given: str | None, unit: str) -> None:
    (target,) = make_targets(data_of((label, [1, 2], said)), [None], "auto", [] if given is None else [given])
    assert target.unit == unit
    assert target.classes is None
    assert target.data == label


def test_columns() -> None:
    data = data_of(("heat_eV", [1, 2]), ("log10(K_GPa)", [1, 2]), ("z", [1, 2]))
    found = make_targets(data, [None, None, "new_z"], "auto")
    assert [target.column for target in found] == ["heat_eV", "log10_K_GPa", "new_z"]
    assert [target.property for target in found] == ["heat eV", "log10 K GPa", "new z"]
    assert [target.data for target in found] == ["heat_eV", "log10(K_GPa)", "z"]


def test_a_column_that_looks_like_a_formula() -> None:
    """It is no logarithm of anything: neither its name nor its unit change."""
    data = labelled(
        2, values=np.array([[1.0], [2.0]]), labels=("log10(K_GPa)",), units=("log10(GPa)",), literal=("log10(K_GPa)",)
    )
    (target,) = make_targets(data, [None], "auto")
    assert (target.column, target.unit, target.data) == ("log10(K_GPa)", "log10(GPa)", "log10(K_GPa)")


def test_classes() -> None:
    data = data_of(
        ("gap<0.001", [0, 1], "eV", None, True),
        ("stable", [0, 1], "", None, True),
        ("kind", [1, 0], "", ("ionic", "metallic"), True),
    )
    found = make_targets(data, ["metal", None, None], "auto")
    assert [target.column for target in found] == ["metal_probability", "stable_probability", "metallic_probability"]
    assert [target.classes for target in found] == [("not metal", "metal"), ("not stable", "stable"), ("ionic", "metallic")]
    assert {target.unit for target in found} == {"1"}
    assert [target.data for target in found] == ["gap<0.001", "stable", "kind"]


def test_tasks() -> None:
    data = data_of(("x", [0, 1, NAN]))
    assert make_targets(data, [None], "auto")[0].classes is None
    assert make_targets(data, [None], "classification")[0].classes == ("not x", "x")
    question = data_of(("x<1", [0, 1], "", None, True))
    assert make_targets(question, [None], "auto")[0].classes is not None
    assert make_targets(question, [None], "regression")[0].classes is None


def test_classes_that_are_none() -> None:
    with pytest.raises(ValueError, match=r"target x: got 3 different numbers \(0, 1, 2\), expected classes 0 and 1"):
        make_targets(data_of(("x", [0, 1, 2, 1])), [None], "classification")
    with pytest.raises(ValueError, match=r"\(0, 1, 2, 3, 4, \.\.\.\)"):
        make_targets(data_of(("x", range(9))), [None], "classification")
    with pytest.raises(ValueError, match="target kind: got text, expected numbers for task='regression'"):
        make_targets(data_of(("kind", [0, 1], "", ("a", "b"), True)), [None], "regression")


@pytest.mark.parametrize("names", [(None, None), ("a", "a"), ("y", "y_std")])
def test_columns_must_differ(names: tuple) -> None:
    """Also from the columns that an ensemble adds."""
    with pytest.raises(ValueError, match=r"expected each once|columns of their own"):
        make_targets(data_of(("y", [1, 2]), ("y", [1, 2])), names, "auto")


Y, Z = Target("y", "eV", "y", None, "y"), Target("z", "K", "z", None, "log10(z)")
C = Target("c", "1", "c_probability", ("no", "yes"), "c")


def test_the_scale_is_that_of_the_training_part() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(5, 3, (60, 3))
    values[:, 2] = rng.integers(0, 2, 60)
    values[rng.random((60, 3)) < 0.2] = NAN
    parts = rng.permutation(np.repeat([TRAIN, VAL, TEST, -1], 15)).astype(np.int8)
    scale = training_scale((Y, Z, C), values, parts)
    for t in (0, 1):
        known = [v for v, part in zip(values[:, t], parts, strict=True) if part == TRAIN and not math.isnan(v)]
        mean = math.fsum(known) / len(known)
        assert scale.mean[t] == pytest.approx(mean, rel=1e-12)
        assert scale.std[t] == pytest.approx(math.sqrt(math.fsum((v - mean) ** 2 for v in known) / len(known)), rel=1e-12)
    assert (scale.mean[2], scale.std[2]) == (0, 1)
    spoiled = np.where(parts[:, None] == TRAIN, values, 1e9 * rng.normal(size=values.shape))
    spoiled[:, 2] = values[:, 2]
    assert training_scale((Y, Z, C), spoiled, parts) == scale
    normal = scale.normalise(values)
    np.testing.assert_allclose(normal * scale.std + scale.mean, values, rtol=1e-12)
    np.testing.assert_array_equal(normal[:, 2], values[:, 2])


def test_the_scale_is_plain_numbers() -> None:
    scale = training_scale((Y,), np.array([[1.0], [2.0]]), np.zeros(2, np.int8))
    assert scale == Scale((1.5,), (0.5,))
    assert {type(value) for pair in scale for value in pair} == {float}


@pytest.mark.parametrize(
    ("target", "train", "said"),
    [
        (Y, [3.5] * 4, "target y: got the one value 3.5 in all 4 training rows"),
        (Y, [3.5, NAN, NAN, NAN], "target y: got the one value 3.5 in all 1 training rows"),
        (Y, [1e300, 2e300, 0, 0], "target y: got values from 0 to 2e\\+300, too large"),
        (Y, [1e-300, 2e-300, 0, 0], "target y: got values from 0 to 2e-300, .*too close to be told apart"),
        (Z, [NAN] * 4, r"target log10\(z\): got no label in the training part"),
        (C, [1.0] * 4, r"target c: got one class only \(yes\) in all 4 training rows"),
        (C, [0.0, 0.0, NAN, 0.0], r"target c: got one class only \(no\) in all 3 training rows"),
        (C, [NAN] * 4, "target c: got no label in the training part"),
    ],
)
def test_nothing_to_learn(target: Target, train: list, said: str) -> None:
    values = np.array([*train, 0.0, 1.0, 2.0])[:, None]
    parts = np.array([TRAIN] * 4 + [VAL, TEST, -1], np.int8)
    with pytest.raises(ValueError, match=said):
        training_scale((target,), values, parts)
