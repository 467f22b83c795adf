"""Rows of a linear layer, and predictions, that do not depend on what shares their batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cgfast import Crystals, build_graphs
from cgfast.neighbors import GraphSpec
from cgfast.nn import CGCNN, GaussianBasis
from cgfast.nn.row_linear import row_linear


@pytest.mark.parametrize(("n_in", "n_out"), [(64, 128), (37, 5), (128, 1)])
def test_rows_have_the_bits_they_have_alone(n_in, n_out):
    torch.manual_seed(1)
    layer = torch.nn.Linear(n_in, n_out)
    x = torch.randn(333, n_in)
    with torch.inference_mode():
        whole = row_linear(layer, x)
        for size in (1, 7, 100):
            assert torch.equal(torch.cat([row_linear(layer, part) for part in x.split(size)]), whole)
    exact = x.double() @ layer.weight.detach().double().T + layer.bias.detach().double()
    assert torch.allclose(whole.double(), exact, atol=1e-5)


def test_with_gradients_the_layer_itself_is_called():
    layer = torch.nn.Linear(8, 3)
    x = torch.randn(5, 8, requires_grad=True)
    out = row_linear(layer, x)
    assert torch.equal(out, layer(x))
    out.sum().backward()
    assert torch.allclose(x.grad, layer.weight.sum(0).expand(5, 8))


def test_hooks_and_other_layers_are_heard():
    layer = torch.nn.Linear(4, 2)
    layer.register_forward_hook(lambda _module, _inputs, output: 2 * output)
    x = torch.randn(3, 4)
    with torch.inference_mode():
        assert torch.equal(row_linear(layer, x), layer(x))
        assert torch.equal(row_linear(torch.nn.Identity(), x), x)


@pytest.mark.parametrize(
    "options", [{}, {"readout": "atom"}, {"readout": "site"}, {"classification": True}, {"conv": "CGConv"}]
)
def test_a_prediction_does_not_depend_on_its_batch(options):
    torch.manual_seed(2)
    network = CGCNN(n_conv=2, n_h=2, h_fea_len=32, basis=GaussianBasis(), **options).eval()
    random = np.random.default_rng(3)
    sizes = random.integers(1, 12, 61)
    crystals = Crystals.from_arrays(
        random.uniform(0, 5, (sizes.sum(), 3)),
        np.eye(3) * random.uniform(4, 7, (61, 1, 1)),
        random.integers(1, 90, sizes.sum()),
        graph_ptr=np.cumsum([0, *sizes]),
    )

    def predict(part: Crystals) -> np.ndarray:
        with torch.inference_mode():
            return np.asarray(network(build_graphs(part, GraphSpec(6.0, 12), threads=1)))

    whole = predict(crystals)
    for size in (1, 3, 17):
        parts = [predict(crystals[start : start + size]) for start in range(0, 61, size)]
        assert np.array_equal(np.concatenate(parts), whole)
