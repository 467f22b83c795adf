"""pool against NumPy and its twin: values, gradients, ties, crystals without atoms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from samples import KERNEL, TWIN, per_thread_count, pointers

from cgfast.functional import REDUCTIONS, pool
from cgfast.nn import Pool

pytestmark = pytest.mark.usefixtures("each_device")
NUMPY = {"mean": np.mean, "sum": np.sum, "min": np.min, "max": np.max}
COUNTS = (1, 0, 19, 30, 0, 2, 700, 1, 0)
TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-14}


def values(counts=COUNTS, n_features=7, dtype=torch.float64, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(sum(counts), n_features, generator=rng, dtype=torch.float64).to(dtype), pointers(counts)


def with_numpy(x, graph_ptr, reduce):
    parts = np.split(x.double().numpy(), graph_ptr[1:-1].numpy())
    rows = [NUMPY[reduce](part, axis=0) if len(part) else np.zeros(x.shape[1]) for part in parts]
    return torch.from_numpy(np.stack(rows))


def gradient(module, x, graph_ptr, reduce, grad):
    leaf = x.detach().clone().requires_grad_()
    return torch.autograd.grad(module.pool(leaf, graph_ptr, reduce), leaf, grad)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_features", [1, 7, 64])
@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_values(reduce, n_features, dtype):
    x, graph_ptr = values(n_features=n_features, dtype=dtype)
    found = KERNEL.pool(x, graph_ptr, reduce)
    assert found.dtype == dtype
    tolerance = {"rtol": TOLERANCE[dtype], "atol": 30 * TOLERANCE[dtype]}
    torch.testing.assert_close(found.double(), with_numpy(x, graph_ptr, reduce), **tolerance)
    torch.testing.assert_close(found, TWIN.pool(x, graph_ptr, reduce), rtol=1e-4, atol=30 * TOLERANCE[dtype])
    assert torch.equal(Pool(reduce)(x, graph_ptr), found)


def test_mean_is_the_default():
    x, graph_ptr = values()
    assert torch.equal(KERNEL.pool(x, graph_ptr), KERNEL.pool(x, graph_ptr, "mean"))


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_gradients(reduce):
    x, graph_ptr = values()
    for grad in (torch.randn(9, 7, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64).expand(9, 7)):
        found = gradient(KERNEL, x, graph_ptr, reduce, grad)
        torch.testing.assert_close(found, gradient(TWIN, x, graph_ptr, reduce, grad), rtol=1e-13, atol=1e-13)
        if reduce == "sum":
            assert torch.equal(found, grad.repeat_interleave(torch.tensor(COUNTS), dim=0))


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_gradcheck(reduce):
    x, graph_ptr = values((1, 0, 3, 4), n_features=2)
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda v: KERNEL.pool(v, graph_ptr, reduce), x)
    assert torch.autograd.gradgradcheck(lambda v: KERNEL.pool(v, graph_ptr, reduce), x)
    assert torch.autograd.gradgradcheck(lambda v: KERNEL.pool(v * v, graph_ptr, reduce), x)


@pytest.mark.parametrize("reduce", ["min", "max"])
@pytest.mark.parametrize("extreme", [0.0, 2.0])
@pytest.mark.parametrize("module", [KERNEL, TWIN], ids=["kernel", "twin"])
def test_ties_share_the_gradient(reduce, extreme, module):
    """Also where the extreme is zero, as behind a ReLU."""
    sign = 1.0 if reduce == "max" else -1.0
    x = sign * torch.tensor([[extreme], [extreme - 1], [extreme], [extreme], [extreme - 2], [extreme]], dtype=torch.float64)
    grad = torch.tensor([[6.0], [5.0], [4.0]], dtype=torch.float64)
    found = gradient(module, x, pointers([4, 0, 2]), reduce, grad)
    assert found.flatten().tolist() == [2.0, 0.0, 2.0, 2.0, 0.0, 4.0]


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_nan_is_not_hidden(reduce):
    for place in range(3):
        x = torch.tensor([[3.0, 1.0], [1.0, 2.0], [2.0, 3.0], [5.0, 5.0]])
        x[place, 0] = float("nan")
        found = KERNEL.pool(x, pointers([3, 1]), reduce)
        assert found.isnan().tolist() == [[True, False], [False, False]]


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_infinities(reduce):
    x = torch.tensor([[3.0, -float("inf")], [float("inf"), 2.0], [-float("inf"), -float("inf")]])
    for counts in ([3], [1, 2], [2, 1]):
        torch.testing.assert_close(
            KERNEL.pool(x, pointers(counts), reduce), TWIN.pool(x, pointers(counts), reduce), rtol=0, atol=0, equal_nan=True
        )


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_crystals_without_atoms(reduce):
    for n_crystals in (0, 1, 200):
        graph_ptr = torch.zeros(n_crystals + 1, dtype=torch.int64)
        x = torch.randn(0, 5, dtype=torch.float64, requires_grad=True)
        found = KERNEL.pool(x, graph_ptr, reduce)
        assert torch.equal(found, torch.zeros(n_crystals, 5, dtype=torch.float64))
        assert torch.autograd.grad(found.sum(), x)[0].shape == (0, 5)
    x, graph_ptr = values(counts=(0, 3, 0, 0))
    x = -x.abs() if reduce == "max" else x.abs()
    grad = torch.full((4, 7), 7.0, dtype=torch.float64)
    assert KERNEL.pool(x, graph_ptr, reduce)[[0, 2, 3]].eq(0).all()
    expected = gradient(TWIN, x, graph_ptr, reduce, grad)
    torch.testing.assert_close(gradient(KERNEL, x, graph_ptr, reduce, grad), expected)


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_layouts(reduce):
    x, graph_ptr = values()
    wide = torch.cat([torch.full_like(x, float("nan")), x], dim=1)
    grad = torch.randn(9, 7, dtype=torch.float64)
    expected, of_x = KERNEL.pool(x, graph_ptr, reduce), gradient(KERNEL, x, graph_ptr, reduce, grad)
    views = (
        wide[:, 7:],
        x.t().contiguous().t(),
        x.repeat_interleave(2, dim=1)[:, ::2],
        x.repeat_interleave(2, dim=0)[::2],
    )
    for view in views:
        assert torch.equal(KERNEL.pool(view, graph_ptr, reduce), expected)
        torch.testing.assert_close(gradient(KERNEL, view, graph_ptr, reduce, grad), of_x)
    pairs = torch.stack([graph_ptr, graph_ptr], dim=1)
    assert torch.equal(KERNEL.pool(x, pairs[:, 0], reduce), expected)
    rows = x[:1].expand_as(x)
    torch.testing.assert_close(KERNEL.pool(rows, graph_ptr, reduce), TWIN.pool(rows.contiguous(), graph_ptr, reduce))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_half_precision_computes_in_float32(reduce, dtype):
    x, graph_ptr = values(dtype=dtype)
    x.requires_grad_()
    found = KERNEL.pool(x, graph_ptr, reduce)
    assert torch.equal(found, KERNEL.pool(x.float(), graph_ptr, reduce).to(dtype))
    assert torch.autograd.grad(found.sum(), x)[0].dtype == dtype


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_same_bits_for_every_thread_count(reduce):
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 60, 900)
    x, graph_ptr = values(counts, n_features=16, dtype=torch.float32)
    grad = torch.randn(900, 16)
    first, *others = per_thread_count(lambda: (KERNEL.pool(x, graph_ptr, reduce), gradient(KERNEL, x, graph_ptr, reduce, grad)))
    for other in others:
        assert all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_a_crystal_does_not_depend_on_its_batch(reduce):
    x, graph_ptr = values(dtype=torch.float32)
    together = KERNEL.pool(x, graph_ptr, reduce)
    for b in (2, 6):
        part = x[graph_ptr[b] : graph_ptr[b + 1]]
        assert torch.equal(KERNEL.pool(part, pointers([len(part)]), reduce)[0], together[b])


def test_long_sums_are_accurate():
    x = torch.rand(200_000, 2)
    for reduce in ("mean", "sum"):
        found = KERNEL.pool(x, pointers([200_000]), reduce)[0].double()
        torch.testing.assert_close(found, getattr(x.double(), reduce)(0), rtol=5e-6, atol=0)


@pytest.mark.parametrize(
    ("graph_ptr", "message"),
    [
        ([0, 2, 50], "end with the number of atoms"),
        ([0, 2], "end with the number of atoms"),
        ([0], "end with the number of atoms"),
        ([1, 4], "begin with 0"),
        ([-1, 4], "begin with 0"),
        ([], "begin with 0"),
        ([0, 3, 2, 4], "not decrease"),
        ([0, 9, 4], "not decrease"),
        ([0, -3, 4], "not decrease"),
        ([0.0, 4.0], "torch.int64"),
        ([[0, 4]], "graph_ptr must be a torch.int64 tensor"),
    ],
)
@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("twin", [False, True])
def test_refuses_pointers_that_lead_elsewhere(graph_ptr, message, requires_grad, twin):
    dtype = torch.float64 if message == "torch.int64" else torch.int64
    x = torch.ones(4, 3, requires_grad=requires_grad)
    graph_ptr = torch.tensor(graph_ptr, dtype=dtype)
    with pytest.raises(ValueError, match=message):
        torch.func.vmap(lambda v: pool(v, graph_ptr))(x[None]) if twin else pool(x, graph_ptr)


def test_refuses_other_input():
    with pytest.raises(ValueError, match="reduce must be one of mean, sum, min, max, got 'median'"):
        pool(torch.zeros(2, 2), torch.tensor([0, 2]), "median")
    with pytest.raises(ValueError, match=r"x must have shape \(N, F\), got \(2,\)"):
        pool(torch.zeros(2), torch.tensor([0, 2]))
    with pytest.raises(ValueError, match=r"x must be a torch\.float32 or torch\.float64"):
        pool(torch.zeros(2, 2, dtype=torch.int64), torch.tensor([0, 2]))
    with pytest.raises(ValueError, match="reduce must be one of"):
        Pool("median")
