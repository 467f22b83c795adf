"""sort_edges against NumPy's stable argsort."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from samples import KERNEL, TWIN, message_and_gradients, message_problem, per_thread_count, with_leaves

pytestmark = pytest.mark.usefixtures("each_device")


def random_edges(n_edges, n_targets, seed=0, n_sources=50):
    rng = torch.Generator().manual_seed(seed)
    return torch.stack(
        [torch.randint(0, n_sources, (n_edges,), generator=rng), torch.randint(0, n_targets, (n_edges,), generator=rng)]
    )


def expected(edge_index, n_targets):
    source, target = edge_index.numpy()
    order = np.argsort(target, kind="stable")
    row_ptr = np.searchsorted(target[order], np.arange(n_targets + 1))
    return source[order], row_ptr, order


def check(edge_index, n_targets):
    for found in (KERNEL.sort_edges(edge_index, n_targets), TWIN.sort_edges(edge_index, n_targets)):
        for ours, theirs in zip(found, expected(edge_index, n_targets), strict=True):
            assert ours.dtype == torch.int64
            assert ours.is_contiguous()
            np.testing.assert_array_equal(ours.numpy(), theirs)


@pytest.mark.parametrize(("n_edges", "n_targets"), [(1, 1), (30, 4), (200, 200), (500, 3), (7, 1000), (300_000, 5000)])
def test_any_order(n_edges, n_targets):
    check(random_edges(n_edges, n_targets), n_targets)


def test_sorted_reversed_and_nearly_sorted():
    edges = random_edges(400, 30)
    edges[1] = edges[1].sort()[0]
    check(edges, 30)
    assert torch.equal(KERNEL.sort_edges(edges, 30)[2], torch.arange(400))
    check(edges.flip(1), 30)
    for last in (0, 29):
        swapped = edges.clone()
        swapped[1, -1] = last
        check(swapped, 30)
        swapped[1, 0] = 29 - last
        check(swapped, 30)


def test_equal_targets_keep_their_order():
    edges = torch.stack([torch.arange(100), torch.full((100,), 3)])
    source, row_ptr, order = KERNEL.sort_edges(edges, 5)
    assert torch.equal(source, torch.arange(100))
    assert torch.equal(order, torch.arange(100))
    assert row_ptr.tolist() == [0, 0, 0, 0, 100, 100]


def test_repeated_edges_are_kept():
    check(random_edges(20, 6).repeat(1, 5), 6)


@pytest.mark.parametrize("n_targets", [0, 1, 9])
def test_no_edges(n_targets):
    source, row_ptr, order = KERNEL.sort_edges(torch.zeros(2, 0, dtype=torch.int64), n_targets)
    assert source.shape == order.shape == (0,)
    assert row_ptr.tolist() == [0] * (n_targets + 1)


def test_targets_without_edges_at_the_end():
    check(torch.tensor([[5, 1], [2, 0]]), 8)


def test_layouts():
    edges = random_edges(50, 8)
    for view in (
        edges.t().contiguous().t(),
        edges.repeat_interleave(3, dim=1)[:, ::3],
        torch.cat([edges, edges])[2:],
        torch.cat([edges[:1], edges, edges])[1:3],
        edges[:, :1].expand(2, 50),
    ):
        check(view, 50)
    before = edges.clone()
    source, *_ = KERNEL.sort_edges(edges, 8)
    source.zero_()
    assert torch.equal(edges, before)


@pytest.mark.parametrize(
    ("edge_index", "n_targets", "message"),
    [
        (torch.tensor([[0, 0], [0, 5]]), 5, r"edge_index.* targets.* in \[0, 5\), got values from 0 to 5"),
        (torch.tensor([[0, 0], [-1, 2]]), 5, r"edge_index.* targets.* in \[0, 5\), got values from -1 to 2"),
        (torch.tensor([[0], [0]]), 0, r"edge_index.* targets.* in \[0, 0\)"),
        (torch.zeros(2, 4, dtype=torch.int32), 5, r"edge_index must be a torch.int64 .*got torch.int32"),
        (torch.zeros(2, 4), 5, r"edge_index must be a torch.int64 .*got torch.float32"),
        (torch.zeros(4, 2, dtype=torch.int64), 5, r"edge_index .*got torch.int64 of shape \(4, 2\)"),
        (torch.zeros(8, dtype=torch.int64), 5, r"edge_index .*of shape \(8,\)"),
        (torch.zeros(2, 3, 1, dtype=torch.int64), 5, r"edge_index .*of shape \(2, 3, 1\)"),
    ],
)
def test_refuses(edge_index, n_targets, message):
    with pytest.raises(ValueError, match=message):
        KERNEL.sort_edges(edge_index, n_targets)


@pytest.mark.parametrize("n_targets", [-1, -5])
def test_refuses_a_negative_number_of_targets(n_targets):
    with pytest.raises(ValueError, match="target"):
        KERNEL.sort_edges(torch.zeros(2, 0, dtype=torch.int64), n_targets)


def test_same_on_every_thread_count():
    edges = random_edges(100_000, 700)
    first, *others = per_thread_count(lambda: KERNEL.sort_edges(edges, 700))
    for other in others:
        assert all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("term", ["none", "dense", "gaussian"])
def test_messages_do_not_depend_on_the_order_of_edges(term):
    """Shuffled edges, sorted back: the same sums, and the gradients of edge features at their own places."""
    problem = message_problem(term, ordered=False)
    row_ptr = problem["row_ptr"]
    target = torch.repeat_interleave(torch.arange(len(row_ptr) - 1), row_ptr.diff())
    shuffle = torch.randperm(len(target))
    source, sorted_row_ptr, order = KERNEL.sort_edges(torch.stack([problem["source"], target])[:, shuffle], len(row_ptr) - 1)
    assert torch.equal(sorted_row_ptr, row_ptr)
    shuffled = {**problem, "source": source, "row_ptr": sorted_row_ptr, "order": order}
    edge_inputs = [name for name in ("edge_attr", "distances", "edge_weight") if name in problem]
    for name in edge_inputs:
        shuffled[name] = problem[name][shuffle]
    grad = torch.randn(len(row_ptr) - 1, 5, dtype=torch.float64)
    found = message_and_gradients(KERNEL, with_leaves(shuffled), grad)
    for name, gradient in message_and_gradients(KERNEL, with_leaves(problem), grad).items():
        torch.testing.assert_close(found[name], gradient[shuffle] if name in edge_inputs else gradient)
