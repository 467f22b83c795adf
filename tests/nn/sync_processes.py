"""The two processes of test_sync_norm.py: this file as a program is one of them, and runs all cases.

python sync_processes.py FOLDER RANK leaves what it found in FOLDER/RANK.pt.
"""

from __future__ import annotations

import copy
import sys
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from cgfast.graph import CrystalGraph
from cgfast.nn import CGCNN, CGConv, CrystalGraphConv, GaussianBasis, SyncBatchNorm1d, convert_sync_batchnorm

WORLD = 2
WIDTH = 6
BASIS = GaussianBasis(0.0, 6.0, 0.5, 0.6)
DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Crystal(NamedTuple):
    """A random crystal of its own numbering."""

    edges: np.ndarray  # (2, E)
    distances: np.ndarray
    weights: np.ndarray
    x: np.ndarray  # (N, WIDTH)
    target: float


def crystal(n_atoms, n_edges, seed):
    rng = np.random.default_rng(seed)
    edges = rng.integers(0, max(n_atoms, 1), (2, n_edges))
    numbers = rng.uniform(0.5, 7.0, n_edges), rng.uniform(0.2, 1.0, n_edges)
    # A mean that differs between crystals by more than the spread: the parts are no samples of one distribution.
    return Crystal(edges, *numbers, rng.normal(2 * seed, 1.0, (n_atoms, WIDTH)), rng.normal())


# The crystals of each process. The joint batch is all of them in order.
PARTS = {
    "unequal": ([crystal(7, 40, 0), crystal(4, 30, 1), crystal(9, 50, 2)], [crystal(5, 12, 3)]),
    "edgeless": ([crystal(7, 40, 0), crystal(4, 30, 1)], [crystal(5, 0, 3)]),
    "edgeless_first": ([crystal(5, 0, 3)], [crystal(7, 40, 0), crystal(4, 30, 1)]),
    "empty": ([crystal(7, 40, 0), crystal(4, 30, 1)], [crystal(0, 0, 3)]),
    "one_each": ([crystal(1, 1, 0)], [crystal(1, 1, 3)]),
    "no_edges": ([crystal(6, 0, 0)], [crystal(5, 0, 3)]),
}


class Norm(nn.Module):
    """A bare norm of atoms' features."""

    def __init__(self, *, stacked=False, **options):
        super().__init__()
        self.bn = nn.BatchNorm1d(3 if stacked else WIDTH, **options)
        self.stacked = stacked

    def forward(self, x, _graph):
        return self.bn(x.view(-1, 3, 2)).reshape(-1, WIDTH) if self.stacked else self.bn(x)


class Conv(nn.Module):
    """A convolution, with Gaussians of distances for features of edges."""

    def __init__(self, layer, **norm_options):
        super().__init__()
        self.conv = layer
        for name, child in list(layer.named_children()):
            if norm_options and isinstance(child, nn.BatchNorm1d):
                setattr(layer, name, nn.BatchNorm1d(child.num_features, **norm_options))

    def forward(self, x, graph):
        return self.conv(x, graph, basis=BASIS)


class Network(nn.Module):
    """CGCNN, which makes its features itself."""

    def __init__(self, **options):
        super().__init__()
        self.network = CGCNN(None, BASIS.n_centres, WIDTH, 2, 5, basis=BASIS, **options)

    def forward(self, _x, graph):
        return self.network(graph)


class Case(NamedTuple):
    make: object
    parts: tuple[str, ...]
    weighted: bool = False


LAYERS = ("unequal", "edgeless", "edgeless_first", "empty", "one_each", "no_edges")
CASES = {
    "norm": Case(Norm, ("unequal", "empty", "one_each")),
    "norm_3d": Case(lambda: Norm(stacked=True), ("unequal", "empty")),
    "norm_plain": Case(lambda: Norm(affine=False, track_running_stats=False), ("unequal", "empty")),
    "norm_average": Case(lambda: Norm(momentum=None), ("unequal",)),
    "conv2018": Case(lambda: Conv(CrystalGraphConv(WIDTH, BASIS.n_centres)), LAYERS),
    "conv2018_weighted": Case(lambda: Conv(CrystalGraphConv(WIDTH, BASIS.n_centres)), ("unequal", "edgeless"), weighted=True),
    "conv2018_ungated": Case(lambda: Conv(CrystalGraphConv(WIDTH, BASIS.n_centres, gate=False)), ("unequal", "edgeless")),
    "conv2018_plain": Case(
        lambda: Conv(CrystalGraphConv(WIDTH, BASIS.n_centres), affine=False, track_running_stats=False), ("unequal", "edgeless")
    ),
    "cgconv": Case(lambda: Conv(CGConv(WIDTH, BASIS.n_centres, batch_norm=True)), LAYERS),
    "cgconv_mean": Case(lambda: Conv(CGConv(WIDTH, BASIS.n_centres, "mean", batch_norm=True)), ("unequal",)),
    "cgcnn": Case(Network, ("unequal", "edgeless", "edgeless_first")),
    "cgcnn_cgconv": Case(lambda: Network(conv="CGConv"), ("unequal", "edgeless")),
}
RUNS = [
    (name, parts, dtype)
    for name, case in CASES.items()
    for parts in case.parts
    for dtype in DTYPES
    # A convolution's norm of two rows: gradients in float32 are off by 1e-4 in one process, too.
    if name == "norm" or (parts, dtype) != ("one_each", "float32")
]


def model_of(name, dtype):
    """The same parameters and buffers in each process."""
    torch.manual_seed(0)
    model = CASES[name].make()
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm1d) and norm.affine:
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias)
    return model.to(DTYPES[dtype])


def batch_of(crystals, dtype, *, weighted=False):
    """Features of atoms and the graph of all crystals; its distances and weights want gradients, too."""
    starts = np.cumsum([0] + [len(c.x) for c in crystals])
    edges = np.concatenate([c.edges + start for c, start in zip(crystals, starts[:-1], strict=True)], axis=1)
    values = {"distances": [c.distances for c in crystals]} | (
        {"edge_weight": [c.weights for c in crystals]} if weighted else {}
    )
    tensors = {name: torch.from_numpy(np.concatenate(each)).to(DTYPES[dtype]) for name, each in values.items()}
    for tensor in tensors.values():
        tensor.requires_grad_()
    numbers = torch.from_numpy(np.concatenate([np.arange(len(c.x)) % 7 + 1 for c in crystals]))
    graph = CrystalGraph.from_edges(torch.from_numpy(edges), numbers, graph_ptr=torch.from_numpy(starts), **tensors)
    return torch.from_numpy(np.concatenate([c.x for c in crystals])).to(DTYPES[dtype]).requires_grad_(), graph


def loss_of(out, crystals, n_crystals):
    """This part's share of the joint loss, by its number of crystals; for features of atoms a sum, which adds up anyway."""
    if out.shape[1] == 1:
        targets = torch.tensor([[c.target] for c in crystals], dtype=out.dtype)
        return nn.functional.mse_loss(out, targets) * (len(crystals) / n_crystals)
    slopes = np.concatenate([np.cos(3 * c.x) for c in crystals])
    return (out * torch.from_numpy(slopes).to(out.dtype)).sum() + 0.1 * (out**2).sum()


def train_step(model, crystals, n_crystals, dtype, *, weighted=False):
    """Outputs, gradients and buffers of a step; those of parameters summed over the processes."""
    x, graph = batch_of(crystals, dtype, weighted=weighted)
    given = {"x": x, "distances": graph.distances} | ({"edge_weight": graph.edge_weight} if weighted else {})
    for tensor in given.values():
        tensor.retain_grad()
    out = model(x, graph)
    loss_of(out, crystals, n_crystals).backward()
    parameters = {f"grad of {name}": p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    if distributed.is_initialized():
        for gradient in parameters.values():
            distributed.all_reduce(gradient)
    rows = {"out": out.detach()} | {f"grad of {name}": t.grad for name, t in given.items() if t.grad is not None}
    return {"rows": rows, "parameters": parameters, "buffers": {name: b.clone() for name, b in model.named_buffers()}}


def two_steps(model, crystals, n_crystals, dtype, *, scale=1.0):
    """Parameters and buffers after two steps of gradient descent."""
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    for _ in range(2):
        x, graph = batch_of(crystals, dtype)
        optimizer.zero_grad()
        (loss_of(model(x, graph), crystals, n_crystals) * scale).backward()
        optimizer.step()
    return {name.removeprefix("module."): value.clone() for name, value in model.state_dict().items()}


def slope_penalty(norm, x):
    """Gradients of the squared slope: derivatives of derivatives."""
    out = norm(x)
    (slope,) = torch.autograd.grad((torch.sin(out) * torch.arange(1, WIDTH + 1)).sum(), x, create_graph=True)
    return dict(zip(("x", "weight"), torch.autograd.grad((slope**2).sum(), (x, norm.weight)), strict=True))


def message_of(function, *arguments):
    try:
        function(*arguments)
    except ValueError as error:
        return str(error)
    return "no error"


def special_runs(rank):
    """What is no training step; the processes must meet in the same order here, too."""
    found = {}
    for parts in ("unequal", "edgeless"):
        n_crystals = sum(map(len, PARTS[parts]))
        # Many buckets: their all-reduces begin between those of the norms.
        network = DistributedDataParallel(convert_sync_batchnorm(model_of("cgcnn", "float64")), bucket_cap_mb=1e-4)
        found["ddp", parts] = two_steps(network, PARTS[parts][rank], n_crystals, "float64", scale=WORLD)
    x, graph = batch_of(PARTS["unequal"][rank], "float64")
    found["twice"] = slope_penalty(convert_sync_batchnorm(model_of("norm", "float64").bn), x)
    torch_sync = model_of("conv2018", "float64")
    convert_sync_batchnorm(torch_sync.conv.bn2)
    torch_sync.conv.bn1 = nn.SyncBatchNorm.convert_sync_batchnorm(torch_sync.conv.bn1)
    found["torch_sync"] = train_step(torch_sync, PARTS["unequal"][rank], 4, "float64")["buffers"]
    one_edge, weighted = model_of("conv2018", "float32"), model_of("conv2018", "float32")
    convert_sync_batchnorm(nn.ModuleList([one_edge, weighted]))
    found["one_edge"] = message_of(one_edge, *batch_of([crystal(3, rank, 0)], "float32"))
    found["light"] = message_of(weighted, *batch_of([crystal(3, rank, 0)], "float32", weighted=True))
    found["one_row"] = message_of(SyncBatchNorm1d(2), torch.ones(rank, 2))
    found["shape"] = message_of(SyncBatchNorm1d(2), torch.ones(2))
    mixed = SyncBatchNorm1d(WIDTH)
    found["half"] = mixed(x.bfloat16()).dtype
    if rank == 0:  # the other would be waited for for ever
        model = model_of("conv2018", "float64").eval()
        found["eval"] = torch.equal(model(x, graph), convert_sync_batchnorm(copy.deepcopy(model))(x, graph))
        untracked = nn.BatchNorm1d(WIDTH, track_running_stats=False).double().eval()
        found["untracked"] = torch.equal(untracked(x), convert_sync_batchnorm(copy.deepcopy(untracked))(x))
    return found


def run_rank(rank, folder):
    """The program of one process: all cases, their results into a file."""
    torch.set_num_threads(1)
    limit = timedelta(seconds=30)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORLD, timeout=limit)
    found = {}
    for name, parts, dtype in RUNS:
        model = convert_sync_batchnorm(model_of(name, dtype))
        n_crystals = sum(map(len, PARTS[parts]))
        weighted = CASES[name].weighted
        found[name, parts, dtype] = train_step(model, PARTS[parts][rank], n_crystals, dtype, weighted=weighted)
    found |= special_runs(rank)
    torch.save(found, f"{folder}/{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    run_rank(int(sys.argv[2]), sys.argv[1])
