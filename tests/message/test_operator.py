"""The operators as torch sees them: opcheck, what refuses a gradient, autocast, and input that does not fit."""

from __future__ import annotations

import contextlib
import re

import pytest
import torch
from samples import (
    TERMS,
    TWIN,
    floats_of,
    message_problem,
    moments_problem,
    pointers,
    raw_arguments,
    sample_inputs,
    with_leaves,
)

from cgfast import functional
from cgfast.basis import GaussianBasis

OPS = torch.ops.cgfast
SMALL = {"row_ptr": pointers([0, 3, 17, 1, 0]), "n_sources": 4, "n_features": 3, "n_basis": 4}


def wants_of(problem):
    return [name in problem for name in ("p", "q", "edge_attr", "weight", "distances", "edge_weight")]


def message_backward_arguments(problem, grad=None):
    n_rows, channels = problem["p"].shape
    grad = torch.randn(n_rows, channels // 2, dtype=problem["p"].dtype) if grad is None else grad
    return (grad, *raw_arguments(problem), [*wants_of(problem), "scale" in problem])


def moments_backward_arguments(problem, grads=None):
    moments = [moment.detach() for moment in functional.edge_moments(**problem)]
    grads = [torch.randn_like(moment) for moment in moments] if grads is None else grads
    return (*moments, *grads, *raw_arguments(problem, affine=False), wants_of(problem))


def other_dtypes(problem):
    """Edge weights and distances may have another dtype than p."""
    wide = problem["p"].dtype == torch.float64
    for name in ("distances", "edge_weight"):
        if name in problem:
            problem[name] = problem[name].to(torch.float32 if wide else torch.float64)
    if "distances" in problem:
        problem["distances"] = problem["distances"].float()
    return problem


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("plain", [False, True])
def test_opcheck(term, dtype, plain):
    options = {**SMALL, "dtype": dtype, "weighted": not plain, "ordered": not plain}
    problem = with_leaves(message_problem(term, **options, affine=not plain))
    torch.library.opcheck(OPS.gated_message.default, raw_arguments(problem))
    moments = with_leaves(moments_problem(term, **options))
    torch.library.opcheck(OPS.edge_moments.default, raw_arguments(moments, affine=False))


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("term", TERMS)
def test_opcheck_backward(term, mixed):
    """With mixed dtypes, too: compiled code takes the fake's word for the dtype of a gradient, and reads past its end."""
    for dtype in (torch.float32, torch.float64):
        problem = message_problem(term, **SMALL, dtype=dtype)
        problem = other_dtypes(problem) if mixed else problem
        torch.library.opcheck(OPS.gated_message_backward.default, message_backward_arguments(problem))
        moments = moments_problem(term, **SMALL, dtype=dtype)
        moments = other_dtypes(moments) if mixed else moments
        torch.library.opcheck(OPS.edge_moments_backward.default, moments_backward_arguments(moments))


@pytest.mark.parametrize("reduce", functional.REDUCTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_opcheck_pool(reduce, dtype):
    x = torch.randn(9, 3, dtype=dtype, requires_grad=True)
    torch.library.opcheck(OPS.pool.default, (x, torch.tensor([0, 2, 2, 9]), reduce))


def test_opcheck_sort_edges():
    for edges in (torch.randint(0, 5, (2, 30)), torch.zeros(2, 0, dtype=torch.int64), torch.tensor([[0, 1], [1, 2]])):
        torch.library.opcheck(OPS.sort_edges.default, (edges, 5))


@pytest.mark.parametrize("term", TERMS)
def test_raw_operators_have_gradients(term):
    problem = with_leaves(message_problem(term))
    names = floats_of(problem)
    found = torch.autograd.grad(OPS.gated_message(*raw_arguments(problem)).sum(), [problem[n] for n in names])
    expected = torch.autograd.grad(TWIN.gated_message(**problem).sum(), [problem[n] for n in names])
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("term", TERMS)
def test_backward_operators_refuse_to_be_differentiated(term):
    problem = with_leaves(message_problem(term, **SMALL))
    with pytest.raises(RuntimeError, match=r"gated_message_backward has no gradient of its own: call .*gated_message, which"):
        OPS.gated_message_backward(*message_backward_arguments(problem))
    moments = with_leaves(moments_problem(term, **SMALL))
    with pytest.raises(RuntimeError, match=r"edge_moments_backward has no gradient of its own: call .*edge_moments, which"):
        OPS.edge_moments_backward(*moments_backward_arguments(moments))
    with torch.no_grad():
        found = OPS.gated_message_backward(*message_backward_arguments(problem))
    assert not any(gradient.requires_grad for gradient in found)


def test_backward_operators_refuse_for_the_incoming_gradient_alone():
    problem = message_problem("dense", **SMALL)
    grad = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    with pytest.raises(RuntimeError, match="no gradient of its own"):
        OPS.gated_message_backward(*message_backward_arguments(problem, grad))
    moments = moments_problem("dense", **SMALL)
    grads = [torch.zeros(6, dtype=torch.float64), torch.zeros(6, dtype=torch.float64, requires_grad=True)]
    with pytest.raises(RuntimeError, match="no gradient of its own"):
        OPS.edge_moments_backward(*moments_backward_arguments(moments, grads))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_backward_operators_check_their_input(dtype):
    problem = message_problem("dense", **SMALL, dtype=dtype)
    with pytest.raises(ValueError, match=r"grad must be a .* tensor of shape \(5, 3\)"):
        OPS.gated_message_backward(*message_backward_arguments(problem, torch.zeros(5, 4, dtype=dtype)))
    with pytest.raises(ValueError, match="grad must be a"):
        OPS.gated_message_backward(*message_backward_arguments(problem, torch.zeros(5, 3, dtype=torch.int64)))
    moments = moments_problem("dense", **SMALL, dtype=dtype)
    short = [torch.zeros(6, dtype=dtype), torch.zeros(5, dtype=dtype)]
    with pytest.raises(ValueError, match=r"variance_grad must be a .* tensor of shape \(6,\)"):
        OPS.edge_moments_backward(*moments_backward_arguments(moments, short))


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("term", TERMS)
def test_autocast(term, low):
    """Products in half precision come in, as nn.Linear makes them; everything else stays float32. Sums are in float32."""
    problem = with_leaves(message_problem(term, dtype=torch.float32))
    low_p, low_q = (problem[name].detach().to(low).requires_grad_() for name in ("p", "q"))
    with torch.autocast("cpu", dtype=low):
        out = functional.gated_message(**{**problem, "p": low_p, "q": low_q})
        moments = functional.edge_moments(
            **{name: v for name, v in {**problem, "p": low_p, "q": low_q}.items() if name not in {"center", "scale", "shift"}}
        )
    assert out.dtype == low
    assert all(moment.dtype == torch.float32 for moment in moments)
    wide = {**problem, "p": low_p.detach().float().requires_grad_(), "q": low_q.detach().float().requires_grad_()}
    expected = functional.gated_message(**wide)
    assert torch.equal(out, expected.to(low))
    grad = torch.randn_like(expected).to(low)
    names = [name for name in floats_of(problem) if name not in {"p", "q"}]
    found = torch.autograd.grad(out, [low_p, low_q, *(problem[n] for n in names)], grad)
    wanted = torch.autograd.grad(expected, [wide["p"], wide["q"], *(problem[n] for n in names)], grad.float())
    for ours, theirs in zip(found, wanted, strict=True):
        assert torch.equal(ours, theirs.to(ours.dtype))


KINDS = ("kernel", "gradient", "twin")  # forward-mode derivatives run the twin


def swap(index: int, value: object) -> object:
    args, kwargs = sample_inputs("gaussian")
    return (*args[:index], value, *args[index + 1 :]), kwargs


def change(term: str = "gaussian", **changes: object) -> object:
    args, kwargs = sample_inputs(term)
    return args, {**kwargs, **changes}


def affine(**changes: object) -> object:
    names = ("center", "scale", "shift")
    return change(**{name: torch.ones(32, dtype=torch.float64) for name in names} | changes)


INDICES = {
    "source must be a torch.int64": lambda: swap(2, torch.zeros(720, dtype=torch.int32)),
    "source must lie in [0, 60)": lambda: swap(2, torch.full((720,), 60)),
    "source must lie in [0, 60), got values from -1": lambda: swap(2, torch.full((720,), -1)),
    "row_ptr must be a torch.int64 tensor of shape (61,)": lambda: swap(3, torch.zeros(5, dtype=torch.int64)),
    "row_ptr must end with the number of edges (720)": lambda: swap(3, torch.zeros(61, dtype=torch.int64)),
    "row_ptr must not decrease": lambda: swap(3, torch.tensor([0, 700, *([13] * 58), 720])),
    "row_ptr must begin with 0": lambda: swap(3, torch.tensor([5, *([720] * 60)])),
    "order must be a torch.int64 tensor of shape (720,)": lambda: change(order=torch.zeros(720, dtype=torch.int32)),
    "order must be a torch.int64 tensor of shape (720,) on cpu, got torch.int64 of shape (7,)": lambda: change(
        order=torch.zeros(7, dtype=torch.int64)
    ),
    "order must lie in [0, 720), got values from 0 to 720": lambda: change(
        order=torch.arange(720) + (torch.arange(720) == 719)
    ),
    "order must lie in [0, 720), got values from -5": lambda: change(order=torch.arange(720) - 5),
}
FLOAT_INPUT = {
    "p must have shape (N, 2F)": lambda: swap(0, torch.zeros(60, 3, dtype=torch.float64)),
    "p must be float32 or float64": lambda: swap(0, torch.zeros(60, 32, dtype=torch.int64)),
    "q must be a torch.float64 tensor": lambda: swap(1, torch.zeros(60, 32)),
    "distances must be a torch.float32 or torch.float64 tensor of shape (720,)": lambda: change(distances=torch.zeros(3)),
    "distances and basis go together, got no basis": lambda: change(basis=None),
    "distances and basis go together, got no distances": lambda: change(distances=None),
    "weight must have one row per centre of the basis (41)": lambda: change(weight=torch.zeros(40, 32, dtype=torch.float64)),
    "weight must come with edge_attr or distances": lambda: change(weight=None),
    "weight needs exactly one of edge_attr and distances, got both": lambda: change(
        edge_attr=torch.zeros(720, 41, dtype=torch.float64)
    ),
    "weight needs exactly one of edge_attr and distances, got none": lambda: change(distances=None, basis=None),
    "edge_attr must be a torch.float64 tensor of shape (720, 41)": lambda: change(
        "dense", edge_attr=torch.zeros(720, 40).double()
    ),
    "edge_weight must be a torch.float32 or torch.float64 tensor of shape (720,)": lambda: change(edge_weight=torch.zeros(7)),
}
AFFINE = {
    "center, scale and shift go together, got no center": lambda: affine(center=None),
    "center, scale and shift go together, got no scale and no shift": lambda: affine(scale=None, shift=None),
    "center must be a torch.float64 tensor of shape (32,)": lambda: affine(center=torch.zeros(16, dtype=torch.float64)),
    "scale must be a torch.float64 tensor of shape (32,) on cpu, got torch.float32": lambda: affine(scale=torch.zeros(32)),
    "shift must be a torch.float64 tensor of shape (32,)": lambda: affine(shift=torch.zeros(1, 32, dtype=torch.float64)),
}
BAD = INDICES | FLOAT_INPUT | AFFINE


def check_refusal(make, message, function, how):
    args, kwargs = make()
    if how == "gradient":
        for tensor in (*args, *kwargs.values()):
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                tensor.requires_grad_()
    forward_mode = torch.autograd.forward_ad.dual_level if how == "twin" else contextlib.nullcontext
    with pytest.raises(ValueError, match=re.escape(message)), forward_mode():
        function(*args, **kwargs)


@pytest.mark.parametrize("how", KINDS)
@pytest.mark.parametrize("message", BAD)
def test_bad_input_names_the_argument(message, how):
    """Kernel and twin refuse the same things in the same words."""
    check_refusal(BAD[message], message, functional.gated_message, how)
    if message not in AFFINE:
        check_refusal(BAD[message], message, functional.edge_moments, how)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"step": 0.0}, "step > 0"),
        ({"width": -1.0}, "width > 0"),
        ({"start": 9.0}, "stop >= start"),
        ({"stop": float("inf")}, "finite"),
    ],
)
def test_bad_basis(fields, message):
    with pytest.raises(ValueError, match=message):
        GaussianBasis(**fields)
