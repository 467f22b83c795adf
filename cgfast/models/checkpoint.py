"""Our own checkpoints: a folder with `model.safetensors` (weights) and `model.json` (everything that gives them meaning)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cgfast.basis import GaussianBasis
from cgfast.models.build import build_network
from cgfast.models.catalogue import Target
from cgfast.models.domain import Domain
from cgfast.models.property_model import PropertyModel
from cgfast.models.targets import check_targets
from cgfast.neighbors import GraphSpec

if TYPE_CHECKING:
    import os

    from torch import Tensor

    from cgfast.nn import CGCNN

WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"
FORMAT = "cgfast-model"
VERSION = 1
TABLE = "element_features"  # the tensors beside the state dicts: this one, and those of the domain
DOMAIN = "domain."
MAX_MEMBERS = 1000


class Description(NamedTuple):
    """What `model.json` says. mean, std: one number per target. members: networks of the ensemble, 1 for a single model."""

    name: str
    targets: tuple[Target, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    members: int
    spec: GraphSpec
    basis: GaussianBasis
    architecture: dict[str, Any]
    card: dict[str, Any]
    domain: dict[str, Any] | None


def is_checkpoint(path: Path) -> bool:
    """True for a folder that looks like a checkpoint of ours."""
    return path.is_dir() and (path / DESCRIPTION).is_file()


def write_checkpoint(model: PropertyModel, folder: str | os.PathLike[str], card: dict[str, Any]) -> Path:
    """Write `model` into `folder`; the description comes last, so a folder cut short is no checkpoint."""
    from safetensors import SafetensorError
    from safetensors.torch import save

    network = model.networks[0]
    if network.basis is None:
        msg = "a model without a distance basis cannot be saved: its edge features are unknown"
        raise ValueError(msg)
    description = {
        "format": FORMAT,
        "version": VERSION,
        "name": model.name,
        "targets": [target._asdict() for target in model.targets],
        "normalizer": {"mean": list(model.mean), "std": list(model.std)},
        "members": len(model.networks),
        "graph": model.spec.to_dict(),
        "basis": network.basis.to_dict(),
        "architecture": network.architecture(),
        "card": card,
    }
    if model.domain is not None:
        description["domain"] = model.domain.to_parts()[0]
    place = Path(folder)
    try:
        text = json.dumps(description, indent=2, ensure_ascii=False)
        place.mkdir(parents=True, exist_ok=True)
        (place / DESCRIPTION).unlink(missing_ok=True)
        (place / WEIGHTS).write_bytes(save(_tensors(model)))  # save_file() would hide it from other users
        partial = place / (DESCRIPTION + ".part")
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(place / DESCRIPTION)
    except (OSError, TypeError, ValueError, SafetensorError) as error:
        msg = f"folder {place} cannot be written: {error}"
        raise ValueError(msg) from error
    return place


def read_checkpoint(folder: Path) -> PropertyModel:
    """Read a folder written by write_checkpoint(). Raises ValueError if something is missing, broken or does not fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    found = read_description(folder)
    try:
        contents = (folder / WEIGHTS).read_bytes()
        tensors = load(contents)
        domain = _domain(found, tensors)
        return PropertyModel(
            name=found.name,
            targets=found.targets,
            networks=_networks(found, tensors),
            spec=found.spec,
            mean=found.mean,
            std=found.std,
            sha256=hashlib.sha256(contents).hexdigest(),
            source=str(folder),
            card=found.card,
            domain=domain,
        )
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, AttributeError, SafetensorError) as error:
        raise _unreadable(folder, error) from error


def read_description(folder: Path) -> Description:
    """Read `model.json` of a checkpoint alone. Raises ValueError if it is missing, broken or says what cannot be."""
    try:
        found = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if found["format"] != FORMAT or found["version"] > VERSION:
            msg = f"format {found['format']} version {found['version']} is not {FORMAT} up to {VERSION}"
            raise ValueError(msg)
        targets = tuple(_target(fields) for fields in found["targets"])
        normalizer = [tuple(float(value) for value in found["normalizer"][key]) for key in ("mean", "std")]
        check_targets(targets, *normalizer)
        return Description(
            name=str(found["name"]),
            targets=targets,
            mean=normalizer[0],
            std=normalizer[1],
            members=_member_count(found["members"]),
            spec=GraphSpec.from_dict(found["graph"]),
            basis=GaussianBasis.from_dict(found["basis"]),
            architecture=dict(found["architecture"]),
            card=dict(found.get("card") or {}),
            domain=found.get("domain"),
        )
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _unreadable(folder, error) from error


def _unreadable(folder: Path, error: Exception) -> ValueError:
    reason = " ".join(str(error).split())[:300]
    if isinstance(error, KeyError):
        reason = f"{reason} is missing"
    return ValueError(f"{folder} cannot be read as a model: {type(error).__name__}: {reason}")


def _target(fields: dict[str, Any]) -> Target:
    classes = fields.get("classes")
    return Target(**{**fields, "classes": tuple(classes) if isinstance(classes, list) else classes})


def _member_count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_MEMBERS:
        msg = f"members must be a whole number from 1 to {MAX_MEMBERS}, got {value!r}"
        raise ValueError(msg)
    return value


def _prefix(member: int, members: int) -> str:
    return f"members.{member}." if members > 1 else ""


def _tensors(model: PropertyModel) -> dict[str, Tensor]:
    """All tensors of the model under the names they have in the file, each with memory of its own."""
    import torch

    tensors = {TABLE: model.networks[0].element_features}
    for member, network in enumerate(model.networks):
        prefix = _prefix(member, len(model.networks))
        tensors |= {prefix + name: tensor for name, tensor in network.state_dict().items()}
    if model.domain is not None:
        tensors |= {DOMAIN + name: torch.from_numpy(array) for name, array in model.domain.to_parts()[1].items()}
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}


def _domain(found: Description, tensors: dict[str, Tensor]) -> Domain | None:
    """The domain, whose tensors are taken out. A model of a version that kept none may say its elements in its card."""
    if found.domain is not None:
        names = [name for name in tensors if name.startswith(DOMAIN)]
        arrays = {name.removeprefix(DOMAIN): tensors.pop(name).numpy() for name in names}
        domain = Domain.from_parts(found.domain, arrays)
        width = found.architecture["atom_fea_len"]
        if domain.features is not None and len(domain.features.mean) != width:
            msg = f"the domain has {len(domain.features.mean)} features, but the network {width}"
            raise ValueError(msg)
        return domain
    elements = found.card.get("elements")
    return Domain(tuple(elements)) if isinstance(elements, list) and elements else None


def _networks(found: Description, tensors: dict[str, Tensor]) -> tuple[CGCNN, ...]:
    table = tensors.pop(TABLE)
    networks = []
    for member in range(found.members):
        prefix = _prefix(member, found.members)
        state = {name.removeprefix(prefix): tensors.pop(name) for name in list(tensors) if name.startswith(prefix)}
        where = f"member {member}" if prefix else "the network"
        networks.append(build_network(table, state, basis=found.basis, architecture=found.architecture, what=where))
    if tensors:
        msg = f"tensors of no member: {', '.join(sorted(tensors)[:5])}"
        raise ValueError(msg)
    return tuple(networks)
