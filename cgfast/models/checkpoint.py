"""Our own checkpoints: a folder with `model.safetensors` (weights) and `model.json` (everything that gives them meaning)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgfast.basis import GaussianBasis
from cgfast.models.catalogue import Target
from cgfast.models.property_model import PropertyModel
from cgfast.neighbors import GraphSpec

if TYPE_CHECKING:
    import os

    from cgfast.nn import CGCNN

WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"
FORMAT = "cgfast-model"
VERSION = 1
TABLE = "element_features"  # the one tensor beside the state dict


def is_checkpoint(path: Path) -> bool:
    """True for a folder that looks like a checkpoint of ours."""
    return path.is_dir() and (path / DESCRIPTION).is_file()


def write_checkpoint(model: PropertyModel, folder: str | os.PathLike[str], card: dict[str, Any]) -> Path:
    """Write `model` into `folder`; the description comes last, so a folder cut short is no checkpoint."""
    from safetensors.torch import save_file

    network = model.network
    if network.basis is None:
        msg = "a model without a distance basis cannot be saved: its edge features are unknown"
        raise ValueError(msg)
    description = {
        "format": FORMAT,
        "version": VERSION,
        "name": model.name,
        "target": model.target._asdict(),
        "normalizer": {"mean": model.mean, "std": model.std},
        "graph": model.spec.to_dict(),
        "basis": network.basis.to_dict(),
        "architecture": network.architecture(),
        "card": card,
    }
    place = Path(folder)
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    tensors[TABLE] = network.element_features.contiguous()
    try:
        text = json.dumps(description, indent=2, ensure_ascii=False)
        place.mkdir(parents=True, exist_ok=True)
        (place / DESCRIPTION).unlink(missing_ok=True)
        save_file(tensors, place / WEIGHTS)
        partial = place / (DESCRIPTION + ".part")
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(place / DESCRIPTION)
    except (OSError, TypeError) as error:
        msg = f"folder {place} cannot be written: {error}"
        raise ValueError(msg) from error
    return place


def read_checkpoint(folder: Path) -> PropertyModel:
    """Read a folder written by write_checkpoint(). Raises ValueError if something is missing, broken or does not fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        _check_version(description)
        tensors = load_file(folder / WEIGHTS)
        target = Target(**{**description["target"], "classes": _tuple(description["target"].get("classes"))})
        return PropertyModel(
            name=description["name"],
            target=target,
            network=_network(description, tensors),
            spec=GraphSpec.from_dict(description["graph"]),
            mean=float(description["normalizer"]["mean"]),
            std=float(description["normalizer"]["std"]),
            sha256=hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest(),
            source=str(folder),
            card=dict(description.get("card") or {}),
        )
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, AttributeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        msg = f"{folder} cannot be read as a model: {type(error).__name__}: {reason}"
        raise ValueError(msg) from error


def _check_version(description: dict[str, Any]) -> None:
    if description["format"] != FORMAT or description["version"] > VERSION:
        msg = f"format {description['format']} version {description['version']} is not {FORMAT} up to {VERSION}"
        raise ValueError(msg)


def _tuple(classes: list[str] | None) -> tuple[str, ...] | None:
    return None if classes is None else tuple(classes)


def _network(description: dict[str, Any], tensors: dict[str, Any]) -> CGCNN:
    from cgfast.nn import CGCNN

    table = tensors.pop(TABLE)
    network = CGCNN(table, basis=GaussianBasis.from_dict(description["basis"]), **description["architecture"])
    network.load_state_dict(tensors)
    return network.eval()
