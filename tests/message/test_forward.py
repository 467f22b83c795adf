"""The fused forward equals its twin, whatever the shape, the term, the dtype and the instruction set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from samples import BASIS, KERNEL, TERMS, sample_inputs

from cgfast import reference
from cgfast._native import core
from cgfast.basis import GaussianBasis

pytestmark = pytest.mark.usefixtures("each_device")
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_features", [1, 3, 16, 64, 65, 130])
def test_equals_twin(term, dtype, weighted, n_features):
    args, kwargs = sample_inputs(term, n_features=n_features, dtype=dtype, weighted=weighted)
    expected = reference.gated_message(*args, **kwargs)
    out = KERNEL.gated_message(*args, **kwargs)
    assert out.dtype == dtype
    torch.testing.assert_close(out, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * 10)


@pytest.mark.parametrize(
    "basis",
    [
        GaussianBasis(0.0, 8.0, 0.2, 1.4),  # seven steps wide: the window is most of the basis
        GaussianBasis(0.0, 8.0, 0.1, 3.0),  # wider than the basis
        GaussianBasis(2.0, 3.0, 0.25, 0.05),  # narrower than a step, distances on both sides
        GaussianBasis(-1.0, 20.0, 0.5, 0.7),
        GaussianBasis(4.0, 4.0, 1.0, 0.3),  # one centre
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_basis(basis, dtype):
    args, kwargs = sample_inputs("gaussian", dtype=dtype, basis=basis)
    torch.testing.assert_close(
        KERNEL.gated_message(*args, **kwargs),
        reference.gated_message(*args, **kwargs),
        rtol=TOLERANCE[dtype],
        atol=TOLERANCE[dtype] * 10,
    )


def test_distances_outside_the_basis():
    args, kwargs = sample_inputs("gaussian")
    far = kwargs["distances"].clone()
    far[::3] = 9.0
    far[1::3] = 1e6
    far[2::3] = -4.0
    kwargs["distances"] = far
    torch.testing.assert_close(KERNEL.gated_message(*args, **kwargs), reference.gated_message(*args, **kwargs))


def test_nan_distance_is_not_hidden():
    args, kwargs = sample_inputs("gaussian")
    row_ptr = args[3]
    kwargs["distances"][row_ptr[5]] = float("nan")
    out = KERNEL.gated_message(*args, **kwargs)
    assert out[5].isnan().all()
    assert not out[4].isnan().any()
    assert not out[6].isnan().any()


@pytest.mark.parametrize("value", [-1e4, -200.0, -40.0, 40.0, 200.0, 1e4])
def test_saturated_gates(value):
    (p, q, source, row_ptr), kwargs = sample_inputs("none", dtype=torch.float32)
    p = torch.full_like(p, value)
    out = KERNEL.gated_message(p, q, source, row_ptr, **kwargs)
    expected = reference.gated_message(p.double(), q.double(), source, row_ptr)
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-30)


def rms_error(out: torch.Tensor, exact: torch.Tensor) -> float:
    return float((out.double() - exact).square().mean().sqrt())


@pytest.mark.parametrize("term", TERMS)
def test_float32_error_is_that_of_the_twin(term):
    args, kwargs = sample_inputs(term, n_features=64, n_atoms=200, dtype=torch.float32, seed=3)
    assert len(args[2]) >= 1000
    wide = {k: v.double() if isinstance(v, torch.Tensor) else v for k, v in kwargs.items()}
    exact = reference.gated_message(args[0].double(), args[1].double(), *args[2:], **wide)
    twin = rms_error(reference.gated_message(*args, **kwargs), exact)
    assert rms_error(KERNEL.gated_message(*args, **kwargs), exact) <= 2 * twin


def test_strided_and_non_contiguous_inputs():
    args, kwargs = sample_inputs("dense", weighted=True)
    p, q, source, row_ptr = args
    pq = torch.cat([p, q], dim=1)
    expected = KERNEL.gated_message(*args, **kwargs)
    half = p.shape[1]
    assert torch.equal(KERNEL.gated_message(pq[:, :half], pq[:, half:], source, row_ptr, **kwargs), expected)
    scattered = {k: v.repeat_interleave(2, dim=-1)[..., ::2] for k, v in kwargs.items()}
    pairs = torch.stack([source, source], dim=1)
    out = KERNEL.gated_message(p.t().contiguous().t(), q.repeat(1, 2)[:, :half], pairs[:, 0], row_ptr, **scattered)
    assert torch.equal(out, expected)


def test_expanded_rows():
    args, kwargs = sample_inputs("none")
    p = args[0][:1].expand_as(args[0])
    out = KERNEL.gated_message(p, *args[1:], **kwargs)
    torch.testing.assert_close(out, reference.gated_message(p, *args[1:], **kwargs))


@pytest.mark.parametrize("term", TERMS)
def test_isolated_atoms_and_empty_graphs(term):
    args, kwargs = sample_inputs(term)
    p, q, source, row_ptr = args
    isolated = torch.cat([row_ptr, row_ptr[-1:]])
    out = KERNEL.gated_message(torch.cat([p, p[:1]]), q, source, isolated, **kwargs)
    assert torch.equal(out[-1], torch.zeros_like(out[-1]))
    empty = {k: v[:0] if k in {"edge_attr", "distances"} else v for k, v in kwargs.items()}
    out = KERNEL.gated_message(p, q, source[:0], torch.zeros_like(row_ptr), **empty)
    assert torch.equal(out, torch.zeros_like(out))
    nothing = KERNEL.gated_message(p[:0], q[:0], source[:0], row_ptr[:1], **empty)
    assert nothing.shape == (0, p.shape[1] // 2)


def test_bipartite():
    (p, q, source, row_ptr), _ = sample_inputs("none")
    more_sources = torch.cat([q, q.flip(0)])
    out = KERNEL.gated_message(p, more_sources, source + len(q), row_ptr)
    torch.testing.assert_close(out, reference.gated_message(p, more_sources, source + len(q), row_ptr))


@pytest.mark.parametrize("term", TERMS)
def test_same_bits_for_every_thread_count_and_run(term):
    args, kwargs = sample_inputs(term, n_features=64, n_atoms=300, dtype=torch.float32, weighted=True)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3, 7, 1):
            torch.set_num_threads(threads)
            results.append(KERNEL.gated_message(*args, **kwargs))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(results[0], other) for other in results[1:])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_accumulates_in_float32(dtype):
    args, kwargs = sample_inputs("gaussian", dtype=dtype, weighted=True)
    wide = {k: v.float() if isinstance(v, torch.Tensor) and v.dtype == dtype else v for k, v in kwargs.items()}
    expected = KERNEL.gated_message(args[0].float(), args[1].float(), *args[2:], **wide).to(dtype)
    assert torch.equal(KERNEL.gated_message(*args, **kwargs), expected)


ISA_SCRIPT = """
import sys; sys.path.insert(0, {folder!r})
import torch
from samples import sample_inputs
from cgfast import functional, reference
from cgfast._native import core
for dtype, tolerance in ((torch.float32, 2e-5), (torch.float64, 1e-12)):
    for term in ("none", "dense", "gaussian"):
        for n_features in (5, 64):
            args, kwargs = sample_inputs(term, n_features=n_features, dtype=dtype, weighted=True)
            torch.testing.assert_close(functional.gated_message(*args, **kwargs), reference.gated_message(*args, **kwargs),
                                       rtol=tolerance, atol=10 * tolerance)
print(core().isa())
"""


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
def test_every_instruction_set(isa):
    if not core().isa_supported(isa):
        pytest.skip(f"this processor or build has no {isa}")
    script = ISA_SCRIPT.format(folder=str(Path(__file__).parent))
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], env={**os.environ, "CGFAST_ISA": isa}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == isa


def test_unknown_instruction_set_is_refused():
    done = subprocess.run(
        [sys.executable, "-P", "-c", "from cgfast._native import core; core().isa()"],
        env={**os.environ, "CGFAST_ISA": "mmx"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "CGFAST_ISA must be baseline, avx2 or avx512" in done.stderr


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_functions_are_accurate_to_a_few_ulp(dtype, each_device):
    """One edge per target and no second term: the op is sigmoid(gate) * softplus(core), against 80-bit floats."""
    if np.finfo(np.longdouble).eps >= np.finfo(np.float64).eps:
        pytest.skip("no long double on this platform")
    limit = 80.0 if dtype == torch.float32 else 600.0
    grid = torch.linspace(-limit, limit, 20_001, dtype=dtype)
    near_zero = torch.linspace(-2.0, 2.0, 20_001, dtype=dtype)
    gate = torch.cat([grid, near_zero, torch.full_like(grid, limit)])
    core = torch.cat([grid.flip(0), near_zero, grid])
    p = torch.stack([gate, core], dim=1)
    n = len(p)
    out = KERNEL.gated_message(p, torch.zeros_like(p), torch.arange(n), torch.arange(n + 1)).numpy()[:, 0]
    wide_gate, wide_core = gate.numpy().astype(np.longdouble), core.numpy().astype(np.longdouble)
    softplus = np.maximum(wide_core, 0) + np.log1p(np.exp(-np.abs(wide_core)))
    exact = softplus / (1 + np.exp(-wide_gate))
    normal = exact > np.finfo(out.dtype).tiny * 1e3
    ulps = np.abs(out - exact)[normal] / (exact[normal] * np.finfo(out.dtype).eps)
    limits = np.full(n, 8.0)  # two exponentials, a logarithm and a quotient, each within 2
    if each_device == "cuda" and dtype == torch.float32:  # and there the rounding of the exponents as powers of two
        limits += np.abs(gate.numpy()) + np.abs(core.numpy())
    assert (ulps < limits[normal]).all()


def test_basis_matches_its_formula():
    distances = torch.linspace(0.0, 9.0, 500, dtype=torch.float64)
    centres = torch.arange(41, dtype=torch.float64) * 0.2
    expected = torch.exp(-((distances[:, None] - centres) ** 2) / 0.2**2)
    expected[expected < 1e-30] = 0.0
    torch.testing.assert_close(BASIS(distances), expected, rtol=1e-12, atol=0.0)
    assert BASIS.n_centres == 41
