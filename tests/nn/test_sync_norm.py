"""SyncBatchNorm1d: two processes with the parts of a batch against one process with all of it and torch's BatchNorm1d."""

from __future__ import annotations

import copy
import io
import os
import pickle
import subprocess
import sys

import pytest
import torch
from torch import distributed, nn

from cgfast.nn import SyncBatchNorm1d, convert_sync_batchnorm
from tests.nn import sync_processes
from tests.nn.sync_processes import CASES, PARTS, RUNS, WIDTH, WORLD, batch_of, model_of, slope_penalty, train_step, two_steps

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors: threads that wait for each other on a busy machine take a hundred times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What the two processes found."""
    if not (distributed.is_available() and distributed.is_gloo_available()):
        pytest.skip("this torch has no gloo")
    folder = tmp_path_factory.mktemp("ranks")
    loopback = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **loopback}
    logs = [(folder / f"{rank}.log").open("w+") for rank in range(WORLD)]
    command = [sys.executable, "-P", "-W", "error", sync_processes.__file__, str(folder)]
    processes = [
        subprocess.Popen([*command, str(rank)], stdout=log, stderr=log, env=environment) for rank, log in enumerate(logs)
    ]
    try:
        codes = [process.wait(timeout=120) for process in processes]
    finally:
        for process, log in zip(processes, logs, strict=True):
            process.kill()
            process.wait()
            log.close()
    assert codes == [0] * WORLD, "\n".join((folder / f"{rank}.log").read_text() for rank in range(WORLD))
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(WORLD)]


def assert_near(found, expected, tolerance, name):
    scale = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * scale, msg=lambda text: f"{name}: {text}")


@pytest.mark.parametrize(("name", "parts", "dtype"), RUNS)
def test_step_of_two_processes_is_that_of_one(ranks, name, parts, dtype):
    crystals = [each for part in PARTS[parts] for each in part]
    joint = train_step(model_of(name, dtype), crystals, len(crystals), dtype, weighted=CASES[name].weighted)
    found = [rank[name, parts, dtype] for rank in ranks]
    assert [rank.keys() for rank in found] == [joint.keys()] * WORLD
    for key, expected in joint["rows"].items():
        assert_near(torch.cat([rank["rows"][key] for rank in found]), expected, TOLERANCE[dtype], key)
    assert found[0]["parameters"].keys() == joint["parameters"].keys()
    for key, expected in joint["parameters"].items():
        assert_near(found[0]["parameters"][key], expected, TOLERANCE[dtype], key)
    for key, expected in joint["buffers"].items():
        assert torch.equal(found[0]["buffers"][key], found[1]["buffers"][key]), key
        assert_near(found[0]["buffers"][key], expected, TOLERANCE[dtype], key)


@pytest.mark.parametrize("parts", ["unequal", "edgeless"])
def test_distributed_data_parallel(ranks, parts):
    crystals = [each for part in PARTS[parts] for each in part]
    joint = two_steps(model_of("cgcnn", "float64"), crystals, len(crystals), "float64")
    for rank in ranks:
        assert rank["ddp", parts].keys() == joint.keys()
        for key, expected in joint.items():
            assert_near(rank["ddp", parts][key], expected, 1e-10, key)


def test_derivatives_of_derivatives(ranks):
    x, _ = batch_of([each for part in PARTS["unequal"] for each in part], "float64")
    joint = slope_penalty(model_of("norm", "float64").bn, x)
    assert_near(torch.cat([rank["twice"]["x"] for rank in ranks]), joint["x"], 1e-10, "x")
    assert_near(sum(rank["twice"]["weight"] for rank in ranks), joint["weight"], 1e-10, "weight")


def test_torch_sync_norm_over_edges(ranks):
    for rank in ranks:
        for key, expected in ranks[0]["conv2018", "unequal", "float64"]["buffers"].items():
            assert torch.equal(rank["torch_sync"][key], expected), key


def test_refusals_reach_every_process(ranks):
    for rank in ranks:
        assert rank["one_row"].startswith("Expected more than 1 value per channel when training, got 1")
        assert rank["one_edge"].startswith("Expected more than 1 edge per channel when training")
        assert rank["one_edge"].endswith("got 1 in all processes")
        assert "weights of edges that sum to more than 1), got 0." in rank["light"]
        assert rank["shape"] == "expected 2D or 3D input (got 1D input)"


def test_half_precision_and_evaluation_among_processes(ranks):
    assert [rank["half"] for rank in ranks] == [torch.bfloat16] * WORLD
    assert ranks[0]["eval"]
    assert ranks[0]["untracked"]


@pytest.mark.parametrize("name", ["norm", "norm_3d", "norm_average", "conv2018", "cgconv", "cgcnn"])
def test_one_process_is_batch_norm(name):
    crystals = PARTS["unequal"][0]
    plain = model_of(name, "float32")
    ours = convert_sync_batchnorm(copy.deepcopy(plain))
    expected, found = (train_step(model, crystals, len(crystals), "float32") for model in (plain, ours))
    for kind, tensors in expected.items():
        for key, tensor in tensors.items():
            assert torch.equal(found[kind][key], tensor), key
    x, graph = batch_of(crystals, "float32")
    assert torch.equal(ours.eval()(x, graph), plain.eval()(x, graph))


def test_world_of_one_process_is_batch_norm():
    x = torch.randn(9, WIDTH)
    ours, plain = SyncBatchNorm1d(WIDTH), nn.BatchNorm1d(WIDTH)
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        assert torch.equal(ours(x), plain(x))
    finally:
        distributed.destroy_process_group()
    assert torch.equal(ours.running_var, plain.running_var)


def test_gradcheck():
    norm = SyncBatchNorm1d(3).double()
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(norm, x)
    assert torch.autograd.gradgradcheck(norm, x)


def test_single_row_is_torchs_error():
    with pytest.raises(ValueError, match="Expected more than 1 value per channel when training"):
        SyncBatchNorm1d(2)(torch.ones(1, 2))


def test_conversion_is_in_place_and_keeps_all_else():
    model = model_of("cgcnn", "float32").eval()
    norms = [each for each in model.modules() if isinstance(each, nn.BatchNorm1d)]
    calls = []
    norms[1].register_forward_hook(lambda *_: calls.append(1))
    before = [id(each) for each in (*model.modules(), *model.parameters(), *model.buffers())]
    for _ in range(2):
        assert convert_sync_batchnorm(model) is model
        assert [id(each) for each in (*model.modules(), *model.parameters(), *model.buffers())] == before
        assert [type(norm) for norm in norms] == [SyncBatchNorm1d] * 4
        assert not any(norm.training for norm in norms)
    model(*batch_of(PARTS["unequal"][0], "float32"))
    norms[1](torch.ones(2, WIDTH))
    assert calls


def test_conversion_of_norms():
    class Own(nn.BatchNorm1d):
        pass

    norm = nn.BatchNorm1d(3, eps=0.1, momentum=None)
    assert convert_sync_batchnorm(norm) is norm
    assert type(norm) is SyncBatchNorm1d
    assert (norm.eps, norm.momentum, norm.num_features) == (0.1, None, 3)
    others = nn.ModuleList([Own(3), nn.BatchNorm2d(3), nn.SyncBatchNorm(3), nn.Linear(3, 3)])
    assert [type(each) for each in convert_sync_batchnorm(others)] == [Own, nn.BatchNorm2d, nn.SyncBatchNorm, nn.Linear]


def test_state_dict_both_ways():
    plain, ours = model_of("conv2018", "float32"), convert_sync_batchnorm(model_of("conv2018", "float32"))
    train_step(plain, PARTS["unequal"][0], 3, "float32")
    assert plain.state_dict().keys() == ours.state_dict().keys()
    ours.load_state_dict(plain.state_dict())
    x, graph = batch_of(PARTS["unequal"][1], "float32")
    assert torch.equal(ours.eval()(x, graph), plain.eval()(x, graph))
    fresh = model_of("conv2018", "float32")
    fresh.load_state_dict(ours.state_dict())
    assert torch.equal(fresh.eval()(x, graph), plain(x, graph))


@pytest.mark.parametrize("how", ["copy", "pickle", "torch"])
def test_copies(how):
    norm = convert_sync_batchnorm(nn.Sequential(nn.BatchNorm1d(WIDTH)))
    norm(torch.randn(5, WIDTH))
    if how == "torch":
        file = io.BytesIO()
        torch.save(norm, file)
        file.seek(0)
        twin = torch.load(file, weights_only=False)
    else:
        twin = copy.deepcopy(norm) if how == "copy" else pickle.loads(pickle.dumps(norm))  # noqa: S301 - our own
    assert type(twin[0]) is SyncBatchNorm1d
    x = torch.randn(5, WIDTH)
    assert torch.equal(twin(x), norm(x))
    twin[0].running_mean.zero_()
    assert norm[0].running_mean.abs().min() > 0
