"""Layers whose linears are used without being called: odd parameters, hooks, pruning."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from cgfast import CrystalGraph
from cgfast.nn import CGConv, CrystalGraphConv

N, F, K = 6, 8, 5
EDGES = torch.tensor([[1, 0, 3, 2, 5, 4, 0], [0, 0, 1, 2, 3, 4, 5]])


def sample():
    generator = torch.Generator().manual_seed(0)
    options = {"generator": generator, "dtype": torch.float64}
    return torch.randn(N, F, **options), torch.rand(EDGES.shape[1], K, **options)


def graph():
    return CrystalGraph.from_edges(EDGES, torch.ones(N, dtype=torch.int32))


def formula(conv, x, edge_attr):
    z = torch.cat([x[EDGES[1]], x[EDGES[0]], edge_attr], dim=1)
    gate, core = (nn.functional.linear(z, layer.weight, layer.bias) for layer in (conv.lin_f, conv.lin_s))
    messages = torch.sigmoid(gate) * nn.functional.softplus(core, threshold=40.0)
    return x + torch.zeros_like(x).index_add(0, EDGES[1], messages)


@pytest.mark.parametrize("missing", ["lin_f", "lin_s"])
def test_one_bias_only(missing):
    conv = CGConv(F, K).double()
    getattr(conv, missing).bias = None
    x, edge_attr = sample()
    x.requires_grad_()
    out, expected = conv(x, EDGES, edge_attr), formula(conv, x, edge_attr)
    torch.testing.assert_close(out, expected)
    inputs = [x, *conv.parameters()]
    for found, wanted in zip(torch.autograd.grad(out.sum(), inputs), torch.autograd.grad(expected.sum(), inputs), strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(
    "change",
    [
        lambda conv: setattr(conv, "lin_s", nn.Linear(3, F).double()),
        lambda conv: setattr(conv, "lin_s", nn.Linear(2 * F + K, 4).double()),
        lambda conv: setattr(conv.lin_s, "bias", nn.Parameter(torch.zeros(2).double())),
        lambda conv: setattr(conv.lin_s, "bias", nn.Parameter(torch.zeros(F))),
        lambda conv: conv.lin_s.float(),
    ],
)
@pytest.mark.parametrize("grad", [True, False])
def test_parameters_that_do_not_fit_are_named(change, grad):
    conv = CGConv(F, K).double()
    change(conv)
    x, edge_attr = sample()
    with torch.set_grad_enabled(grad), pytest.raises(ValueError, match=r"lin_s\.(weight|bias) must be"):
        conv(x, EDGES, edge_attr)


def test_parameters_of_the_2018_layer_that_do_not_fit():
    x, edge_attr = sample()
    conv = CrystalGraphConv(F, K).double()
    with pytest.raises(ValueError, match=r"x must have shape \(N, 8\), got \(6, 9\)"):
        conv(torch.cat([x, x[:, :1]], 1), graph(), edge_attr=edge_attr)
    conv.fc_full.bias = nn.Parameter(torch.zeros(1).double())
    for training in (True, False):
        with pytest.raises(ValueError, match="must have shapes"):
            conv.train(training)(x, graph(), edge_attr=edge_attr)


@pytest.mark.parametrize("norm", ["prune", "weight_norm"])
def test_hooks_that_make_the_weight_run(norm):
    conv, (x, edge_attr) = CGConv(F, K).double(), sample()
    if norm == "prune":
        prune.l1_unstructured(conv.lin_f, "weight", 0.5)
        made = lambda layer: layer.weight_orig * layer.weight_mask  # noqa: E731
    else:
        with pytest.warns(FutureWarning, match="weight_norm"):
            nn.utils.weight_norm(conv.lin_f)
        made = lambda layer: layer.weight_g * layer.weight_v / layer.weight_v.norm(dim=1, keepdim=True)  # noqa: E731
    for _ in range(2):  # two steps: the weight is made anew, with a graph of its own
        out = conv(x, EDGES, edge_attr)
        torch.testing.assert_close(conv.lin_f.weight, made(conv.lin_f))
        torch.testing.assert_close(out, formula(conv, x, edge_attr))
        out.sum().backward()
        with torch.no_grad():
            next(conv.lin_f.parameters()).mul_(1.5)
            for parameter in conv.lin_f.parameters():
                parameter.add_(0.1)


def test_hooks_that_want_a_call_are_refused():
    x, edge_attr = sample()
    for register in ("register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"):
        conv = CGConv(F, K).double()
        getattr(conv.lin_s, register)(lambda *_: None)
        with pytest.raises(TypeError, match="lin_s must have no hooks"):
            conv(x, EDGES, edge_attr)
    conv = CrystalGraphConv(F, K).double()
    conv.fc_full = nn.Sequential(conv.fc_full)
    with pytest.raises(TypeError, match=r"fc_full must be a torch\.nn\.Linear, .* got Sequential"):
        conv(x, graph(), edge_attr=edge_attr)


def test_evaluation_before_a_training_step_keeps_its_gradient():
    """As with torch's batch norm: the running statistics may change between forward and backward."""
    conv, (x, edge_attr) = CrystalGraphConv(F, K).double(), sample()
    conv.eval()
    expected = torch.autograd.grad(conv(x, graph(), edge_attr=edge_attr).sum(), conv.fc_full.weight)
    out = conv(x, graph(), edge_attr=edge_attr)
    conv.train()(x, graph(), edge_attr=edge_attr)
    torch.testing.assert_close(torch.autograd.grad(out.sum(), conv.fc_full.weight), expected)


def test_open_gate_with_an_odd_number_of_features():
    conv = CrystalGraphConv(3, K, gate=False).double()
    x, edge_attr = sample()
    x = x[:, :3]
    z = torch.cat([x[EDGES[1]], x[EDGES[0]], edge_attr], dim=1)
    messages = nn.functional.softplus(nn.functional.batch_norm(conv.fc_full(z), None, None, training=True), threshold=40.0)
    summed = torch.zeros_like(x).index_add(0, EDGES[1], messages)
    expected = nn.functional.softplus(x + nn.functional.batch_norm(summed, None, None, training=True))
    torch.testing.assert_close(conv(x, graph(), edge_attr=edge_attr), expected)


def test_meta_tensors():
    x, edge_attr = (t.to("meta") for t in sample())
    conv = CGConv(F, K).double().to("meta")
    assert conv(x, EDGES.to("meta"), edge_attr).shape == (N, F)
