"""Training on forces and stress: derivatives of second order against finite differences, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cgfast import Crystals, GraphSpec, build_graphs
from cgfast.models.forces import energy_and_gradients
from cgfast.nn import CGCNN, GaussianBasis

STENCIL = {-2: 1 / 12, -1: -2 / 3, 1: 2 / 3, 2: -1 / 12}  # of a first derivative
STEP = 1e-3


@pytest.fixture(autouse=True)
def one_thread():
    """Many small calls: on few cores torch's threads would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sample(spec: GraphSpec):
    """(graph, positions, cell) of three crystals, the last one skewed."""
    rng = np.random.default_rng(4)
    skews = np.array([np.eye(3), np.eye(3), [[1, 0, 0], [1.3, 1, 0], [-0.8, 0.6, 1]]])
    cells = skews @ (np.eye(3) * 4 + rng.normal(size=(3, 3, 3)) * 0.3)
    counts = [2, 3, 4]
    positions = np.concatenate([rng.random((n, 3)) @ cell for n, cell in zip(counts, cells, strict=True)])
    crystals = Crystals.from_arrays(positions, cells, rng.integers(1, 90, 9), graph_ptr=[0, 2, 5, 9])
    return build_graphs(crystals, spec).torch(), torch.tensor(positions), torch.tensor(cells)


def network(*, training: bool) -> CGCNN:
    torch.manual_seed(2)
    made = CGCNN(atom_fea_len=6, n_conv=2, h_fea_len=6, basis=GaussianBasis()).double()
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    return made.train(training)


def loss(found) -> torch.Tensor:
    """Of energies, forces and strain, none of them at its minimum."""
    targets = [torch.linspace(-1, 1, part.numel(), dtype=torch.float64).reshape(part.shape) for part in found]
    return sum((part - target).square().mean() for part, target in zip(found, targets, strict=True))


SPECS = {
    "nearest": GraphSpec(8.0, 6),
    "shell": GraphSpec(8.0, 6, "shell"),
    "pad-2018": GraphSpec(3.2, 9, missing="pad-2018"),
}


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_gradient_of_a_loss_on_forces(spec, training):
    """Along a random direction of every parameter tensor."""
    model, (graph, positions, cell) = network(training=training), sample(spec)
    if spec.missing == "pad-2018":
        assert (graph.distances > spec.cutoff).any()
    value = loss(energy_and_gradients(model, graph, positions, cell, create_graph=True))
    value.backward()
    generator = torch.Generator().manual_seed(0)
    slopes, expected = [], []
    for parameter in model.parameters():
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        start = parameter.detach().clone()
        direction /= direction.norm()
        slope = 0.0
        for step, factor in STENCIL.items():
            parameter.data.copy_(start + step * STEP * direction)
            slope += factor / STEP * loss(energy_and_gradients(model, graph, positions, cell)).item()
        parameter.data.copy_(start)
        expected.append(slope)
        slopes.append(float((parameter.grad * direction).sum()) if parameter.grad is not None else 0.0)
    scale = np.abs(expected).max()
    assert np.count_nonzero(np.abs(expected) > 1e-3 * scale) > 8
    np.testing.assert_allclose(slopes, expected, rtol=1e-6, atol=1e-8 * scale)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_hessian_and_stress_slopes(spec):
    """Forces and strain derivatives differentiated once more, by positions and by cell."""
    model, (graph, positions, cell) = network(training=False).requires_grad_(requires_grad=False), sample(spec)
    inputs = (positions.requires_grad_(), cell.requires_grad_())
    generator = torch.Generator().manual_seed(1)
    found = energy_and_gradients(model, graph, *inputs, create_graph=True)
    weights = [torch.randn(part.shape, generator=generator, dtype=torch.float64) for part in found]

    def mixed(results) -> torch.Tensor:
        return sum((w * part).sum() for w, part in zip(weights, results, strict=True))

    slopes = torch.autograd.grad(mixed(found), inputs)
    for k, (tensor, slope) in enumerate(zip(inputs, slopes, strict=True)):
        direction = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        direction /= direction.norm()
        numerical = 0.0
        for step, factor in STENCIL.items():
            shifted = [t.detach() for t in inputs]
            shifted[k] = shifted[k] + step * STEP * direction
            numerical += factor / STEP * mixed(energy_and_gradients(model, graph, *shifted)).item()
        assert float((slope * direction).sum()) == pytest.approx(numerical, rel=1e-6)


@pytest.mark.parametrize("kind", ["frozen", "eval", "train"])
def test_create_graph_changes_no_value(kind):
    """The distances reach every layer twice, directly and through the layer before."""
    model, (graph, positions, cell) = network(training=kind == "train"), sample(SPECS["shell"])
    model.requires_grad_(requires_grad=kind != "frozen")
    plain, followed = (energy_and_gradients(model, graph, positions, cell, create_graph=flag) for flag in (False, True))
    for a, b in zip(plain, followed, strict=True):
        torch.testing.assert_close(a, b.detach(), rtol=1e-9, atol=1e-11)


def test_parameters_keep_their_gradients():
    model, (graph, positions, cell) = network(training=False), sample(SPECS["nearest"])
    found = energy_and_gradients(model, graph, positions, cell, create_graph=True)
    assert all(p.grad is None for p in model.parameters())
    assert not positions.requires_grad
    assert found.energies.requires_grad
    assert found.forces.requires_grad
    assert found.strain.requires_grad


def test_a_network_learns_forces():
    """Those of springs between neighbours, with the loop that people write."""
    graph, positions, cell = sample(SPECS["nearest"])

    def springs(graph) -> torch.Tensor:
        crystals = graph.distances.split((6 * torch.diff(graph.graph_ptr)).tolist())
        return torch.stack([0.05 * (part - 3).square().sum() for part in crystals])

    target = energy_and_gradients(springs, graph, positions, cell, per_atom=False)
    model = network(training=False)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(40):
        found = energy_and_gradients(model, graph, positions, cell, create_graph=True)
        error = (found.forces - target.forces).square().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        losses.append(error.item())
    assert losses[-1] < 0.02 * losses[0]
