"""`cgfast.compat.cgcnn` against a plain PyTorch re-statement of the 2018 network, driven as the 2018 scripts drive it."""

from __future__ import annotations

import copy
import csv
import json
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from cgfast import Crystals
from cgfast.compat.cgcnn import ConvLayer, CrystalGraphConvNet

from .network_2018 import CENTRES, Twin, TwinConv, collate, expand, rows_of

SIZES = {"atom_fea_len": 16, "n_conv": 3, "h_fea_len": 24, "n_h": 2}


@pytest.fixture(autouse=True)
def one_thread():
    """The tensors are tiny: torch's threads would only wait for each other, for minutes on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def samples(data):
    """The ten sample crystals as rows, by task."""
    pytest.importorskip("gemmi", reason="reads the CIFs")
    from cgfast import read

    folder = data / "cgcnn-2018"
    with (folder / "atom_init.json").open() as file:
        bits = json.load(file)
    table = torch.tensor([bits[str(z)] for z in range(1, len(bits) + 1)]).float()
    crystals = Crystals.concatenate(list(read(folder / "sample-regression")))
    out = {}
    for task in ("regression", "classification"):
        with (folder / f"sample-{task}" / "id_prop.csv").open() as file:
            targets = dict(csv.reader(file))
        out[task] = rows_of(crystals, table, [targets[str(key)] for key in crystals.ids])
    return out


def synthetic(seed=0):
    """A batch with padded places: two gases and two solids."""
    rng = np.random.default_rng(seed)
    sizes, edges = (3, 1, 5, 4), (30.0, 3.0, 4.5, 7.0)
    cells = np.stack([np.eye(3) * a for a in edges])
    positions = np.concatenate([rng.random((n, 3)) * min(a, 6.0) for n, a in zip(sizes, edges, strict=True)])
    numbers = rng.integers(1, 90, len(positions))
    crystals = Crystals.from_arrays(positions, cells, numbers, graph_ptr=np.cumsum([0, *sizes]))
    return collate(rows_of(crystals, torch.tensor(rng.random((100, 10))).float(), rng.random(4)))


def double(batch):
    return batch[0].double(), batch[1].double(), *batch[2:]


def twins(orig, k, classification=False, dtype=torch.float64, **sizes):
    """Our network and the twin, each initialised with the same seed."""
    made = []
    for kind in (CrystalGraphConvNet, Twin):
        torch.manual_seed(3)
        made.append(kind(orig, k, **(sizes or SIZES), classification=classification).to(dtype))
    return made


def train(model, rows, optimizer, steps, dtype, first=0):
    """The loop of the 2018 main.py: shuffled batches, normalised targets, MSE or NLL; the losses."""
    model.train()
    criterion = nn.NLLLoss() if model.classification else nn.MSELoss()
    targets = torch.stack([target for _, target in rows])
    losses = []
    for step in range(first, first + steps):
        order = np.random.default_rng(step).permutation(len(rows))[:6]
        batch, target = collate([rows[i] for i in order])
        atom_fea, nbr_fea, *indices = batch
        goal = target.view(-1).long() if model.classification else ((target - targets.mean()) / targets.std()).to(dtype)
        torch.manual_seed(step)  # the same dropout in both
        loss = criterion(model(atom_fea.to(dtype), nbr_fea.to(dtype), *indices), goal)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


def optimizer_of(name, model):
    if name == "SGD":
        return torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=0)
    return torch.optim.Adam(model.parameters(), 0.01, weight_decay=0)


@pytest.mark.parametrize("name", ["SGD", "Adam"])
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_training_gives_the_loss_curve_of_2018(samples, task, name):
    rows = samples[task]
    assert len(rows) == 10
    nets = twins(92, 41, task == "classification")
    ours, theirs = (train(net, rows, optimizer_of(name, net), 30, torch.float64) for net in nets)
    assert theirs[-5:].mean() < 0.8 * theirs[:5].mean(), "the twin must have learned"
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    # The gradient of a bias before a batch norm is rounding alone, and Adam divides it by its own size.
    tolerance = {"rtol": 1e-9, "atol": 1e-11} if name == "SGD" else {"rtol": 1e-7, "atol": 1e-6}
    for (key, a), b in zip(nets[0].state_dict().items(), nets[1].state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, **tolerance, msg=key)
    with torch.no_grad():
        batch = double(collate(rows)[0])
        torch.testing.assert_close(nets[0].eval()(*batch), nets[1].eval()(*batch), **tolerance)


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_float32_training_strays_no_further_than_the_code_of_2018(samples, task):
    rows, classification = samples[task], task == "classification"
    exact = twins(92, 41, classification)[1]
    nets = twins(92, 41, classification, torch.float32)
    true = train(exact, rows, optimizer_of("SGD", exact), 30, torch.float64)
    ours, theirs = (train(net, rows, optimizer_of("SGD", net), 30, torch.float32) for net in nets)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
    assert np.abs(ours - true).max() <= 4 * np.abs(theirs - true).max() + 1e-6


def test_a_checkpoint_resumes_in_the_other_class(samples, tmp_path):
    rows = samples["regression"]
    ours, theirs = twins(92, 41)
    optimizer = optimizer_of("Adam", ours)
    train(ours, rows, optimizer, 5, torch.float64)
    torch.save({"state_dict": ours.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "checkpoint.pth.tar")
    checkpoint = torch.load(tmp_path / "checkpoint.pth.tar", weights_only=True)
    theirs.load_state_dict(checkpoint["state_dict"])
    other = optimizer_of("Adam", theirs)
    other.load_state_dict(checkpoint["optimizer"])
    continued = [train(net, rows, opt, 5, torch.float64, first=5) for net, opt in ((ours, optimizer), (theirs, other))]
    np.testing.assert_allclose(*continued, rtol=1e-9)


def test_what_a_2018_script_saves_is_a_model(samples, data, tmp_path):
    from cgfast import load_model, read

    rows = samples["regression"]
    net = twins(92, 41, dtype=torch.float32)[0]
    train(net, rows, optimizer_of("SGD", net), 5, torch.float32)
    normalizer = {"mean": torch.tensor(5.5), "std": torch.tensor(3.0)}
    checkpoint = {"epoch": 1, "state_dict": net.state_dict(), "normalizer": normalizer, "args": {"task": "regression"}}
    torch.save(checkpoint, tmp_path / "model_best.pth.tar")
    folder = data / "cgcnn-2018"
    model = load_model(tmp_path / "model_best.pth.tar", atom_init=folder / "atom_init.json")
    predicted = model.predict(Crystals.concatenate(list(read(folder / "sample-regression")))).values
    with torch.no_grad():
        expected = net.eval()(*collate(rows)[0])[:, 0] * 3.0 + 5.5
    np.testing.assert_allclose(predicted, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{}, SIZES, {"n_conv": 1, "n_h": 3, "classification": True}])
def test_state_dicts_go_both_ways_with_the_published_class(options):
    original = pytest.importorskip("cgcnn2.model", reason="holds the 2018 class").CrystalGraphConvNet
    batch, _ = synthetic()
    assert float(batch[1].sum(-1).min()) < 0.1, "some places must be padded"
    nets = []
    for kind in (CrystalGraphConvNet, original):
        torch.manual_seed(0)
        nets.append(kind(10, len(CENTRES), **options))
    ours, theirs = nets
    assert [(k, v.shape) for k, v in ours.state_dict().items()] == [(k, v.shape) for k, v in theirs.state_dict().items()]
    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True))
    assert [k for k, _ in ours.named_parameters()] == [k for k, _ in theirs.named_parameters()]
    for source, sink in (nets, nets[::-1]):
        source.train()
        source(*batch)  # moves the running statistics
        sink.load_state_dict(source.state_dict(), strict=True)
        torch.testing.assert_close(ours.eval()(*batch), theirs.eval()(*batch)[0], rtol=1e-5, atol=1e-5)


def test_the_2018_weights_predict_the_2018_values(data):
    pq = pytest.importorskip("pyarrow.parquet")
    from cgfast.models.checkpoint_2018 import read_checkpoint_2018, read_element_table

    folder = data / "cgcnn-2018"
    table = read_element_table(folder / "atom_init.json")
    rows = pq.read_table(data / "reference-2018" / "graphs_mp.parquet").to_pylist()
    features = [
        (table[torch.tensor(r["atomic_numbers"]) - 1], expand(r["neighbor_distance_A"]), torch.tensor(r["neighbor_index"]))
        for r in rows
    ]
    batch, _ = collate([(f, torch.zeros(1)) for f in features])
    files = sorted((folder / "pre-trained").glob("*.pth.tar"))
    assert len(files) == 8
    for file in files:
        found = read_checkpoint_2018(file)
        net = CrystalGraphConvNet(92, 41, n_conv=4, h_fea_len=32, classification=found.classification)
        net.load_state_dict(found.state_dict, strict=True)
        with torch.no_grad():
            out = net.eval()(*batch)
        values = out.exp()[:, 1] if found.classification else out[:, 0] * found.std + found.mean
        name = file.name.removesuffix(".pth.tar")
        np.testing.assert_allclose(values, [row[name] for row in rows], atol=1e-4, err_msg=name)


@pytest.mark.parametrize("training", [False, True])
def test_layer_values_and_gradients(training):
    batch, _ = synthetic()
    _, nbr_fea, nbr_fea_idx, _ = double(batch)
    torch.manual_seed(0)
    ours = ConvLayer(6, len(CENTRES)).double().train(training)
    theirs = TwinConv(6, len(CENTRES)).double().train(training)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(len(nbr_fea_idx), 6, dtype=torch.float64)
    results = []
    for layer in (ours, theirs):
        inputs = [x.clone().requires_grad_(), nbr_fea.clone().requires_grad_()]
        out = layer(*inputs, nbr_fea_idx)
        weights = torch.cos(torch.arange(out.numel(), dtype=out.dtype)).view_as(out)
        results.append([out, *torch.autograd.grad((out * weights).sum(), [*inputs, *layer.parameters()])])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)
    for a, b in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_any_lists_of_atoms_are_pooled():
    batch, _ = synthetic()
    ours, theirs = twins(10, len(CENTRES))
    n_atoms = len(batch[0])
    lists = [torch.randperm(n_atoms, generator=torch.Generator().manual_seed(0)).split([6, 3, 4])]
    lists.append([torch.tensor([0, 0, 2, 5]), torch.arange(n_atoms - 4)])  # overlapping, with a repeated atom
    for crystal_atom_idx in lists:
        inputs = (*double(batch)[:3], crystal_atom_idx)
        torch.testing.assert_close(ours(*inputs), theirs(*inputs), rtol=1e-9, atol=1e-11)


def test_modules_copy_pickle_and_take_hooks():
    batch, _ = synthetic()
    net = twins(10, len(CENTRES), dtype=torch.float32)[0].eval()
    seen = []
    net.conv_to_fc_softplus.register_forward_hook(lambda *call: seen.append(call[2].shape))
    expected = net(*batch)
    assert seen == [(4, 16), (4, 24)]
    for other in (copy.deepcopy(net), CrystalGraphConvNet(10, len(CENTRES), **SIZES).eval()):
        other.load_state_dict(net.state_dict())
        assert torch.equal(other(*batch), expected)
    layer = pickle.loads(pickle.dumps(net.convs[0]))  # noqa: S301 - made above
    x = torch.randn(len(batch[0]), 16)
    assert torch.equal(layer(x, *batch[1:3]), net.convs[0](x, *batch[1:3]))


def test_bad_input_is_refused_by_name():
    (atoms, features, neighbors, crystals), _ = synthetic()
    net = CrystalGraphConvNet(10, len(CENTRES), **SIZES)
    far = neighbors.clone()
    far[2, 3] = len(atoms)
    for inputs, message in (
        (
            (atoms, features, neighbors, crystals[:-1]),
            r"crystal_atom_idx must hold 13 atoms in lists of at least one, got 3 lists",
        ),
        ((atoms, features, neighbors, [*crystals, crystals[0][:0]]), "crystal_atom_idx must hold 13 atoms .* got 5 lists of 0"),
        ((atoms, features, neighbors, [c + 1 for c in crystals]), "crystal_atom_idx must name atoms 0 to 12, got 1 to 13"),
        ((atoms, features, neighbors, [c.double() for c in crystals]), "crystal_atom_idx must be int64, got torch.float64"),
        ((atoms, features, far, crystals), "nbr_fea_idx must name atoms 0 to 12, got 0 to 13"),
        ((atoms, features, neighbors.int(), crystals), "nbr_fea_idx must be int64, got torch.int32"),
        ((atoms, features, neighbors[1:], crystals), r"nbr_fea_idx must have shape \(N, M\) with N = 13"),
        ((atoms, features[:, :, 1:], neighbors, crystals), r"nbr_fea must have shape \(N, M, K\) = \(13, 12, 41\), got"),
    ):
        with pytest.raises(ValueError, match=message):
            net(*inputs)
