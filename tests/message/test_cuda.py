"""What only a CUDA device can show: streams, captured graphs, no waiting, no memory left behind, indices that point outside.

That the numbers are right there: the other modules of this folder (`each_device`), and without a device the emulated
kernels of tests/native.
"""

from __future__ import annotations

import functools

import pytest
import torch
from samples import (
    KERNEL,
    TERMS,
    floats_of,
    message_problem,
    moments_problem,
    moved,
    pointers,
    raw_arguments,
    with_leaves,
)

from cgfast import functional
from cgfast.ops import cuda_kernels

DEVICE = "cuda"


pytestmark = pytest.mark.usefixtures("needs_cuda")


def on_device(problem, names=None):
    return with_leaves({name: moved(value, DEVICE) for name, value in problem.items()}, names)


@functools.cache
def two_crystals():
    """Made once: a captured graph cannot copy from the memory of the CPU."""
    return torch.tensor([0, 5, 12], device=DEVICE)


def everything(problem):
    """A message, moments of the same edges, and all gradients of both."""
    out = functional.gated_message(**problem)
    edges = {name: value for name, value in problem.items() if name not in {"center", "scale", "shift"}}
    mean, variance = functional.edge_moments(**edges)
    pooled = functional.pool(out[:12], two_crystals(), "mean")
    total = pooled.square().sum() + (mean + variance).square().sum()
    return [out, mean, variance, *torch.autograd.grad(total, [problem[name] for name in floats_of(problem)])]


def test_the_kernels_are_used():
    assert cuda_kernels()
    problem = on_device(message_problem("gaussian"))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        everything(problem)
        torch.cuda.synchronize()
    names = " ".join(event.key for event in profile.key_averages())
    for kernel in ("message_rows", "target_gradients", "source_gradients", "chunk_moments", "pool_graphs"):
        assert kernel in names


@pytest.mark.parametrize("term", TERMS)
def test_nothing_waits_for_the_device(term):
    problem = on_device(message_problem(term))
    everything(problem)  # what torch does once
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        functional.gated_message(**problem).sum().backward()
        edges = {name: value for name, value in problem.items() if name not in {"center", "scale", "shift"}}
        sum(functional.edge_moments(**edges)).sum().backward()
        functional.pool(problem["p"], two_crystals(), "max").sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("term", TERMS)
def test_captured_in_a_graph(term):
    problem = on_device(message_problem(term, dtype=torch.float32))
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            everything(problem)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = everything(problem)
    for seed in (1, 2):
        fresh = on_device(message_problem(term, dtype=torch.float32, seed=seed))
        with torch.no_grad():
            for name, value in problem.items():
                if isinstance(value, torch.Tensor):
                    value.copy_(fresh[name])
        graph.replay()
        for ours, expected in zip(captured, everything(fresh), strict=True):
            assert torch.equal(ours, expected)


def test_on_the_current_stream():
    problem = on_device(message_problem("gaussian", row_ptr=pointers([30] * 2000), n_sources=2000, n_features=64))
    expected = everything(problem)
    torch.cuda.synchronize()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        torch.cuda._sleep(100_000_000)
        late = {name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in problem.items()}
        found = everything({name: late[name] if name not in floats_of(problem) else value for name, value in problem.items()})
    torch.cuda.current_stream().wait_stream(side)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


def test_no_memory_is_left_behind():
    problem = on_device(message_problem("dense"))
    everything(problem)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    for _ in range(3):
        everything(problem)
    assert torch.cuda.memory_allocated() == before


@pytest.mark.parametrize("outside", [-1, 9, 2**40])
@pytest.mark.parametrize("name", ["source", "order"])
def test_indices_outside_give_nan_in_their_row(name, outside):
    problem = message_problem("gaussian")
    clean = KERNEL.gated_message(**problem)
    problem[name] = problem[name].clone()
    problem[name][problem["row_ptr"][3]] = outside if outside != 9 or name == "source" else len(problem["source"])
    found = functional.gated_message(**on_device(problem)).detach().cpu()
    rows = torch.arange(len(found)) == 3
    assert found[rows].isnan().all()
    torch.testing.assert_close(found[~rows], clean[~rows])


@pytest.mark.parametrize("term", TERMS)
def test_opcheck(term):
    problem = on_device(message_problem(term, row_ptr=pointers([0, 3, 17, 1]), n_sources=4, n_features=3))
    torch.library.opcheck(torch.ops.cgfast.gated_message.default, raw_arguments(problem))
    problem = on_device(moments_problem(term, row_ptr=pointers([0, 3, 17, 1]), n_sources=4, n_features=3))
    torch.library.opcheck(torch.ops.cgfast.edge_moments.default, raw_arguments(problem, affine=False))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast(dtype):
    problem = on_device(message_problem("gaussian", dtype=torch.float32))
    expected = functional.gated_message(**problem)
    with torch.autocast(DEVICE, dtype):
        assert torch.equal(functional.gated_message(**problem), expected)


def test_tensors_of_two_devices_are_refused():
    problem = on_device(message_problem("none"))
    with pytest.raises(ValueError, match=r"q must be .* on cuda:0, got .* on cpu"):
        functional.gated_message(**{**problem, "q": problem["q"].detach().cpu()})
