"""The checkpoints of the 2018 code (`.pth.tar`): read without ever executing what is in them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from cgfast.basis import GaussianBasis
from cgfast.neighbors import GraphSpec

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

STEP_2018 = 0.2  # Å between Gaussian centres; the 2018 code fixes it, so the number of centres tells the radius
NEIGHBORS_2018 = 12


class Checkpoint2018(NamedTuple):
    """What a 2018 checkpoint says about its network."""

    state_dict: dict[str, Tensor]
    mean: float
    std: float
    classification: bool
    n_bits: int
    basis: GaussianBasis
    spec: GraphSpec
    atom_fea_len: int
    n_conv: int
    h_fea_len: int
    n_h: int
    n_out: int
    epoch: int | None


def read_checkpoint_2018(path: Path) -> Checkpoint2018:
    """Read a checkpoint of the 2018 code. Raises ValueError if the file is not one, is cut short, or is not data only."""
    contents = _load_weights_only(path)
    state = contents.get("state_dict") if isinstance(contents, dict) else None
    if not isinstance(state, dict) or "embedding.weight" not in state or "convs.0.fc_full.weight" not in state:
        keys = sorted(map(str, contents))[:8] if isinstance(contents, dict) else type(contents).__name__
        msg = f"{path} is no checkpoint of the 2018 CGCNN code: expected a state_dict with embedding and convs, got {keys}"
        raise ValueError(msg)
    try:
        return _describe(state, contents)
    except (KeyError, AttributeError, TypeError, IndexError, ValueError) as error:
        msg = f"{path} does not fit the 2018 CGCNN network: {type(error).__name__} {error}"
        raise ValueError(msg) from None


def read_element_table(path: Path) -> Tensor:
    """(n_elements, n_bits) features, row Z - 1 for element Z, from a JSON object {"Z": [numbers]}, e.g. atom_init.json.

    Raises ValueError unless the keys are 1 to n without a gap and all rows are equally long.
    """
    import torch

    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        numbers = sorted(int(z) for z in table)
        rows = [[float(bit) for bit in table[str(z)]] for z in numbers]
    except FileNotFoundError:
        msg = f"atom_init: there is no file {path}"
        raise ValueError(msg) from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        msg = f'atom_init {path} must be JSON like {{"1": [0, 1, ...], ...}}: {error}'
        raise ValueError(msg) from None
    lengths = {len(row) for row in rows}
    if not rows or numbers != list(range(1, len(numbers) + 1)) or len(lengths) != 1:
        msg = f"atom_init {path} must have elements 1 to n with equally many numbers, got {len(rows)} rows of {sorted(lengths)}"
        raise ValueError(msg)
    return torch.tensor(rows, dtype=torch.float32)


def _load_weights_only(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    import numpy as np
    import torch
    from numpy._core.multiarray import scalar

    # The classifier's validation score is a NumPy scalar, pickled under NumPy's old module name.
    allowed: list[Any] = [scalar, (scalar, "numpy.core.multiarray.scalar"), np.dtype, np.dtypes.Float64DType]
    try:
        with torch.serialization.safe_globals(allowed):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch raises whatever the broken bytes lead to; all of it means one thing to the caller.
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if "weights only load failed" in first_line.lower():  # torch's advice would be to run what is in the file
            first_line = "its bytes are no pickled data"
        reason = "it holds more than data, and loading never runs code" if _is_unsafe(error) else first_line
        msg = f"{path} cannot be read as a checkpoint ({path.stat().st_size} bytes): {reason}"
        raise ValueError(msg) from error


def _is_unsafe(error: Exception) -> bool:
    return re.search(r"Unsupported (global|class)|not an allowed global|call reduce", str(error)) is not None


def _describe(state: dict[str, Tensor], contents: dict[str, Any]) -> Checkpoint2018:
    atom_fea_len, n_bits = state["embedding.weight"].shape
    n_conv = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("convs."))
    n_basis = state["convs.0.fc_full.weight"].shape[1] - 2 * atom_fea_len
    n_out, h_fea_len = state["fc_out.weight"].shape
    normalizer = contents.get("normalizer") or {}
    args = contents.get("args") or {}
    task = args.get("task") if isinstance(args, dict) else None
    classification = task == "classification" if task else n_out > 1
    cutoff = round((n_basis - 1) * STEP_2018, 6)
    return Checkpoint2018(
        state_dict=state,
        mean=float(normalizer.get("mean", 0.0)),
        std=float(normalizer.get("std", 1.0)),
        classification=classification,
        n_bits=n_bits,
        basis=GaussianBasis(0.0, cutoff, STEP_2018, STEP_2018),
        spec=GraphSpec(cutoff, NEIGHBORS_2018, "canonical", missing="pad-2018"),
        atom_fea_len=atom_fea_len,
        n_conv=n_conv,
        h_fea_len=h_fea_len,
        n_h=1 + len({name.split(".")[1] for name in state if name.startswith("fcs.")}),
        n_out=n_out,
        epoch=contents.get("epoch"),
    )
