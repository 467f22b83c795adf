"""The fused gradients of gated_message equal those of its twin: every input, every edge term, every shape of the graph."""

from __future__ import annotations

import pytest
import torch
from samples import (
    FLOATS,
    KERNEL,
    TERMS,
    TWIN,
    assert_same,
    floats_of,
    message_and_gradients,
    message_problem,
    pointers,
    with_leaves,
)
from torch.utils._python_dispatch import TorchDispatchMode

from cgfast.basis import GaussianBasis

pytestmark = pytest.mark.usefixtures("each_device")
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-11}


def compare(problem, relative=1e-11, grad=None):
    problem = with_leaves(problem)
    found = message_and_gradients(KERNEL, problem, grad)
    assert_same(found, message_and_gradients(TWIN, problem, grad), relative)
    return found


class Operators(TorchDispatchMode):
    """Notes the names of all operators that run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("term", TERMS)
def test_the_first_gradient_is_native(term):
    """Otherwise the comparisons below compare the twin with itself."""
    problem = with_leaves(message_problem(term))
    with Operators() as ran:
        message_and_gradients(KERNEL, problem)
    assert "cgfast.gated_message_backward.default" in ran.names
    assert not any("sigmoid" in name or "softplus" in name or "index_add" in name for name in ran.names)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize(("weighted", "ordered"), [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("n_features", [1, 3, 16, 64, 65, 130])
def test_equals_twin(term, dtype, affine, weighted, ordered, n_features):
    problem = message_problem(
        term, n_features=n_features, dtype=dtype, affine=affine, weighted=weighted, ordered=ordered, seed=n_features
    )
    found = message_and_gradients(KERNEL, with_leaves(problem))
    expected = message_and_gradients(TWIN, with_leaves(problem, dtype=torch.float64))
    for name in floats_of(problem):
        assert found[name].dtype == problem[name].dtype
    assert_same(found, expected, TOLERANCE[dtype])


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("term", TERMS)
def test_every_input_alone(term, affine):
    problem = message_problem(term, affine=affine)
    everything = message_and_gradients(TWIN, with_leaves(problem))
    for name in floats_of(problem):
        alone = message_and_gradients(KERNEL, with_leaves(problem, [name]))
        assert_same(alone, {"out": everything["out"], name: everything[name]}, 1e-11)


def test_every_pair_of_inputs():
    for term in TERMS[1:]:
        problem = message_problem(term)
        everything = message_and_gradients(TWIN, with_leaves(problem))
        names = floats_of(problem)
        for i, one in enumerate(names):
            for other in names[i + 1 :]:
                found = message_and_gradients(KERNEL, with_leaves(problem, [one, other]))
                assert_same(found, {name: everything[name] for name in found}, 1e-11)


@pytest.mark.parametrize(
    "basis",
    [
        GaussianBasis(0.0, 8.0, 0.2, 1.4),  # the window is most of the basis
        GaussianBasis(0.0, 8.0, 0.1, 3.0),  # wider than the basis
        GaussianBasis(2.0, 3.0, 0.25, 0.05),  # narrower than a step: windows of one centre or none
        GaussianBasis(-1.0, 20.0, 0.5, 0.7),
        GaussianBasis(4.0, 4.0, 1.0, 0.3),  # one centre
        GaussianBasis(0.0, 8.0, 0.2, 40.0),  # hardly a function of the distance
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_basis(basis, dtype):
    problem = message_problem("gaussian", basis=basis, dtype=dtype)
    found = message_and_gradients(KERNEL, with_leaves(problem))
    assert_same(found, message_and_gradients(TWIN, with_leaves(problem, dtype=torch.float64)), TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("other", [torch.float32, torch.float64])
def test_distances_and_weights_of_another_dtype(dtype, other):
    problem = message_problem("gaussian", dtype=dtype)
    for name in ("distances", "edge_weight"):
        problem[name] = problem[name].to(other)
    found = message_and_gradients(KERNEL, with_leaves(problem))
    assert found["distances"].dtype == found["edge_weight"].dtype == other
    assert_same(found, message_and_gradients(TWIN, with_leaves(problem, dtype=torch.float64)), TOLERANCE[torch.float32])


def test_distances_outside_the_basis():
    problem = message_problem("gaussian")
    far = problem["distances"].clone()
    far[::4], far[1::4], far[2::4] = 9.9, 1e6, -4.0
    found = compare({**problem, "distances": far})
    assert found["distances"][1::4].eq(0).all()
    nothing = compare({**problem, "distances": torch.full_like(far, 100.0)})
    assert nothing["weight"].eq(0).all()


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("degrees", [[3000], [0, 2500, 0, 4000, 1], [17] * 300, [1] * 40, [16, 32, 48]])
def test_rows_of_many_edges(term, degrees):
    compare(message_problem(term, row_ptr=pointers(degrees), n_sources=40, n_features=3))


@pytest.mark.parametrize("term", TERMS)
def test_bipartite(term):
    """More sources than rows, most of them in no edge, and the other way round."""
    few = message_problem(term, row_ptr=pointers([5, 0, 20]), n_sources=50)
    found = compare(few)
    unused = torch.ones(50, dtype=torch.bool)
    unused[few["source"]] = False
    assert unused.any()
    assert found["q"][unused].eq(0).all()
    compare(message_problem(term, row_ptr=pointers([3] * 200), n_sources=1))


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("n_features", [4, 64])
@pytest.mark.parametrize(("n_rows", "n_sources"), [(6, 4), (0, 0), (0, 3), (4, 0), (1, 1)])
def test_no_edges(term, n_features, n_rows, n_sources):
    row_ptr = torch.zeros(n_rows + 1, dtype=torch.int64)
    problem = message_problem(term, row_ptr=row_ptr, n_sources=n_sources, n_features=n_features)
    for name, gradient in compare(problem).items():
        assert gradient.eq(0).all(), name
        assert gradient.shape == ((n_rows, n_features) if name == "out" else problem[name].shape)


def test_no_edge_features():
    problem = message_problem("dense", n_basis=0)
    found = compare(problem)
    assert found["weight"].shape == (0, 10)
    assert found["edge_attr"].shape == (len(problem["source"]), 0)


@pytest.mark.usefixtures("poisoned_memory")
def test_no_features():
    """Without channels nothing depends on the edges."""
    for term in TERMS:
        found = compare(message_problem(term, n_features=0))
        assert all(found[name].eq(0).all() for name in ("distances", "edge_attr", "edge_weight") if name in found)


@pytest.mark.usefixtures("poisoned_memory")
@pytest.mark.parametrize("n_features", [5, 64])
@pytest.mark.parametrize("term", TERMS)
def test_everything_is_written(term, n_features):
    problem = with_leaves(message_problem(term, n_features=n_features, n_sources=400))
    for gradient in message_and_gradients(KERNEL, problem).values():
        assert gradient.isfinite().all()


@pytest.mark.usefixtures("poisoned_memory")
@pytest.mark.parametrize("term", ["dense", "gaussian"])
def test_order_that_repeats_rows(term, each_device):
    """Two edges that share a row of edge features: their gradients add up (or the order is refused)."""
    if each_device == "cuda":
        pytest.skip("no value of an index is looked at on a CUDA device; one of the two gradients is kept")
    problem = message_problem(term)
    problem["order"] = torch.arange(len(problem["source"])) // 2
    try:
        compare(problem)
    except ValueError as error:
        assert "order" in str(error)  # noqa: PT017 - either is right


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("term", TERMS)
def test_gradcheck(term, affine):
    problem = message_problem(
        term,
        row_ptr=pointers([2, 0, 3]),
        n_sources=3,
        n_features=2,
        n_basis=3,
        affine=affine,
        basis=GaussianBasis(0, 4, 1.0, 0.8),
    )
    names = floats_of(problem)

    def run(*values):
        return KERNEL.gated_message(**{**problem, **dict(zip(names, values, strict=True))})

    inputs = [with_leaves(problem)[name] for name in names]
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


def test_all_names_are_covered():
    assert {name for term in TERMS for name in floats_of(message_problem(term))} == set(FLOATS)
