"""Our models as checkpoints of the 2018 code (`.pth.tar`), as far as that code can express them."""

from __future__ import annotations

import inspect
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgfast.basis import GaussianBasis
from cgfast.neighbors import GraphSpec

if TYPE_CHECKING:
    import os

    from torch import Tensor

    from cgfast.models.property_model import PropertyModel

SUFFIX_2018 = ".pth.tar"
ATOM_INIT_SUFFIX = "-atom_init.json"
BASIS_2018 = GaussianBasis()
_SIZES = ("nbr_fea_len", "atom_fea_len", "n_conv", "h_fea_len", "n_h", "classification", "n_classes", "n_out")
SPEC_2018 = GraphSpec(8.0, 12, "canonical", missing="pad-2018")  # what its predict.py takes, whatever the checkpoint says


def write_checkpoint_2018(model: PropertyModel, path: str | os.PathLike[str]) -> Path:
    """See PropertyModel.save_2018."""
    place = Path(path)
    if not place.name.endswith(SUFFIX_2018) or place.name == SUFFIX_2018:
        msg = f"path must end in {SUFFIX_2018}, got {place}"
        raise ValueError(msg)
    obstacle = _obstacle(model)
    if obstacle is not None:
        msg = f"{model.name} cannot be written for the 2018 code: {obstacle}"
        raise ValueError(msg)
    network = model.network
    is_classifier = model.target.classes is not None
    contents = {
        "epoch": 0,
        "state_dict": {name: tensor.detach().to("cpu", copy=True) for name, tensor in network.state_dict().items()},
        "best_mae_error": math.nan,  # its predict.py prints it
        "normalizer": {"mean": _number(model.mean[0]), "std": _number(model.std[0])},
        "args": {
            "task": "classification" if is_classifier else "regression",
            "atom_fea_len": network.embedding.out_features,
            "h_fea_len": network.h_fea_len,
            "n_conv": len(network.convs),
            "n_h": network.n_h,
            "n_out": 2 if is_classifier else 1,
        },
    }
    table = {str(z): row for z, row in enumerate(map(_plain, network.element_features.tolist()), start=1)}
    _write(place, contents, json.dumps(table))
    return place


def _number(value: float) -> Tensor:
    import torch

    return torch.tensor(value, dtype=torch.float64)


def _plain(row: list[float]) -> list[float]:
    """Whole numbers as such: a one-hot code is then as short as it reads in the 2018 file."""
    return [int(value) if value.is_integer() else value for value in row]


def _obstacle(model: PropertyModel) -> str | None:
    """What the 2018 code has no word for, if anything."""
    network = model.network
    if len(model.targets) > 1:
        return f"it predicts one property, not {len(model.targets)}"
    if len(model.networks) > 1:
        return f"it has one network, not an ensemble of {len(model.networks)}"
    defaults = inspect.signature(type(network)).parameters  # CGCNN's are the 2018 network's
    for name, value in network.architecture().items():
        if name not in _SIZES and value != defaults[name].default:
            return f"its {name} is {defaults[name].default}, not {value}"
    if model.target.n_outputs > 2:
        return f"it has two classes, not {model.target.n_outputs}"
    if network.basis != BASIS_2018:
        return f"its basis is {BASIS_2018}, not {network.basis}"
    if replace(model.spec, tolerance=SPEC_2018.tolerance) != SPEC_2018:  # without ties="shell" the tolerance says nothing
        return f"its graphs are {SPEC_2018}, not {model.spec}"
    return None


def _write(place: Path, contents: dict[str, Any], table: str) -> None:
    """The element features first: a checkpoint that is there has them."""
    import torch

    features = place.with_name(place.name.removesuffix(SUFFIX_2018) + ATOM_INIT_SUFFIX)
    partial = place.with_name(place.name + ".part")
    try:
        features.write_text(table + "\n", encoding="utf-8")
        torch.save(contents, partial)
        partial.replace(place)
    except (OSError, RuntimeError) as error:
        msg = f"path {place} cannot be written: {error}"
        raise ValueError(msg) from error
