"""torch.compile, torch.export and torch.func over the functions."""

from __future__ import annotations

import pytest
import torch
from samples import (
    KERNEL,
    TERMS,
    TWIN,
    floats_of,
    message_problem,
    moments_problem,
    pointers,
    raw_arguments,
    with_leaves,
)

from cgfast import functional

SMALL = {"row_ptr": pointers([0, 3, 17, 1, 0]), "n_sources": 4, "n_features": 3, "n_basis": 4}


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(function, **options):
    return torch.compile(function, fullgraph=True, dynamic=True, backend="aot_eager", **options)


def both(module):
    """A loss of the message and of the moments together."""

    def loss(problem):
        moments = {name: value for name, value in problem.items() if name not in {"center", "scale", "shift"}}
        mean, variance = module.edge_moments(**moments)
        return module.gated_message(**problem).square().sum() + (mean * variance).sum()

    return loss


def gradients(loss, problem):
    return torch.autograd.grad(loss(problem), [problem[name] for name in floats_of(problem)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("term", TERMS)
def test_compile(term, dtype):
    """Forward and backward, once for all sizes of the graph."""
    loss = compiled(both(KERNEL))
    for i, degrees in enumerate(([3, 0, 14, 2], [5, 9], [20] * 30, [0, 2, 1, 0, 0, 7])):
        problem = with_leaves(message_problem(term, row_ptr=pointers(degrees), n_sources=3 + i, dtype=dtype))
        with torch.compiler.set_stance("default" if i == 0 else "fail_on_recompile"):
            found = gradients(loss, problem)
        for ours, theirs in zip(found, gradients(both(KERNEL), problem), strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("term", TERMS)
def test_compile_without_gradients(term):
    problem = message_problem(term)
    with torch.no_grad():
        assert torch.equal(compiled(KERNEL.gated_message)(**problem), KERNEL.gated_message(**problem))


@pytest.mark.parametrize("term", TERMS)
def test_compile_with_half_precision(term):
    problem = with_leaves(message_problem(term, dtype=torch.float32))
    low = {**problem, **{name: problem[name].detach().bfloat16().requires_grad_() for name in ("p", "q")}}

    def run(function):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return gradients(function, low)

    for ours, theirs in zip(run(compiled(both(KERNEL))), run(both(KERNEL)), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("term", TERMS)
def test_compiled_double_backward_raises(term):
    """torch has none of it: an error, not a wrong number."""
    problem = with_leaves(message_problem(term, **SMALL))
    loss = compiled(both(KERNEL))
    value = loss(problem)
    with pytest.raises(RuntimeError, match=r"double backward|create_graph=False"):
        torch.autograd.grad(torch.autograd.grad(value, problem["p"], create_graph=True)[0].sum(), problem["p"])


def test_compile_pool_and_sort_edges():
    def run(x, edge_index, graph_ptr):
        source, row_ptr, order = functional.sort_edges(edge_index, x.shape[0])
        out = functional.gated_message(x, x, source, row_ptr, edge_weight=order.to(x.dtype), order=order)
        return torch.cat([functional.pool(out, graph_ptr, reduce) for reduce in functional.REDUCTIONS]).square().sum()

    loss = compiled(run)
    for i, (n, n_edges) in enumerate(((5, 20), (9, 3), (30, 200))):
        x = torch.randn(n, 6, requires_grad=True)
        edge_index, graph_ptr = torch.randint(0, n, (2, n_edges)), torch.tensor([0, 2, 2, n])
        with torch.compiler.set_stance("default" if i == 0 else "fail_on_recompile"):
            (ours,) = torch.autograd.grad(loss(x, edge_index, graph_ptr), x)
        (theirs,) = torch.autograd.grad(run(x, edge_index, graph_ptr), x)
        torch.testing.assert_close(ours, theirs)


class Message(torch.nn.Module):
    def __init__(self, problem):
        super().__init__()
        self.basis = problem.get("basis")

    def forward(self, tensors):
        return both(KERNEL)({**tensors, **({} if self.basis is None else {"basis": self.basis})})


@pytest.mark.parametrize("term", TERMS)
def test_export(term):
    """With any number of atoms and edges."""
    problem = message_problem(term)
    n_edges, n_rows, n_sources = (torch.export.Dim(name, min=2) for name in ("n_edges", "n_rows", "n_sources"))
    leading = {"p": n_rows, "q": n_sources, "row_ptr": n_rows + 1, "weight": None, "center": None, "scale": None, "shift": None}

    def tensors(given):
        return {name: value for name, value in given.items() if isinstance(value, torch.Tensor)}

    shapes = {name: None if leading.get(name, 0) is None else {0: leading.get(name, n_edges)} for name in tensors(problem)}
    exported = torch.export.export(Message(problem), (tensors(problem),), dynamic_shapes=(shapes,))
    other = message_problem(term, row_ptr=pointers([4, 0, 40]), n_sources=17)
    torch.testing.assert_close(exported.module()(tensors(other)), both(KERNEL)(other))


def small_moments(module):
    return lambda problem: torch.stack(module.edge_moments(**problem))


def small_message(module):
    return lambda problem: module.gated_message(**problem)


FUNCTIONS = {"message": (small_message, message_problem), "moments": (small_moments, moments_problem)}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("term", TERMS)
def test_torch_func(term, function):
    """grad, vjp, jvp, jacobians, second derivatives and vmap: the twin's, as there is no kernel for them."""
    call, make = FUNCTIONS[function]
    problem = make(term, **SMALL)
    names = floats_of(problem)
    values = tuple(problem[name] for name in names)
    tangents = tuple(torch.randn_like(value) for value in values)

    def run(module):
        def whole(*given):
            return call(module)({**problem, **dict(zip(names, given, strict=True))})

        def loss(*given):
            return whole(*given).square().sum()

        def of_p(p):
            return loss(p, *values[1:])

        yield from torch.func.grad(loss, argnums=tuple(range(len(names))))(*values)
        yield torch.func.vjp(whole, *values)[0]
        yield from torch.func.jvp(whole, values, tangents)
        yield torch.func.jacrev(lambda p: whole(p, *values[1:]))(values[0])
        yield torch.func.hessian(of_p)(values[0])
        many = torch.stack([values[0], values[0] * 2, -values[0]])
        yield torch.func.vmap(lambda p: whole(p, *values[1:]))(many)
        yield torch.func.vmap(torch.func.grad(of_p))(many)

    for ours, theirs in zip(run(KERNEL), run(TWIN), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
        assert ours.abs().max() > 0


@pytest.mark.parametrize("name", ["p", "weight", "distances", "edge_weight", "scale"])
def test_forward_mode(name):
    problem = message_problem("gaussian", **SMALL)
    tangent = torch.randn_like(problem[name])
    with torch.autograd.forward_ad.dual_level():
        dual = {**problem, name: torch.autograd.forward_ad.make_dual(problem[name], tangent)}
        found = torch.autograd.forward_ad.unpack_dual(KERNEL.gated_message(**dual)).tangent
    problem = with_leaves(problem)
    out = KERNEL.gated_message(**problem)
    back = torch.zeros_like(out, requires_grad=True)
    (pulled,) = torch.autograd.grad(out, problem[name], back, create_graph=True)
    torch.testing.assert_close(found, torch.autograd.grad(pulled, back, tangent)[0].detach())
    assert found.abs().max() > 0


def test_raw_operators_do_not_lose_a_forward_derivative():
    problem = message_problem("none", **SMALL)
    with torch.autograd.forward_ad.dual_level():
        dual = {**problem, "p": torch.autograd.forward_ad.make_dual(problem["p"], torch.ones_like(problem["p"]))}
        with pytest.raises((RuntimeError, NotImplementedError)):
            torch.ops.cgfast.gated_message(*raw_arguments(dual))


@pytest.mark.parametrize("reduce", functional.REDUCTIONS)
def test_torch_func_over_pool(reduce):
    x, graph_ptr = torch.randn(7, 3, dtype=torch.float64), torch.tensor([0, 3, 3, 7])

    def run(module):
        def loss(x):
            return module.pool(x, graph_ptr, reduce).square().sum()

        yield torch.func.grad(loss)(x)
        yield torch.func.vmap(loss)(torch.stack([x, -x]))
        if reduce in {"mean", "sum"}:  # torch has no forward-mode derivative of scatter_reduce to an extreme
            yield torch.func.hessian(loss)(x)

    for ours, theirs in zip(run(KERNEL), run(TWIN), strict=True):
        torch.testing.assert_close(ours, theirs)
