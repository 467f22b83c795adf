"""Small models of random weights: made here, as a file of the 2018 code, and as a folder of ours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch

from cgfast import Crystals, GraphSpec, load_model
from cgfast.models import PropertyModel, Target
from cgfast.nn import CGCNN, GaussianBasis

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

BULK = Target("bulk modulus", "log10(GPa)", "log10_bulk_modulus_GPa", data="log10(k_GPa)")
METAL = Target("probability of being a metal", "1", "metal_probability", ("nonmetal", "metal"), "gap<0.001")
SHEAR = Target("shear modulus", "log10(GPa)", "log10_shear_modulus_GPa")


@pytest.fixture
def element_table(tmp_path: Path) -> Path:
    path = tmp_path / "atoms.json"
    path.write_text(json.dumps({str(z): [float(z == k) for k in range(1, 101)] for z in range(1, 101)}))
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "own.pth.tar"
    state = CGCNN(torch.eye(100), n_conv=2, n_h=2, h_fea_len=16).state_dict()
    torch.save({"epoch": 3, "state_dict": state, "normalizer": {"mean": 1.5, "std": 2.0}}, path)
    return path


@pytest.fixture
def saved(tmp_path: Path, checkpoint: Path, element_table: Path) -> Path:
    return load_model(checkpoint, atom_init=element_table).save(tmp_path / "saved", card={"licence": "MIT"})


def random_network(seed: int, **options: object) -> CGCNN:
    """Random weights and batch norms that do something."""
    torch.manual_seed(seed)
    network = CGCNN(atom_fea_len=8, n_conv=2, h_fea_len=8, basis=GaussianBasis(), **options)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    return network


@pytest.fixture
def make_model() -> Callable[..., PropertyModel]:
    """make_model(targets, members=1, **options of the network): targets that are numbers have mean 1, 2, ... and std 0.5."""

    def make(targets: Sequence[Target] = (BULK, METAL, SHEAR), members: int = 1, **options: object) -> PropertyModel:
        outputs = {"n_out": sum(target.n_outputs for target in targets)} if "classification" not in options else {}
        networks = tuple(random_network(seed, **outputs, **options) for seed in range(members))
        mean = tuple(0.0 if target.classes else float(k) for k, target in enumerate(targets, start=1))
        std = tuple(1.0 if target.classes else 0.5 for target in targets)
        return PropertyModel("made", tuple(targets), networks, GraphSpec(5.0, 8), mean, std, sha256="", source="")

    return make


@pytest.fixture
def three_crystals() -> Crystals:
    """Rock salt, wurtzite-like BN in a skewed cell, and one atom of iron."""
    cells = [[[0, 2.82, 2.82], [2.82, 0, 2.82], [2.82, 2.82, 0]], [[2.5, 0, 0], [-1.2, 2.2, 0], [0.1, 0, 4.2]]]
    cells.append([[2.8, 0, 0], [0, 2.8, 0], [0, 0, 2.8]])
    positions = [[0.0, 0, 0], [2.82, 2.82, 2.82], [0, 0, 0], [0, 1.4, 0.3], [0, 0, 0]]
    return Crystals.from_arrays(positions, cells, [11, 17, 5, 7, 26], graph_ptr=[0, 2, 4, 5], ids=["salt", "bn", "fe"])
