"""Options: each can be wrong, none silently, and the presets say what they promise."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from cgfast.training.options import CHOICES, PRESETS, TrainOptions, preset_options

COUNTS = ("atom_fea_len", "n_conv", "h_fea_len", "n_h", "epochs", "batch_size", "seeds", "processes")
OPTIONAL = ("max_neighbors", "batch_atoms", "batch_edges", "patience", "threads")
POSITIVE = ("cutoff", "step", "learning_rate", "gamma", "huber_delta")
NOT_NEGATIVE = ("weight_decay", "momentum", "clip", "average")
WRONG = [
    *[(name, value) for name in CHOICES for value in ("none of them", None, 3, "", ["CGConv"])],
    *[(name, value) for name in COUNTS for value in (0, -1, 1.5, "3", True, None, math.nan)],
    *[(name, value) for name in OPTIONAL for value in (0, -1, 1.5, "3", True, math.nan)],
    *[(name, value) for name in POSITIVE for value in (0, -1.0, math.nan, math.inf, "1", True, None)],
    *[(name, value) for name in NOT_NEGATIVE for value in (-1.0, math.nan, math.inf, "1", True, None)],
    *[("seed", value) for value in (-1, 1.5, "1", True, None, 2**63)],
    *[("average", value) for value in (1, 1.5)],
    *[("milestones", value) for value in (None, 3, "ab", (1.5,), (0,), ("1",), (-3,))],
    *[("fractions", value) for value in (None, 3, "abc", (0.8, 0.2), (0.5, 0.5, 0.5), (1.2, -0.1, -0.1), (0.8, 0.1, "0.1"))],
    *[("fractions", value) for value in ((math.nan,) * 3, (0.0, 0.5, 0.5), (0.9, 0.0, 0.1))],
    *[("split_column", value) for value in ("part",)],
    *[("fold", value) for value in ("1/5",)],
]


def test_every_option_is_wrong_once() -> None:
    assert {name for name, _ in WRONG} == {field.name for field in dataclasses.fields(TrainOptions)}


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_wrong(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^{name}: got .*, expected ") as error:
        TrainOptions(**{name: value})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"split": "column"}, "split_column: got None, expected a column together with split='column'"),
        ({"split": "column", "split_column": 3}, "split_column: got 3"),
        ({"split": "column", "split_column": ""}, "split_column: got ''"),
        ({"split": "fold"}, "fold: got None, expected K/N together"),
        ({"split": "fold", "fold": "1"}, "fold: got '1', expected K/N"),
        ({"split": "fold", "fold": "a/b"}, "fold: got 'a/b'"),
        ({"split": "fold", "fold": "1/²"}, "fold: got"),
        ({"split": "fold", "fold": "1/5/6"}, "fold: got"),
        ({"split": "fold", "fold": 1}, "fold: got 1"),
        ({"batch_atoms": 3, "batch_edges": 3}, "batch_edges: got 3, expected either"),
        ({"missing": "pad-2018", "ties": "shell"}, "ties: got 'shell', expected 'canonical'"),
        ({"threads": 1, "processes": 2}, "processes: got 2, expected at most threads = 1"),
        ({"schedule": "multistep"}, r"milestones: got \(\), expected the epochs .* together with schedule='multistep'"),
    ],
)
def test_wrong_together(changes: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TrainOptions(**changes)


def test_folds() -> None:
    assert TrainOptions().fold_numbers() == (0, 0)
    assert TrainOptions(split="fold", fold=" 2 / 5").fold_numbers() == (2, 5)


EVERY = TrainOptions(
    conv="CrystalGraphConv",
    max_neighbors=None,
    milestones=(3, 5),
    split="fold",
    fold="2/5",
    patience=3,
    batch_atoms=100,
    fractions=(0.7, 0.2, 0.1),
    seed=2**40,
)


@pytest.mark.parametrize("options", [TrainOptions(), EVERY])
def test_json(options: TrainOptions) -> None:
    text = json.dumps(options.to_dict(), allow_nan=False)
    found = TrainOptions.from_dict(json.loads(text))
    assert found == options
    assert {name: type(v) for name, v in found.to_dict().items()} == {name: type(v) for name, v in options.to_dict().items()}


def test_numbers_of_numpy_become_plain() -> None:
    options = TrainOptions(
        epochs=np.int64(3),
        learning_rate=np.float32(0.5),
        seed=np.uint8(1),
        batch_atoms=np.int32(7),
        milestones=np.array([1, 2]),
    )
    assert json.loads(json.dumps(options.to_dict()))["milestones"] == [1, 2]
    assert TrainOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match=r"options: got lr, rate, expected some of activation, .*weight_decay"):
        TrainOptions.from_dict({"rate": 1, "lr": 2})
    with pytest.raises(ValueError, match="options: got lr"):
        preset_options("fast", ("y",), classifier=False, lr=0.1)


def test_options_cannot_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainOptions().epochs = 3


def test_presets() -> None:
    assert PRESETS == ("fast", "paper")
    assert preset_options("fast", ("y",), classifier=False) == TrainOptions()
    with pytest.raises(ValueError, match="preset: got 'slow', expected one of fast, paper"):
        preset_options("slow", ("y",), classifier=False)


@pytest.mark.parametrize(
    ("label", "classifier", "rate", "batch", "epochs", "milestone"),
    [
        ("formation_energy_per_atom_eV", False, 0.02, 256, 1000, 800),
        ("fermi_energy_eV", False, 0.02, 256, 1000, 800),
        ("band_gap_eV", False, 0.05, 256, 1000, 800),
        ("log10(bulk_modulus_GPa)", False, 0.02, 64, 1000, 800),
        ("log10(Shear Modulus)", False, 0.02, 64, 1000, 800),
        ("poisson_ratio", False, 0.01, 64, 1000, 800),
        ("band_gap_eV<0.001", True, 0.01, 256, 500, 400),
        ("is_metal", True, 0.01, 256, 500, 400),
    ],
)
def test_the_paper(label: str, classifier: bool, rate: float, batch: int, epochs: int, milestone: int) -> None:
    """The recipe that the published checkpoints record."""
    found = preset_options("paper", (label,), classifier=classifier)
    assert (found.learning_rate, found.batch_size, found.epochs, found.milestones) == (rate, batch, epochs, (milestone,))
    assert (found.optimizer, found.momentum, found.weight_decay) == ("sgd", 0.9, 0)
    assert (found.schedule, found.gamma) == ("multistep", 0.1)
    assert (found.conv, found.n_conv, found.atom_fea_len, found.h_fea_len, found.n_h) == ("CrystalGraphConv", 4, 64, 32, 1)
    assert (found.cutoff, found.max_neighbors, found.ties, found.missing, found.step) == (8.0, 12, "canonical", "pad-2018", 0.2)
    assert (found.readout, found.activation, found.pooling, found.loss) == ("head", "softplus", "mean", "mse")
    assert (found.average, found.clip, found.patience, found.precision) == (0, 0, None, "32")


def test_changes() -> None:
    found = preset_options("paper", ("y",), classifier=False, epochs=100, learning_rate=0.5)
    assert (found.epochs, found.milestones, found.learning_rate, found.batch_size) == (100, (80,), 0.5, 256)
    assert preset_options("paper", ("y",), classifier=True, epochs=10).milestones == (8,)
    assert preset_options("paper", ("y",), classifier=False, epochs=10, milestones=(3, 7)).milestones == (3, 7)
    assert preset_options("paper", ("y",), classifier=False, epochs=1).epochs == 1
    assert preset_options("fast", ("y",), classifier=False, max_neighbors=None).max_neighbors is None  # all, not the preset's
    with pytest.raises(ValueError, match="max_neighbors: got 0, expected a whole number of at least 1 or None"):
        preset_options("fast", ("y",), classifier=False, max_neighbors=0)
    with pytest.raises(ValueError, match="batch_size: got None"):
        preset_options("paper", ("y",), classifier=False, batch_size=None)
    with pytest.raises(ValueError, match="epochs: got 'ten'"):
        preset_options("paper", ("y",), classifier=False, epochs="ten")
