"""Everything that decides how a model is trained, and the recipes that have a name."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Self

CONVOLUTIONS = ("CGConv", "CrystalGraphConv")
CHOICES: dict[str, tuple[str, ...]] = {
    "task": ("auto", "regression", "classification"),
    "conv": CONVOLUTIONS,
    "pooling": ("mean", "sum", "min", "max"),
    "readout": ("head", "atom", "site"),
    "activation": ("softplus", "silu"),
    "ties": ("canonical", "shell"),
    "missing": ("drop", "pad-2018"),
    "optimizer": ("adamw", "sgd"),
    "schedule": ("onecycle", "multistep", "plateau", "cosine", "constant"),
    "loss": ("l1", "mse", "huber"),
    "class_weights": ("none", "balanced"),
    "split": ("grouped", "random", "column", "fold"),
    "precision": ("32", "64", "bf16"),
    "device": ("cpu", "cuda"),
}
_AT_LEAST_ONE = ("atom_fea_len", "n_conv", "h_fea_len", "n_h", "epochs", "batch_size", "seeds", "processes")
_OPTIONAL_COUNTS = ("max_neighbors", "batch_atoms", "batch_edges", "patience", "threads")
_POSITIVE = ("cutoff", "step", "learning_rate", "gamma", "huber_delta")
_NOT_NEGATIVE = ("weight_decay", "momentum", "clip")
_MAX_SEED = 2**62  # torch takes 64 bits; the members of an ensemble count up


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """The options of a training, with the values of the preset "fast".

    Network: conv ("CGConv" is PyTorch Geometric's layer with batch norm over atoms, "CrystalGraphConv" the 2018 one with batch
    norm over edges too), atom_fea_len F, n_conv, h_fea_len, n_h, activation, pooling, readout ("head" of the pooled
    features, "atom": of every atom, then pooled, "site": linear contributions per atom).
    Graph: cutoff Å, max_neighbors (None: all), ties, missing; step Å between the Gaussians.
    Optimiser: optimizer, learning_rate, momentum (SGD), weight_decay, clip (largest gradient norm, 0: none), schedule,
    milestones (epochs) and gamma of "multistep", epochs, loss, huber_delta, average (decay of the running mean of weights, 0:
    none), patience (epochs without a better validation score before it stops), precision.
    Batches: batch_size crystals, or at most batch_atoms atoms, or batch_edges edges.
    Data: task, class_weights, split ("grouped": crystals of one reduced formula stay together), fractions of train, val and
    test, split_column, fold ("1/5").
    Repeats: seed, seeds (members of an ensemble), threads, processes (data-parallel, on the CPU), device ("cpu" or "cuda").

    Raises ValueError naming the option that is wrong.
    """

    task: str = "auto"
    conv: str = "CGConv"
    atom_fea_len: int = 64
    n_conv: int = 4
    h_fea_len: int = 128
    n_h: int = 2
    pooling: str = "mean"
    readout: str = "atom"
    activation: str = "silu"
    cutoff: float = 8.0
    max_neighbors: int | None = 12
    ties: str = "canonical"
    missing: str = "drop"
    step: float = 0.2
    optimizer: str = "adamw"
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 0.01
    clip: float = 0.0
    schedule: str = "onecycle"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    epochs: int = 300
    loss: str = "l1"
    huber_delta: float = 0.1
    average: float = 0.999
    patience: int | None = None
    precision: str = "32"
    batch_size: int = 128
    batch_atoms: int | None = None
    batch_edges: int | None = None
    class_weights: str = "none"
    split: str = "grouped"
    fractions: tuple[float, ...] = (0.8, 0.1, 0.1)
    split_column: str | None = None
    fold: str | None = None
    seed: int = 0
    seeds: int = 1
    threads: int | None = None
    processes: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                self._refuse(name, f"one of {', '.join(allowed)}")
        for name in _AT_LEAST_ONE:
            self._check_count(name, 1)
        for name in _OPTIONAL_COUNTS:
            if getattr(self, name) is not None:
                self._check_count(name, 1, " or None")
        self._check_count("seed", 0)
        if self.seed > _MAX_SEED:
            self._refuse("seed", f"at most {_MAX_SEED}")
        self._check_numbers()
        self._check_lists()
        self._check_together()

    def _check_numbers(self) -> None:
        for name in (*_POSITIVE, *_NOT_NEGATIVE, "average"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
                self._refuse(name, "a number")
            if value < 0 or (value == 0 and name in _POSITIVE):
                self._refuse(name, "a number above 0" if name in _POSITIVE else "a number of at least 0")
            if not isinstance(value, int | float):  # a number of NumPy, which JSON does not take
                object.__setattr__(self, name, float(value))
        if self.average >= 1:
            self._refuse("average", "a number from 0 to below 1")

    def _check_lists(self) -> None:
        for name, kind in (("milestones", Integral), ("fractions", Real)):
            values = getattr(self, name)
            values = values.tolist() if hasattr(values, "tolist") else values
            if not isinstance(values, list | tuple) or not all(isinstance(v, kind) and not isinstance(v, bool) for v in values):
                self._refuse(name, "whole numbers" if kind is Integral else "numbers")
            object.__setattr__(self, name, tuple(int(v) if kind is Integral else float(v) for v in values))
        if any(epoch < 1 for epoch in self.milestones):
            self._refuse("milestones", "epochs of at least 1")
        shares = self.fractions
        if len(shares) != 3 or not min(shares) >= 0 or not abs(sum(shares) - 1) < 1e-9 or 0 in shares[:2]:
            self._refuse("fractions", "three numbers for train, val and test that sum to 1, 0 for the test at most")

    def _check_together(self) -> None:
        if self.split_column is not None and (not isinstance(self.split_column, str) or not self.split_column):
            self._refuse("split_column", "the name of a column")
        if (self.split == "column") != (self.split_column is not None):
            self._refuse("split_column", "a column together with split='column'")
        if (self.split == "fold") != (self.fold is not None):
            self._refuse("fold", "K/N together with split='fold'")
        self.fold_numbers()
        if self.schedule == "multistep" and not self.milestones:
            self._refuse("milestones", "the epochs behind which the rate falls, together with schedule='multistep'")
        if self.batch_atoms is not None and self.batch_edges is not None:
            self._refuse("batch_edges", "either batch_atoms or batch_edges")
        if self.readout == "site" and self.pooling not in ("mean", "sum"):
            self._refuse("pooling", "mean or sum together with readout='site'")
        if self.missing == "pad-2018" and self.ties != "canonical":
            self._refuse("ties", "'canonical' together with missing='pad-2018'")
        if self.threads is not None and self.processes > self.threads:
            self._refuse("processes", f"at most threads = {self.threads}")
        if self.processes > 1 and self.device != "cpu":
            self._refuse("processes", f"1 together with device={self.device!r}")

    def _check_count(self, name: str, lowest: int, or_else: str = "") -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, Integral) or value < lowest:
            self._refuse(name, f"a whole number of at least {lowest}{or_else}")
        object.__setattr__(self, name, int(value))

    def _refuse(self, name: str, expected: str) -> None:
        msg = f"{name}: got {getattr(self, name)!r}, expected {expected}"
        raise ValueError(msg)

    def fold_numbers(self) -> tuple[int, int]:
        """(K, N) of fold "K/N", counted from 1; (0, 0) where there is none."""
        if self.fold is None:
            return 0, 0
        number, slash, of = str(self.fold).partition("/")
        if not (slash and number.strip().isdecimal() and of.strip().isdecimal()):
            self._refuse("fold", "K/N, for example 1/5")
        return int(number), int(of)

    def to_dict(self) -> dict[str, Any]:
        """The options as plain JSON types."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """The inverse of to_dict(). Raises ValueError for a name that is no option."""
        known = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(fields) - known)
        if unknown:
            msg = f"options: got {', '.join(unknown)}, expected some of {', '.join(sorted(known))}"
            raise ValueError(msg)
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
        return cls(**values)


# The recipe read from the published checkpoints of 2018.
_PAPER: dict[str, Any] = {
    "conv": "CrystalGraphConv",
    "atom_fea_len": 64,
    "n_conv": 4,
    "h_fea_len": 32,
    "n_h": 1,
    "readout": "head",
    "activation": "softplus",
    "missing": "pad-2018",
    "optimizer": "sgd",
    "learning_rate": 0.02,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "schedule": "multistep",
    "milestones": (800,),
    "gamma": 0.1,
    "epochs": 1000,
    "loss": "mse",
    "average": 0.0,
    "batch_size": 256,
    "split": "random",
    "fractions": (0.6, 0.2, 0.2),
}
# Where a published checkpoint differs: a word of the label -> options.
_PAPER_BY_WORD: dict[str, dict[str, Any]] = {
    "gap": {"learning_rate": 0.05},
    "modul": {"batch_size": 64},
    "poisson": {"batch_size": 64, "learning_rate": 0.01},
}
_PAPER_CLASSIFIER: dict[str, Any] = {"learning_rate": 0.01, "epochs": 500, "milestones": (400,)}
PRESETS = ("fast", "paper")


def preset_options(preset: str, labels: tuple[str, ...], *, classifier: bool, **changes: Any) -> TrainOptions:  # noqa: ANN401
    """The options of a preset for these labels, with the changes that are given (None is a value: max_neighbors=None is all).

    "fast": the best recipe we found for about an hour on two cores. "paper": Xie & Grossman 2018 as their checkpoints record
    it: SGD, batch 256 (moduli, Poisson 64), learning rate 0.02 (gap 0.05; Poisson, classifier 0.01), 1000 epochs with a
    tenth of the rate after 800 (classifier 500, 400).
    """
    if preset not in PRESETS:
        msg = f"preset: got {preset!r}, expected one of {', '.join(PRESETS)}"
        raise ValueError(msg)
    fields: dict[str, Any] = {}
    if preset == "paper":
        fields |= _PAPER
        for word, special in _PAPER_BY_WORD.items():
            if any(word in label.lower() for label in labels):
                fields |= special
        if classifier:
            fields |= _PAPER_CLASSIFIER
    if isinstance(changes.get("epochs"), Integral) and "milestones" not in changes and fields.get("milestones"):
        # A shorter or longer run keeps its shape.
        fields["milestones"] = tuple(max(round(m * changes["epochs"] / fields["epochs"]), 1) for m in fields["milestones"])
    return TrainOptions.from_dict(fields | changes)
