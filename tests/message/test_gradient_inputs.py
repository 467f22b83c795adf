"""Gradients of gated_message for inputs that are laid out, or valued, unlike those that users mostly have."""

from __future__ import annotations

import pytest
import torch
from samples import (
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


def compare_views(problem, views, relative=1e-11):
    """Gradients of leaves that reach the ops through `views`."""
    found = []
    for module in (KERNEL, TWIN):
        leaves = with_leaves(problem)
        given = {**leaves, **{name: view(leaves[name]) for name, view in views.items()}}
        out = module.gated_message(**given)
        names = floats_of(problem)
        gradients = torch.autograd.grad(out.square().sum(), [leaves[name] for name in names])
        found.append({"out": out.detach(), **dict(zip(names, gradients, strict=True))})
    assert_same(*found, relative)


def scattered(tensor):
    """The same values with gaps between them."""
    return torch.stack([tensor, torch.full_like(tensor, float("nan"))], dim=-1)[..., 0]


def columns_first(tensor):
    return tensor.t().contiguous().t()


LAYOUTS = {
    "gaps": scattered,
    "transposed": lambda t: columns_first(t) if t.dim() == 2 else scattered(t),
    "first row for all": lambda t: t[:1].expand_as(t) if len(t) else t,
    "one number for all": lambda t: t.reshape(-1)[:1].expand(t.numel()).as_strided(t.shape, (0,) * t.dim()),
    "every other row": lambda t: t.repeat_interleave(2, dim=0)[1::2],
    "columns of a wider one": lambda t: torch.cat([t, t], dim=-1)[..., : t.shape[-1]] if t.dim() == 2 else t,
    "offset": lambda t: torch.cat([t[:1], t])[1:],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("n_features", [5, 64])
def test_layouts_of_inputs(term, layout, n_features):
    problem = message_problem(term, n_features=n_features)
    for name in floats_of(problem):
        compare_views(problem, {name: LAYOUTS[layout]})
    compare_views(problem, dict.fromkeys(floats_of(problem), LAYOUTS[layout]))


@pytest.mark.parametrize("term", TERMS)
def test_layouts_of_indices(term):
    problem = message_problem(term)
    expected = message_and_gradients(KERNEL, with_leaves(problem))
    for name in ("source", "row_ptr", "order"):
        pairs = torch.stack([problem[name], torch.full_like(problem[name], -7)], dim=1)
        found = message_and_gradients(KERNEL, with_leaves({**problem, name: pairs[:, 0]}))
        assert_same(found, expected, 0.0)


@pytest.mark.parametrize("n_features", [5, 64])
@pytest.mark.parametrize("term", TERMS)
def test_layouts_of_the_gradient_that_comes_in(term, n_features):
    problem = with_leaves(message_problem(term, n_features=n_features))
    n_rows = len(problem["p"])
    one = torch.ones(1, 1, dtype=torch.float64)
    grads = (
        one.expand(n_rows, n_features),  # what .sum() gives
        torch.randn(n_features, n_rows, dtype=torch.float64).t(),
        torch.randn(n_rows, 1, dtype=torch.float64).expand(n_rows, n_features),
        torch.randn(n_rows, 2 * n_features, dtype=torch.float64)[:, ::2],
        torch.zeros(n_rows, n_features, dtype=torch.float64),
    )
    for grad in grads:
        assert_same(message_and_gradients(KERNEL, problem, grad), message_and_gradients(TWIN, problem, grad), 1e-11)


def test_one_tensor_in_several_places():
    """p is q, and scale is shift: the gradients of both add up, also those of gradients."""
    problem = message_problem("dense", row_ptr=pointers([3, 0, 4, 2]), n_sources=4, n_features=2, n_basis=3)

    def run(module, x, change, weight):
        given = {**problem, "p": x, "q": x, "scale": change, "shift": change, "center": change * 2, "weight": weight}
        return module.gated_message(**given)

    inputs = [problem[name].clone().requires_grad_() for name in ("p", "scale", "weight")]
    found, expected = (
        torch.autograd.grad(run(module, *inputs).square().sum(), inputs, create_graph=True) for module in (KERNEL, TWIN)
    )
    twice, twice_expected = (torch.autograd.grad(sum(g.square().sum() for g in first), inputs) for first in (found, expected))
    for ours, theirs in zip((*found, *twice), (*expected, *twice_expected), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)
    assert torch.autograd.gradgradcheck(lambda *values: run(KERNEL, *values), inputs)


def test_inputs_made_from_each_other():
    """The gradient of one input must not come a second time through another that is made from it."""
    problem = message_problem("gaussian", row_ptr=pointers([3, 2]), n_sources=2, n_features=2)
    p, distances = (problem[name].clone().requires_grad_() for name in ("p", "distances"))

    def run(module):
        given = {**problem, "p": p, "q": p.flip(0) * 2, "distances": distances, "edge_weight": distances.square()}
        first = torch.autograd.grad(module.gated_message(**given).sum(), (p, distances), create_graph=True)
        return *first, *torch.autograd.grad(first[0].sum() + first[1].sum(), (p, distances))

    for ours, theirs in zip(run(KERNEL), run(TWIN), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def windows(n_edges, n_basis):
    """Rows with zeros at both ends, inside, everywhere and nowhere, in an order that jumps."""
    rows = torch.randn(n_edges, n_basis, dtype=torch.float64)
    for e in range(n_edges):
        first, last = (7 * e) % n_basis, (11 * e + 3) % n_basis
        rows[e, :first] = 0
        rows[e, max(first, last) + 1 :] = 0
        rows[e, (first + last) // 2] = 0
    rows[::9] = 0
    rows[4::13] = 1
    return rows


@pytest.mark.parametrize("n_features", [3, 64])
@pytest.mark.parametrize("sort", [False, True])
def test_zeros_in_edge_attr(n_features, sort):
    problem = message_problem("dense", n_basis=20, n_features=n_features, ordered=not sort)
    rows = windows(len(problem["source"]), 20)
    problem["edge_attr"] = rows[(rows != 0).double().argmax(1).argsort()] if sort else rows
    assert_same(*(message_and_gradients(module, with_leaves(problem)) for module in (KERNEL, TWIN)), 1e-11)
    problem["edge_attr"] = torch.zeros_like(rows)
    assert_same(*(message_and_gradients(module, with_leaves(problem)) for module in (KERNEL, TWIN)), 1e-11)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bad_weights_are_not_hidden_by_zeros(bad, dtype):
    """Zero times infinity is NaN, in a product of matrices and here."""
    problem = message_problem("dense", n_basis=6, dtype=dtype)
    problem["edge_attr"][:, 0] = 0
    problem["weight"][0, 2] = bad
    found, expected = (message_and_gradients(module, with_leaves(problem)) for module in (KERNEL, TWIN))
    assert found["out"][1, 2].isnan()
    assert found["weight"][:, 2].isnan().all()
    assert_same(found, expected, 2e-5)


def test_bad_edge_features_are_not_hidden():
    problem = message_problem("dense", ordered=False)
    row_ptr = problem["row_ptr"]
    problem["edge_attr"][row_ptr[3], -1] = float("nan")
    found, expected = (message_and_gradients(module, with_leaves(problem)) for module in (KERNEL, TWIN))
    assert found["out"][3].isnan().all()
    assert found["p"][3].isnan().all()
    assert_same({"out": found["out"], "p": found["p"]}, {"out": expected["out"], "p": expected["p"]}, 1e-11)


def test_nan_distance_is_not_hidden():
    problem = message_problem("gaussian", ordered=False)
    e = int(problem["row_ptr"][5]) + 3
    problem["distances"][e] = float("nan")
    found = message_and_gradients(KERNEL, with_leaves(problem))
    for name in ("out", "p"):
        assert found[name][5].isnan().all()
        assert not found[name][[4, 6]].isnan().any()
    for name in ("distances", "edge_weight"):
        assert found[name].isnan().nonzero().flatten().tolist() == [e]
    assert found["q"][problem["source"][e]].isnan().all()
    assert found["weight"].isnan().any()


@pytest.mark.parametrize("gate", [-1e4, -720.0, -90.0, -30.0, 0.0, 30.0, 90.0, 720.0, 1e4])
@pytest.mark.parametrize("core", [-1e4, -720.0, -90.0, 0.0, 90.0, 720.0, 1e4])
@pytest.mark.parametrize("affine", [False, True])
def test_saturated_gates(gate, core, affine):
    problem = message_problem("none", affine=affine, n_features=2)
    problem["p"] = torch.tensor([gate, gate, core, core], dtype=torch.float64).expand_as(problem["p"]).clone()
    if affine:
        problem["center"].zero_()
    expected = message_and_gradients(TWIN, with_leaves(problem))
    for dtype, relative in ((torch.float64, 1e-11), (torch.float32, 2e-3 if affine else 1e-4)):
        found = message_and_gradients(KERNEL, with_leaves(problem, dtype=dtype))
        for name, gradient in found.items():
            assert gradient.isfinite().all(), name
            # Exponents stop at 87 in float32: what should vanish is 1e-38 times inputs and sums.
            floor = max(relative * float(expected[name].abs().max()), 1e-27)
            torch.testing.assert_close(gradient.double(), expected[name], rtol=relative, atol=floor)
