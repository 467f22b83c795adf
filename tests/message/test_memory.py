"""Nothing of the size of edges times features is kept for the backward, nor made by torch on the way there and back."""

from __future__ import annotations

import pytest
import torch
from samples import BASIS, KERNEL, TERMS, TWIN, floats_of, message_problem, moments_problem, pointers, with_leaves
from torch.utils._python_dispatch import TorchDispatchMode

from cgfast.graph import CrystalGraph
from cgfast.nn import CrystalGraphConv

N_ROWS, DEGREE, N_FEATURES, N_BASIS = 50, 60, 64, 41
N_EDGES = N_ROWS * DEGREE
LIMIT = N_EDGES * N_FEATURES  # (E, F); E x K is smaller, and (N, 2F) far smaller


class Largest(TorchDispatchMode):
    """Notes the largest result of any operator."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        results = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(results):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return results


def largest(compute):
    """(largest tensor saved for the backward, largest tensor made) while compute() gives a number and that its gradients."""
    saved = [0]

    def pack(tensor):
        saved.append(tensor.numel())
        return tensor

    with Largest() as made:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            value = compute()
        value.backward()
    assert len(saved) > 1  # the hooks work
    return max(saved), made.elements


def problem_of(term, make):
    row_ptr = pointers([DEGREE] * N_ROWS)
    return with_leaves(
        make(term, row_ptr=row_ptr, n_sources=N_ROWS, n_features=N_FEATURES, n_basis=N_BASIS, dtype=torch.float32)
    )


@pytest.mark.parametrize("term", TERMS)
def test_gated_message(term):
    problem = problem_of(term, message_problem)
    assert max(largest(lambda: KERNEL.gated_message(**problem).sum())) < LIMIT
    assert all(problem[name].grad is not None for name in floats_of(problem))
    assert largest(lambda: TWIN.gated_message(**problem).sum())[0] >= LIMIT  # this test can fail


@pytest.mark.parametrize("term", TERMS)
def test_edge_moments(term):
    problem = problem_of(term, moments_problem)
    assert max(largest(lambda: sum(m.sum() for m in KERNEL.edge_moments(**problem)))) < LIMIT
    assert largest(lambda: sum(m.sum() for m in TWIN.edge_moments(**problem)))[0] >= LIMIT


@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("term", ["dense", "gaussian"])
def test_layer(term, training, gate):
    problem = problem_of(term, message_problem)
    target = torch.repeat_interleave(torch.arange(N_ROWS), DEGREE)
    edges = torch.stack([problem["source"], target])
    distances = torch.rand(N_EDGES, dtype=torch.float64).mul(8).requires_grad_()
    graph = CrystalGraph.from_edges(edges, torch.full((N_ROWS,), 6), distances=distances)
    conv = CrystalGraphConv(N_FEATURES, N_BASIS, gate=gate).train(training)
    x = torch.randn(N_ROWS, N_FEATURES, requires_grad=True)
    features = {"edge_attr": problem["edge_attr"]} if term == "dense" else {"basis": BASIS}
    assert max(largest(lambda: conv(x, graph, **features).square().sum())) < LIMIT
    reached = [x, problem["edge_attr"] if term == "dense" else distances, *conv.parameters()]
    assert all(tensor.grad is not None for tensor in reached)
