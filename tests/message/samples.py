"""Inputs of the message ops, made from generated crystals and random edges, so that no data set is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from cgfast import functional, reference
from cgfast.basis import GaussianBasis
from cgfast.neighbors import neighbor_list

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

TERMS = ("none", "dense", "gaussian")
BASIS = GaussianBasis()
FLOATS = ("p", "q", "edge_attr", "weight", "distances", "edge_weight", "center", "scale", "shift")
EDGE_FLOATS = FLOATS[:6]  # those that edge_moments has too
DEGREES = (0, 12, 1, 15, 16, 17, 33, 0, 5, 48, 2, 0)  # around the block of 16 edges, with isolated atoms first and last

Problem = dict[str, Any]  # the arguments of gated_message, all by name


def crystal_edges(n_atoms: int = 60, seed: int = 0, max_neighbors: int | None = 12) -> Any:
    rng = np.random.default_rng(seed)
    cell = np.diag([9.0, 10.0, 11.0]) + rng.normal(size=(3, 3))
    return neighbor_list(rng.random((n_atoms, 3)) @ cell, cell, pbc=True, cutoff=8.0, max_neighbors=max_neighbors)


def sample_inputs(
    term: str,
    *,
    n_features: int = 16,
    dtype: torch.dtype = torch.float64,
    basis: GaussianBasis = BASIS,
    weighted: bool = False,
    requires_grad: bool = False,
    n_atoms: int = 60,
    seed: int = 0,
) -> tuple[tuple[torch.Tensor, ...], dict[str, Any]]:
    """Positional and keyword arguments of gated_message."""
    edges = crystal_edges(n_atoms, seed)
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(requires_grad)

    source, row_ptr = torch.from_numpy(edges.source.copy()), torch.from_numpy(edges.row_ptr)
    positional = (random(n_atoms, 2 * n_features), random(n_atoms, 2 * n_features), source, row_ptr)
    keywords: dict[str, Any] = {}
    n_basis = basis.n_centres
    if term != "none":
        keywords["weight"] = random(n_basis, 2 * n_features)
    if term == "dense":
        keywords["edge_attr"] = random(edges.n_edges, n_basis)
    if term == "gaussian":
        keywords["distances"] = torch.from_numpy(edges.distances).requires_grad_(requires_grad)
        keywords["basis"] = basis
    if weighted:
        keywords["edge_weight"] = torch.rand(edges.n_edges, generator=generator, dtype=torch.float64).to(dtype)
    return positional, keywords


def pointers(degrees: Iterable[int]) -> torch.Tensor:
    return torch.tensor([0, *np.cumsum(list(degrees))], dtype=torch.int64)


def message_problem(
    term: str,
    *,
    row_ptr: torch.Tensor | None = None,
    source: torch.Tensor | None = None,
    n_sources: int = 9,
    n_features: int = 5,
    n_basis: int = 7,
    dtype: torch.dtype = torch.float64,
    basis: GaussianBasis = BASIS,
    weighted: bool = True,
    ordered: bool = True,
    affine: bool = True,
    seed: int = 0,
) -> Problem:
    """Random edges, by default in rows of every kind, from fewer sources (repeated) than rows."""
    rng = torch.Generator().manual_seed(seed)
    row_ptr = pointers(DEGREES) if row_ptr is None else row_ptr
    n_rows, n_edges, channels = len(row_ptr) - 1, int(row_ptr[-1]), 2 * n_features

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64).to(dtype)

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(*shape, generator=rng, dtype=torch.float64)

    problem: Problem = {"p": random(n_rows, channels), "q": random(n_sources, channels)}
    problem["source"] = torch.randint(0, max(n_sources, 1), (n_edges,), generator=rng) if source is None else source
    problem["row_ptr"] = row_ptr
    if term != "none":
        problem["weight"] = random(n_basis if term == "dense" else basis.n_centres, channels)
    if term == "dense":
        problem["edge_attr"] = random(n_edges, n_basis)
    if term == "gaussian":
        problem["distances"] = uniform(basis.start - 0.5, basis.stop + 0.5, n_edges)
        problem["basis"] = basis
    if weighted:
        problem["edge_weight"] = uniform(0.1, 1.5, n_edges).to(dtype)
    if ordered:
        problem["order"] = torch.randperm(n_edges, generator=rng)
    if affine:
        problem["center"], problem["shift"] = random(channels), random(channels)
        problem["scale"] = uniform(0.5, 1.5, channels).to(dtype)
    return problem


def moments_problem(term: str, **options: Any) -> Problem:
    return message_problem(term, affine=False, **options)


def floats_of(problem: Problem) -> list[str]:
    return [name for name in FLOATS if name in problem]


def with_leaves(problem: Problem, names: Sequence[str] | None = None, dtype: torch.dtype | None = None) -> Problem:
    """A copy whose floating-point tensors are new; those in `names` (None: all) want a gradient."""
    out = dict(problem)
    for name in floats_of(problem):
        tensor = problem[name].detach().clone()
        wide = tensor if dtype is None else tensor.to(dtype)
        out[name] = wide.requires_grad_(names is None or name in names)
    return out


def raw_arguments(problem: Problem, *, affine: bool = True) -> tuple[Any, ...]:
    """The arguments of torch.ops.cgfast.gated_message, or without `affine` of edge_moments."""
    basis = problem.get("basis")
    numbers = (0.0, 1.0, 1.0) if basis is None else (basis.start, basis.step, basis.gaussian_width)
    head = (problem[name] for name in ("p", "q", "source", "row_ptr"))
    tensors = (problem.get(name) for name in ("order", "edge_attr", "weight", "distances"))
    change = [problem.get(name) for name in ("center", "scale", "shift")] if affine else []
    return (*head, *tensors, *numbers, problem.get("edge_weight"), *change)


def message_and_gradients(module: Any, problem: Problem, grad: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    """gated_message of cgfast.functional or cgfast.reference, and the gradient of each input that wants one, by name."""
    out = module.gated_message(**problem)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64) if grad is None else grad
    names = [name for name in floats_of(problem) if problem[name].requires_grad]
    found = torch.autograd.grad(out, [problem[name] for name in names], grad.to(out.dtype))
    return {"out": out.detach(), **dict(zip(names, found, strict=True))}


def moments_and_gradients(module: Any, problem: Problem) -> dict[str, torch.Tensor]:
    """The same for edge_moments, with a random combination of mean and variance."""
    mean, variance = module.edge_moments(**problem)
    rng = torch.Generator().manual_seed(5)
    grads = [torch.randn(mean.shape, generator=rng, dtype=torch.float64).to(mean.dtype) for _ in range(2)]
    names = [name for name in floats_of(problem) if problem[name].requires_grad]
    found = torch.autograd.grad((mean, variance), [problem[name] for name in names], grads)
    return {"mean": mean.detach(), "variance": variance.detach(), **dict(zip(names, found, strict=True))}


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], relative: float) -> None:
    """Equal within `relative` of the largest value of each tensor; NaN and infinities at the same places."""
    assert found.keys() == expected.keys()
    for name, want in expected.items():
        finite = want[want.isfinite()]
        size = float(finite.abs().max()) if finite.numel() else 0.0
        torch.testing.assert_close(
            found[name].to(want.dtype),
            want,
            rtol=relative,
            atol=relative * size,
            equal_nan=True,
            msg=lambda m, n=name: f"{n}: {m}",
        )


def per_thread_count(compute: Any, counts: Sequence[int] = (1, 2, 3, 7, 1)) -> Iterator[Any]:
    """compute() with each number of threads."""
    before = torch.get_num_threads()
    try:
        for threads in counts:
            torch.set_num_threads(threads)
            yield compute()
    finally:
        torch.set_num_threads(before)


def moved(value: Any, device: str) -> Any:
    """Tensors to `device`, with a gradient that comes back; anything else as it is."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    return tuple(moved(one, device) for one in value) if isinstance(value, tuple) else value


class Kernels:
    """cgfast.functional, or its functions on another device with arguments and results on the CPU (see `each_device`)."""

    device = "cpu"

    def __getattr__(self, name: str) -> Any:
        function = getattr(functional, name)
        if self.device == "cpu":
            return function

        def on_device(*args: Any, **kwargs: Any) -> Any:
            there = {key: moved(value, self.device) for key, value in kwargs.items()}
            return moved(function(*moved(args, self.device), **there), "cpu")

        return on_device


KERNEL, TWIN = Kernels(), reference
