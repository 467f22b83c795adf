"""The functions in surroundings where memory is not what it seems: other default devices, tensors without storage, tracing,
batched gradients, checkpoints. What could end the process runs in one of its own.
"""

from __future__ import annotations

import copy
import subprocess
import sys
import warnings
from pathlib import Path

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
    moments_and_gradients,
    moments_problem,
    with_leaves,
)
from torch.utils.checkpoint import checkpoint

PRELUDE = """
import sys; sys.path.insert(0, {folder!r})
import torch
from samples import *
torch.set_num_threads(1)
problem, moments = message_problem("gaussian"), moments_problem("gaussian")
edges, graph_ptr = torch.stack([problem["source"], torch.randint(0, 12, problem["source"].shape)]), torch.tensor([0, 3, 12])
grad = torch.randn(12, 5, dtype=torch.float64)
def everything():
    yield from message_and_gradients(KERNEL, with_leaves(problem), grad).values()
    yield KERNEL.gated_message(**problem)
    yield from KERNEL.edge_moments(**moments)
    yield from KERNEL.sort_edges(edges, 12)
    for reduce in ("mean", "max"):
        yield KERNEL.pool(problem["p"], graph_ptr, reduce)
expected = list(everything())
"""

DEFAULT_DEVICE = """
with torch.device("meta"):
    found = list(everything())
assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
"""

# The gradients that autograd passes on, and inputs, may be zeros without memory.
ZERO_TENSORS = """
zeros = torch._efficientzerotensor(grad.shape, dtype=grad.dtype)
leaves = with_leaves(problem)
found = torch.autograd.grad(KERNEL.gated_message(**leaves), [leaves[n] for n in floats_of(problem)], zeros)
assert all(g.eq(0).all() for g in found)
for name in floats_of(problem):
    zeros = torch._efficientzerotensor(problem[name].shape, dtype=problem[name].dtype)
    found = KERNEL.gated_message(**{**problem, name: zeros})
    assert torch.equal(found, KERNEL.gated_message(**{**problem, name: torch.zeros_like(problem[name])})), name
"""

# Not only the first tensor counts: a fake among real ones must not reach a kernel.
FAKE_TENSORS = """
from torch._subclasses.fake_tensor import FakeTensorMode
mode = FakeTensorMode()
fakes = {name: mode.from_tensor(t) if isinstance(t, torch.Tensor) else t for name, t in problem.items()}
assert KERNEL.gated_message(**fakes).shape == (12, 5)
for name in floats_of(problem):
    try:
        found = KERNEL.gated_message(**{**problem, name: fakes[name]})
    except Exception as error:
        assert "fake" in str(error).lower(), error
    else:
        assert type(found) is not torch.Tensor, name
"""


@pytest.mark.parametrize("script", [DEFAULT_DEVICE, ZERO_TENSORS, FAKE_TENSORS], ids=["default device", "zero", "fake"])
def test_tensors_without_memory(script):
    text = PRELUDE.replace("{folder!r}", repr(str(Path(__file__).parent))) + script
    done = subprocess.run([sys.executable, "-P", "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ended with {done.returncode}\n{done.stderr[-2000:]}"


@pytest.mark.parametrize("term", TERMS)
def test_negated_views(term):
    """x.conj().imag is a view whose memory has the other sign."""
    problem = message_problem(term)
    expected = message_and_gradients(TWIN, with_leaves(problem))
    moments = moments_problem(term)
    expected_moments = KERNEL.edge_moments(**moments)
    for name in floats_of(problem):
        negated = torch.complex(torch.zeros_like(problem[name]), -problem[name]).conj().imag
        assert negated.is_neg()
        torch.testing.assert_close(negated, problem[name])
        torch.testing.assert_close(
            KERNEL.gated_message(**{**problem, name: negated}), expected["out"], msg=lambda m, n=name: f"{n}: {m}"
        )
        if name in moments:
            negated = torch._neg_view(-moments[name])
            for ours, theirs in zip(KERNEL.edge_moments(**{**moments, name: negated}), expected_moments, strict=True):
                torch.testing.assert_close(ours, theirs, msg=lambda m, n=name: f"{n}: {m}")
    x, graph_ptr = problem["p"], torch.tensor([0, 3, 12])
    assert torch.equal(KERNEL.pool(torch._neg_view(-x), graph_ptr), KERNEL.pool(x, graph_ptr))


@pytest.mark.parametrize("term", TERMS)
def test_negated_gradient_comes_in(term):
    problem = with_leaves(message_problem(term))
    grad = torch.randn(12, 5, dtype=torch.float64)
    found = message_and_gradients(KERNEL, problem, torch._neg_view(-grad))
    assert_same(found, message_and_gradients(KERNEL, problem, grad), 1e-14)


@pytest.mark.parametrize("wants", [False, True])
@pytest.mark.parametrize("grad_mode", [False, True])
def test_jit_trace(wants, grad_mode):
    """Traced code must compute, or tracing must fail: it must not remember what one call gave."""
    problem = message_problem("dense")

    def run(p):
        return KERNEL.gated_message(**{**problem, "p": p}) + KERNEL.edge_moments(**{**moments, "p": p})[0].sum()

    moments = {name: value for name, value in problem.items() if name not in {"center", "scale", "shift"}}
    p = problem["p"].clone().requires_grad_(wants)
    with warnings.catch_warnings(), torch.set_grad_enabled(grad_mode):
        warnings.simplefilter("ignore")
        try:
            traced = torch.jit.trace(run, (p,), check_trace=False)
        except (RuntimeError, TypeError, ValueError):
            return
    torch.testing.assert_close(traced(2 * p), run(2 * p))


@pytest.mark.parametrize("term", TERMS)
def test_batched_gradients(term):
    """Several incoming gradients at once, as torch.autograd.functional.jacobian(vectorize=True) sends them."""
    for make, compute in (
        (message_problem, lambda given: KERNEL.gated_message(**given)),
        (moments_problem, lambda given: torch.cat(KERNEL.edge_moments(**given))),
    ):
        problem = with_leaves(make(term))
        inputs = [problem[name] for name in floats_of(problem)]
        out = compute(problem)
        grads = torch.randn(3, *out.shape, dtype=out.dtype)
        together = torch.autograd.grad(out, inputs, grads, is_grads_batched=True, retain_graph=True)
        for i, grad in enumerate(grads):
            one_by_one = torch.autograd.grad(out, inputs, grad, retain_graph=True)
            for ours, theirs in zip(together, one_by_one, strict=True):
                torch.testing.assert_close(ours[i], theirs, rtol=1e-10, atol=1e-10)


def test_checkpoint():
    problem = message_problem("gaussian")
    expected = message_and_gradients(KERNEL, with_leaves(problem), torch.ones(12, 5))
    names = floats_of(problem)
    for reentrant in (False, True):
        leaves = with_leaves(problem)

        def run(*values):
            return KERNEL.gated_message(**{**problem, **dict(zip(names, values, strict=True))})

        checkpoint(run, *(leaves[name] for name in names), use_reentrant=reentrant).sum().backward()
        assert all(torch.equal(leaves[name].grad, expected[name]) for name in names)


@pytest.mark.parametrize("name", ["p", "q", "weight", "edge_attr", "edge_weight", "scale", "source", "row_ptr", "order"])
def test_changed_inputs_are_noticed(name):
    """The backward computes everything again from its inputs: they must be those of the forward."""
    leaves = with_leaves(message_problem("dense"))
    given = {key: value.clone() if isinstance(value, torch.Tensor) else value for key, value in leaves.items()}
    out = KERNEL.gated_message(**given)
    with torch.no_grad():
        given[name].add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


def test_inference_mode():
    problem, moments = message_problem("dense"), moments_problem("dense")
    with torch.inference_mode():
        assert torch.equal(KERNEL.gated_message(**problem), KERNEL.gated_message(**copy.copy(problem)))
        found = KERNEL.gated_message(**problem)
        assert found.is_inference()
        assert KERNEL.edge_moments(**moments)[0].is_inference()
    assert torch.equal(found, KERNEL.gated_message(**problem))


def test_second_backward_needs_retain_graph():
    out = KERNEL.gated_message(**with_leaves(message_problem("dense")))
    out.sum().backward(retain_graph=True)
    out.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        out.sum().backward()


def test_repeated_calls_have_the_same_bits():
    for term in TERMS:
        problem, moments = with_leaves(message_problem(term)), with_leaves(moments_problem(term))
        assert_same(message_and_gradients(KERNEL, problem), message_and_gradients(KERNEL, problem), 0.0)
        assert_same(moments_and_gradients(KERNEL, moments), moments_and_gradients(KERNEL, moments), 0.0)


FIRST_CALL_IN_INFERENCE = """
import torch
from cgfast.ops.operators import is_plain
with torch.inference_mode():
    assert is_plain(torch.zeros(1))
assert is_plain(torch.zeros(1), torch.nn.Parameter(torch.zeros(1)), None)
assert not is_plain(torch.zeros(1), torch._neg_view(torch.zeros(1)))
print("fast")
"""


def test_the_short_way_stays_open_after_a_first_call_in_inference_mode():
    done = subprocess.run([sys.executable, "-P", "-c", FIRST_CALL_IN_INFERENCE], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "fast", done.stderr
