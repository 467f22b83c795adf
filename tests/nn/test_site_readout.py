"""Site contributions add up to the prediction."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from cgfast import CrystalGraph
from cgfast.nn import CGCNN, GaussianBasis
from cgfast.nn.site_readout import SiteReadout

PTR = torch.tensor([0, 3, 3, 4, 9])


def readout_and_x(reduce="mean", dtype=torch.float64):
    torch.manual_seed(0)
    return SiteReadout(6, reduce).to(dtype), torch.randn(9, 6, dtype=dtype)


@pytest.mark.parametrize("reduce", ["mean", "sum"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_contributions_add_up_to_the_prediction(reduce, dtype):
    readout, x = readout_and_x(reduce, dtype)
    sites, out = readout.contributions(x), readout(x, PTR)
    assert sites.shape == (9, 1)
    assert out.shape == (4, 1)
    for b, (low, high) in enumerate(itertools.pairwise(PTR.tolist())):
        part = sites[low:high, 0].detach().double().numpy()
        total = float(np.sum(part)) / (max(len(part), 1) if reduce == "mean" else 1)
        assert out[b].item() == pytest.approx(total, rel=4 * torch.finfo(dtype).eps, abs=4 * torch.finfo(dtype).eps)
    expected = x.double() @ readout.lin.weight.double().T + readout.lin.bias.double()
    torch.testing.assert_close(sites.double(), expected, rtol=1e-6, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(readout(x, PTR), out, rtol=1e-6, atol=1e-6)


def test_a_site_counts_by_itself():
    """What one atom contributes depends on no other atom, and the mean is linear in it."""
    readout, x = readout_and_x()
    moved = x.clone()
    moved[5] += 1.0
    change = readout.contributions(moved) - readout.contributions(x)
    assert change.nonzero()[:, 0].tolist() == [5]
    difference = readout(moved, PTR) - readout(x, PTR)
    torch.testing.assert_close(difference[3, 0], change[5, 0] / 5, rtol=1e-12, atol=1e-12)
    assert difference[:3].abs().max() == 0


@pytest.mark.parametrize("reduce", ["mean", "sum"])
def test_gradients(reduce):
    readout, x = readout_and_x(reduce)

    def call(x, weight, bias):
        return torch.func.functional_call(readout, {"lin.weight": weight, "lin.bias": bias}, (x, PTR)).square()

    inputs = [t.detach().clone().requires_grad_() for t in (x, readout.lin.weight, readout.lin.bias)]
    assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradgradcheck(call, inputs)


def test_no_atoms():
    readout, x = readout_and_x()
    assert readout(x[:0], torch.tensor([0])).shape == (0, 1)
    assert readout(x[:0], torch.tensor([0, 0])).tolist() == [[0.0]]


def test_bad_input_is_refused_by_name():
    readout, x = readout_and_x()
    assert repr(readout).startswith("SiteReadout(\n  reduce='mean'")
    for call, message in (
        (lambda: SiteReadout(0), "channels must be a whole number of at least 1, got 0"),
        (lambda: SiteReadout(4, "max"), "reduce must be one of mean, sum, got 'max'"),
        (lambda: readout(x[:, 1:], PTR), r"x must have shape \(N, 6\), got \(9, 5\)"),
        (lambda: readout(x, PTR[:-1]), "graph_ptr must end with the number of atoms"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("pooling", ["mean", "sum"])
def test_network_with_site_contributions(pooling):
    rng = np.random.default_rng(0)
    edges = np.stack([np.arange(9), [1, 2, 0, 3, 5, 6, 7, 8, 4]])
    graph = CrystalGraph.from_edges(edges, rng.integers(1, 90, 9), graph_ptr=[0, 3, 4, 9], distances=rng.uniform(1, 5, 9))
    network = CGCNN(n_conv=2, pooling=pooling, readout="site", basis=GaussianBasis()).double()
    network(graph).sum().backward()  # moves the running statistics
    assert all(p.grad is not None for p in network.parameters())
    with torch.no_grad():
        sites, out = network.eval().site_contributions(graph), network(graph)
    expected = [getattr(part, pooling)() for part in sites[:, 0].split([3, 1, 5])]
    torch.testing.assert_close(out[:, 0], torch.stack(expected), rtol=1e-12, atol=1e-12)
    again = CGCNN(**network.architecture(), basis=GaussianBasis()).double().eval()
    again.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.equal(again(graph), out)


def test_network_refuses_by_name():
    graph = CrystalGraph.from_edges([[0], [0]], [6], distances=[1.0])
    for call, message in (
        (lambda: CGCNN(readout="atoms"), "readout must be one of head, atom, site"),
        (lambda: CGCNN(readout="site", classification=True), "got 'site' of classes"),
        (lambda: CGCNN(readout="site", pooling="max"), "reduce must be one of mean, sum, got 'max'"),
        (lambda: CGCNN(basis=GaussianBasis()).site_contributions(graph), "readout='site', got readout='head'"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
