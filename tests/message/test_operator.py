"""The operator as torch sees it: fake, opcheck, compile, gradients (by the twin), and bad input."""

from __future__ import annotations

import re

import pytest
import torch
from samples import TERMS, sample_inputs

from cgfast import functional, reference
from cgfast.basis import GaussianBasis


def raw_arguments(term: str, **options: object) -> tuple[object, ...]:
    args, kwargs = sample_inputs(term, **options)
    return (
        *args,
        kwargs.get("edge_attr"),
        kwargs.get("weight"),
        kwargs.get("distances"),
        0.0,
        0.2,
        0.2,
        kwargs.get("edge_weight"),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("term", TERMS)
def test_opcheck(term, dtype):
    utilities = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
    torch.library.opcheck(
        torch.ops.cgfast.gated_message.default, raw_arguments(term, dtype=dtype, weighted=True), test_utils=utilities
    )


def test_raw_operator_refuses_to_lose_a_gradient():
    with pytest.raises(RuntimeError, match="no gradient of its own"):
        torch.ops.cgfast.gated_message(*raw_arguments("dense", requires_grad=True))
    with torch.no_grad():
        assert not torch.ops.cgfast.gated_message(*raw_arguments("dense", requires_grad=True)).requires_grad


@pytest.mark.parametrize("term", TERMS)
def test_gradients(term):
    args, kwargs = sample_inputs(term, n_features=2, n_atoms=4, requires_grad=True, basis=GaussianBasis(0, 8, 1.0))
    names = [name for name, value in kwargs.items() if isinstance(value, torch.Tensor)]

    def run(p, q, *values):
        options = {**kwargs, **dict(zip(names, values, strict=True))}
        return functional.gated_message(p, q, args[2], args[3], **options)

    inputs = (args[0], args[1], *(kwargs[name] for name in names))
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


@pytest.mark.parametrize("term", TERMS)
def test_compile_without_graph_breaks(term):
    args, kwargs = sample_inputs(term, dtype=torch.float32)
    compiled = torch.compile(functional.gated_message, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*args, **kwargs), functional.gated_message(*args, **kwargs))


@pytest.mark.parametrize("term", TERMS)
def test_forward_mode_derivatives(term):
    (p, q, source, row_ptr), kwargs = sample_inputs(term)
    tangents = (torch.ones_like(p), torch.zeros_like(q))

    def run(function):
        return torch.func.jvp(lambda a, b: function(a, b, source, row_ptr, **kwargs), (p, q), tangents)[1]

    derivative = run(functional.gated_message)
    torch.testing.assert_close(derivative, run(reference.gated_message))
    assert derivative.abs().max() > 0
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(p, torch.ones_like(p))
        tangent = torch.autograd.forward_ad.unpack_dual(functional.gated_message(dual, q, source, row_ptr, **kwargs)).tangent
        torch.testing.assert_close(tangent, derivative)
        with pytest.raises(RuntimeError, match="no gradient of its own"):
            torch.ops.cgfast.gated_message(*raw_arguments(term))


BAD_POINTERS = [
    ([0, 2, 50], "end with the number of atoms"),
    ([0, 2], "end with the number of atoms"),
    ([1, 4], "begin with 0"),
    ([], "begin with 0"),
    ([0, 3, 2, 4], "not decrease"),
    ([0.0, 4.0], "torch.int64"),
]


@pytest.mark.parametrize(("pointers", "message"), BAD_POINTERS)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_pool_refuses_pointers_that_lead_elsewhere(pointers, message, requires_grad):
    dtype = torch.float64 if message == "torch.int64" else torch.int64
    with pytest.raises(ValueError, match=message):
        functional.pool(torch.ones(4, 3, requires_grad=requires_grad), torch.tensor(pointers, dtype=dtype))


@pytest.mark.parametrize("reduce", functional.REDUCTIONS)
def test_pool(reduce):
    x = torch.randn(50, 7, dtype=torch.float64, requires_grad=True)
    graph_ptr = torch.tensor([0, 1, 1, 20, 50])
    torch.testing.assert_close(functional.pool(x, graph_ptr, reduce), reference.pool(x, graph_ptr, reduce))
    assert torch.equal(functional.pool(x, graph_ptr, reduce)[1], torch.zeros(7, dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda v: functional.pool(v, graph_ptr, reduce), x)
    if reduce in {"mean", "sum"}:  # torch has no second derivative of the others
        assert torch.autograd.gradgradcheck(lambda v: functional.pool(v, graph_ptr, reduce), x)
    with torch.no_grad():
        torch.testing.assert_close(functional.pool(x, graph_ptr, reduce), reference.pool(x, graph_ptr, reduce))
    assert functional.pool(x[:0], torch.zeros(3, dtype=torch.int64), reduce).shape == (2, 7)


def test_pool_rejects_an_unknown_reduction():
    with pytest.raises(ValueError, match="reduce must be one of mean, sum, min, max, got 'median'"):
        functional.pool(torch.zeros(2, 2), torch.tensor([0, 2]), "median")


def swap(index: int, value: object) -> object:
    args, kwargs = sample_inputs("gaussian")
    return (*args[:index], value, *args[index + 1 :]), kwargs


def change(term: str = "gaussian", **changes: object) -> object:
    args, kwargs = sample_inputs(term)
    return args, {**kwargs, **changes}


BAD = {
    "p must have shape (N, 2F)": lambda: swap(0, torch.zeros(60, 3, dtype=torch.float64)),
    "p must be float32 or float64": lambda: swap(0, torch.zeros(60, 32, dtype=torch.int64)),
    "q must be a torch.float64 tensor": lambda: swap(1, torch.zeros(60, 32)),
    "source must be a torch.int64": lambda: swap(2, torch.zeros(720, dtype=torch.int32)),
    "source must lie in [0, 60)": lambda: swap(2, torch.full((720,), 60)),
    "source must lie in [0, 60), got values from -1": lambda: swap(2, torch.full((720,), -1)),
    "row_ptr must be a torch.int64 tensor of shape (61,)": lambda: swap(3, torch.zeros(5, dtype=torch.int64)),
    "row_ptr must end with the number of edges (720)": lambda: swap(3, torch.zeros(61, dtype=torch.int64)),
    "row_ptr must not decrease": lambda: swap(3, torch.tensor([0, 700, *([13] * 58), 720])),
    "row_ptr must begin with 0": lambda: swap(3, torch.tensor([5, *([720] * 60)])),
    "distances must be a torch.float32 or torch.float64 tensor of shape (720,)": lambda: change(distances=torch.zeros(3)),
    "distances and basis go together, got no basis": lambda: change(basis=None),
    "weight must have one row per centre of the basis (41)": lambda: change(weight=torch.zeros(40, 32, dtype=torch.float64)),
    "weight must come with edge_attr or distances": lambda: change(weight=None),
    "weight needs exactly one of edge_attr and distances": lambda: change(edge_attr=torch.zeros(720, 41, dtype=torch.float64)),
    "edge_attr must be a torch.float64 tensor of shape (720, 41)": lambda: change(
        "dense", edge_attr=torch.zeros(720, 40).double()
    ),
    "edge_weight must be a torch.float32 or torch.float64 tensor of shape (720,)": lambda: change(edge_weight=torch.zeros(7)),
}


@pytest.mark.parametrize("twin", [False, True])
@pytest.mark.parametrize("message", BAD)
def test_bad_input_names_the_argument(message, twin):
    """Kernel and twin refuse the same things in the same words; a gradient makes it the twin."""
    args, kwargs = BAD[message]()
    for tensor in (*args, *kwargs.values()):
        if twin and isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
            tensor.requires_grad_()
    with pytest.raises(ValueError, match=re.escape(message)):
        functional.gated_message(*args, **kwargs)


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
