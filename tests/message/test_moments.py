"""edge_moments: mean and biased variance over edges, as torch.nn.BatchNorm1d takes them, and their gradients."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from samples import (
    EDGE_FLOATS,
    KERNEL,
    TERMS,
    TWIN,
    assert_same,
    floats_of,
    moments_and_gradients,
    moments_problem,
    pointers,
    with_leaves,
)

from cgfast.basis import GaussianBasis
from cgfast.reference import edge_preactivation

pytestmark = pytest.mark.usefixtures("each_device")
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-11}


def preactivation(problem):
    return edge_preactivation(**{name: value for name, value in problem.items() if name != "edge_weight"})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize(("weighted", "ordered"), [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("n_features", [1, 3, 16, 64, 65, 130])
def test_equals_twin(term, dtype, weighted, ordered, n_features):
    problem = moments_problem(term, n_features=n_features, dtype=dtype, weighted=weighted, ordered=ordered, seed=n_features)
    found = moments_and_gradients(KERNEL, with_leaves(problem))
    assert found["mean"].dtype == found["variance"].dtype == dtype
    assert_same(found, moments_and_gradients(TWIN, with_leaves(problem, dtype=torch.float64)), TOLERANCE[dtype])


@pytest.mark.parametrize("term", TERMS)
def test_are_the_statistics_of_a_batch_norm(term):
    problem = moments_problem(term, weighted=False)
    y = preactivation(problem)
    norm = torch.nn.BatchNorm1d(y.shape[1], momentum=1.0, dtype=torch.float64)
    norm(y)
    mean, variance = KERNEL.edge_moments(**problem)
    torch.testing.assert_close(mean, norm.running_mean)
    torch.testing.assert_close(variance * len(y) / (len(y) - 1), norm.running_var)


@pytest.mark.parametrize("which", ["mean", "variance"])
@pytest.mark.parametrize("term", TERMS)
def test_every_input_alone(term, which):
    """And with only one of the two results in use."""
    problem = moments_problem(term)
    index = ("mean", "variance").index(which)

    def gradients(module, names):
        given = with_leaves(problem, names)
        value = module.edge_moments(**given)[index].square().sum()
        return dict(zip(names, torch.autograd.grad(value, [given[name] for name in names]), strict=True))

    everything = gradients(TWIN, floats_of(problem))
    assert set(everything) <= set(EDGE_FLOATS)
    for name, expected in everything.items():
        assert_same(gradients(KERNEL, [name]), {name: expected}, 1e-11)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("size", [1e3, 1e5])
def test_large_means(size, weighted):
    """A mean a thousand times the spread, in each of the places where it can come from."""
    for place in ("p", "q", "edge_attr"):
        problem = moments_problem("dense", dtype=torch.float32, row_ptr=pointers([12] * 400), n_sources=400, weighted=weighted)
        if place == "edge_attr":  # one feature that is nearly constant
            problem["edge_attr"][:, 0] = size + torch.randn(len(problem["source"]))
            problem["weight"][0] = 1.0
        else:
            problem[place] = problem[place] + size
        mean, variance = KERNEL.edge_moments(**problem)
        wide = with_leaves(problem, [], torch.float64)
        exact_mean, exact_variance = TWIN.edge_moments(**wide)
        torch.testing.assert_close(mean.double(), exact_mean, rtol=3e-7, atol=0)
        rounding = (size * 6e-8) ** 2  # that of y itself
        torch.testing.assert_close(variance.double(), exact_variance, rtol=1e-4 if size < 1e4 else 2e-3, atol=10 * rounding)


def test_large_means_keep_their_gradients():
    problem = moments_problem("gaussian", dtype=torch.float32, row_ptr=pointers([12] * 100), n_sources=100)
    problem["p"] = problem["p"] + 1e3
    found = moments_and_gradients(KERNEL, with_leaves(problem))
    assert_same(found, moments_and_gradients(TWIN, with_leaves(problem, dtype=torch.float64)), 5e-4)


def test_first_edge_far_from_the_others():
    """The sums are about the first edge: an outlier there, and one of weight zero, must not spoil them."""
    for weight in (1.0, 0.0):
        problem = moments_problem("none", dtype=torch.float32, row_ptr=pointers([1] * 250), n_sources=250, ordered=False)
        problem["p"][0] = 1e4
        problem["edge_weight"][0] = weight
        found = KERNEL.edge_moments(**problem)
        exact = TWIN.edge_moments(**with_leaves(problem, [], torch.float64))
        for ours, theirs in zip(found, exact, strict=True):
            # 1e4^2 in float32 has steps of 8: 250 of them average out below that.
            torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=0.0 if weight else 1.0)


@pytest.mark.parametrize("term", TERMS)
def test_weights_are_repeated_edges(term):
    rng = np.random.default_rng(0)
    problem = moments_problem(term, ordered=False, weighted=False)
    counts = torch.from_numpy(rng.integers(0, 4, len(problem["source"])))
    repeated = dict(problem)
    for name in ("source", "edge_attr", "distances"):
        if name in problem:
            repeated[name] = problem[name].repeat_interleave(counts, dim=0)
    row_ptr = problem["row_ptr"].tolist()
    repeated["row_ptr"] = pointers(counts[a:b].sum() for a, b in itertools.pairwise(row_ptr))
    weighted = {**problem, "edge_weight": counts.double()}
    one = moments_and_gradients(KERNEL, with_leaves(weighted, ["p", "q", "weight"]))
    two = moments_and_gradients(KERNEL, with_leaves(repeated, ["p", "q", "weight"]))
    assert_same(one, two, 1e-11)


@pytest.mark.parametrize("scale", [1e-3, 12.0, 1e6])
def test_only_ratios_of_weights_count(scale):
    problem = moments_problem("none")
    found = KERNEL.edge_moments(**{**problem, "edge_weight": problem["edge_weight"] * scale})
    for ours, theirs in zip(found, KERNEL.edge_moments(**problem), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_negative_weights(each_device):
    """They make no sense in statistics; a CUDA device cannot refuse without waiting for it."""
    problem = moments_problem("none", row_ptr=pointers([4] * 1100))
    problem["edge_weight"][:1200] = -0.1
    problem["order"] = None
    if each_device == "cuda":
        assert all(value.isnan().all() for value in KERNEL.edge_moments(**problem))
        return
    with pytest.raises(ValueError, match=r"edge_weight must not be negative where moments are taken, got -0\.1"):
        moments_and_gradients(KERNEL, with_leaves(problem))


@pytest.mark.parametrize("n_features", [5, 64])
@pytest.mark.parametrize("term", TERMS)
def test_one_edge(term, n_features):
    problem = moments_problem(term, row_ptr=pointers([0, 1, 0]), n_features=n_features)
    found = moments_and_gradients(KERNEL, with_leaves(problem))
    for name, expected in moments_and_gradients(TWIN, with_leaves(problem)).items():
        torch.testing.assert_close(found[name], expected, rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(found["mean"], preactivation(problem)[0])
    assert found["variance"].abs().max() < 1e-28


@pytest.mark.parametrize("n_rows", [0, 3])
@pytest.mark.parametrize("term", TERMS)
def test_no_edges(term, n_rows):
    problem = moments_problem(term, row_ptr=torch.zeros(n_rows + 1, dtype=torch.int64), n_sources=n_rows)
    found = moments_and_gradients(KERNEL, with_leaves(problem))
    assert found["mean"].isnan().all()
    assert found["variance"].isnan().all()
    assert found["p"].eq(0).all()
    assert_same(found, moments_and_gradients(TWIN, with_leaves(problem)), 0.0)


def test_weights_that_sum_to_nothing():
    problem = moments_problem("none")
    mean, variance = KERNEL.edge_moments(**{**problem, "edge_weight": torch.zeros_like(problem["edge_weight"])})
    assert mean.isnan().all()
    assert variance.isnan().all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("row", [1, 700])
def test_bad_values_are_not_hidden(bad, row):
    problem = moments_problem("none", row_ptr=pointers([0, *[2] * 1000]))
    problem["p"][row, 0] = bad
    mean, variance = KERNEL.edge_moments(**problem)
    assert not mean[0].isfinite()
    assert not variance[0].isfinite()
    assert variance[1:].isfinite().all()


@pytest.mark.usefixtures("poisoned_memory")
@pytest.mark.parametrize("term", TERMS)
def test_everything_is_written(term):
    for n_features in (5, 64):
        problem = with_leaves(moments_problem(term, n_features=n_features, n_sources=400))
        assert all(value.isfinite().all() for value in moments_and_gradients(KERNEL, problem).values())


@pytest.mark.parametrize("term", TERMS)
def test_gradcheck(term):
    small = {"row_ptr": pointers([2, 0, 3]), "n_sources": 3, "n_features": 2, "n_basis": 3}
    problem = moments_problem(term, **small, basis=GaussianBasis(0, 4, 1.0, 0.8))
    names = floats_of(problem)

    def run(*values):
        return KERNEL.edge_moments(**{**problem, **dict(zip(names, values, strict=True))})

    inputs = [with_leaves(problem)[name] for name in names]
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


def test_half_precision_gives_float32():
    problem = moments_problem("dense")
    for dtype in (torch.float16, torch.bfloat16):
        half = with_leaves(problem, [], dtype)
        found = KERNEL.edge_moments(**half)
        expected = KERNEL.edge_moments(**with_leaves(half, [], torch.float32))
        assert all(f.dtype == torch.float32 for f in found)
        assert all(torch.equal(f, e) for f, e in zip(found, expected, strict=True))
