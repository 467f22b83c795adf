"""The loss of several targets against loops over numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from cgfast.models import Target
from cgfast.training.batches import share_of_process
from cgfast.training.losses import Column, TaskLoss, output_columns

NUMBER = Target("y", "eV", "y")
OTHER = Target("z", "K", "z")
CLASS = Target("c", "1", "c_probability", ("no", "yes"))
MIXED = (NUMBER, CLASS, OTHER)
NAN = math.nan


def by_hand(out, labels, kind, delta, weights, targets=MIXED) -> float:
    """Each target's mean over its labels, classes weighted, then the sum."""
    total, start = 0.0, 0
    for t, target in enumerate(targets):
        up = down = 0.0
        for row, label in zip(out, labels[:, t], strict=True):
            if math.isnan(label):
                continue
            weight = 1.0
            if target.classes is None:
                e = abs(row[start] - label)
                huber = 0.5 * e * e / delta if e <= delta else e - 0.5 * delta
                loss = {"l1": e, "mse": e * e, "huber": huber}[kind]
            else:
                a, b = row[start], row[start + 1]
                top = max(a, b)
                loss = top + math.log(math.exp(a - top) + math.exp(b - top)) - (b if label == 1 else a)
                weight = 1.0 if weights[t] is None else weights[t][int(label)]
            up, down = up + weight * loss, down + weight
        total += up / down if down else 0.0
        start += target.n_outputs
    return total


def problem(n: int = 12, seed: int = 0, missing: float = 0.3):
    rng = np.random.default_rng(seed)
    out = torch.tensor(rng.normal(0, 2, (n, 4)), requires_grad=True)
    labels = rng.normal(0, 1, (n, 3))
    labels[:, 1] = rng.integers(0, 2, n)
    labels[rng.random((n, 3)) < missing] = NAN
    return out, torch.tensor(labels)


def joint(loss: TaskLoss, out, labels):
    return loss(out, labels, loss.weights(labels).sum(dim=0))


def number(found) -> float:
    return float(found.detach())


def test_columns() -> None:
    assert output_columns(MIXED) == [Column(0, 1, False), Column(1, 3, True), Column(3, 4, False)]


@pytest.mark.parametrize("kind", ["l1", "mse", "huber"])
@pytest.mark.parametrize("weights", [[None, None, None], [None, (0.25, 4.0), None]])
@pytest.mark.parametrize("missing", [0.0, 0.3, 0.9])
def test_the_formula(kind: str, weights: list, missing: float) -> None:
    for seed in range(5):
        out, labels = problem(seed=seed, missing=missing)
        found = joint(TaskLoss(MIXED, kind, 0.7, weights), out, labels)
        assert found.shape == ()
        assert number(found) == pytest.approx(by_hand(out.tolist(), labels.numpy(), kind, 0.7, weights), rel=1e-12)


def test_weights() -> None:
    labels = torch.tensor([[1.0, 1.0, NAN], [NAN, 0.0, 2.0], [0.0, NAN, NAN]])
    found = TaskLoss(MIXED, "l1", 1.0, [None, (0.25, 4.0), None]).weights(labels)
    assert found.tolist() == [[1, 4, 0], [0, 0.25, 1], [1, 0, 0]]


def test_class_weights_are_those_of_torch() -> None:
    out, labels = problem(missing=0.0)
    loss = TaskLoss((CLASS,), "l1", 1.0, [(0.3, 2.0)])
    expected = torch.nn.functional.cross_entropy(
        out[:, :2], labels[:, 1].long(), weight=torch.tensor([0.3, 2.0], dtype=torch.float64)
    )
    assert number(joint(loss, out[:, :2], labels[:, 1:2])) == pytest.approx(number(expected), rel=1e-12)


def test_huber_is_l1_far_out() -> None:
    out, goal = torch.tensor([[100.0]], dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    for delta in (0.01, 0.1, 5.0):
        loss = TaskLoss((NUMBER,), "huber", delta, [None])
        assert number(joint(loss, out, goal)) == pytest.approx(100 - delta / 2, rel=1e-12)
        assert number(joint(loss, out * delta / 200, goal)) == pytest.approx(delta / 8, rel=1e-12)  # error delta / 2


@pytest.mark.parametrize("kind", ["l1", "mse", "huber"])
def test_gradients(kind: str) -> None:
    loss = TaskLoss(MIXED, kind, 0.7, [None, (0.5, 2.0), None])
    out, labels = problem(n=5)
    assert torch.autograd.gradcheck(lambda x: joint(loss, x, labels), out)


@pytest.mark.parametrize("kind", ["l1", "mse", "huber"])
def test_no_label_at_all(kind: str) -> None:
    loss = TaskLoss(MIXED, kind, 0.7, [None, (0.5, 2.0), None])
    out, labels = problem()
    found = joint(loss, out, torch.full_like(labels, NAN))
    found.backward()
    assert number(found) == 0
    assert (out.grad == 0).all()


def test_no_label_of_one_target() -> None:
    loss = TaskLoss(MIXED, "mse", 0.7, [None] * 3)
    out, labels = problem()
    labels[:, 1] = NAN
    found = joint(loss, out, labels)
    found.backward()
    assert (out.grad[:, 1:3] == 0).all()
    assert number(found) == pytest.approx(by_hand(out.tolist(), labels.numpy(), "mse", 0.7, [None] * 3), rel=1e-12)


@pytest.mark.parametrize("kind", ["l1", "mse", "huber"])
@pytest.mark.parametrize("bad", [NAN, math.inf, -math.inf])
def test_outputs_without_a_label_do_no_harm(kind: str, bad: float) -> None:
    """Neither the loss nor a gradient knows what the network says where there is no label."""
    loss = TaskLoss(MIXED, kind, 0.7, [None, (0.5, 2.0), None])
    out, labels = problem()
    mask = np.repeat(np.isnan(labels.numpy()), [1, 2, 1], axis=1)
    joint(loss, out, labels).backward()
    spoiled = torch.where(torch.tensor(mask), bad, out.detach()).requires_grad_()
    found = joint(loss, spoiled, labels)
    found.backward()
    assert number(found) == pytest.approx(number(joint(loss, out, labels)), rel=1e-15)
    np.testing.assert_array_equal(spoiled.grad.numpy(), out.grad.numpy())


def test_outputs_with_a_label_that_are_no_numbers_are_not_hidden() -> None:
    loss = TaskLoss((NUMBER,), "l1", 0.7, [None])
    assert math.isnan(joint(loss, torch.tensor([[NAN], [1.0]]), torch.zeros(2, 1)))


@pytest.mark.parametrize("processes", [2, 3, 5])
@pytest.mark.parametrize("missing", [0.3, 0.9])
def test_shares_add_up_to_the_joint_loss(processes: int, missing: float) -> None:
    loss = TaskLoss(MIXED, "huber", 0.7, [None, (0.5, 2.0), None])
    out, labels = problem(n=11, missing=missing)
    totals = loss.weights(labels).sum(dim=0)
    whole = loss(out, labels, totals)
    (expected,) = torch.autograd.grad(whole, out)
    shares = [share_of_process(np.arange(11), process, processes) for process in range(processes)]
    parts = torch.stack([loss(out[share], labels[share], totals) for share in shares])
    assert number(parts.sum()) == pytest.approx(number(whole), rel=1e-12)
    (found,) = torch.autograd.grad(parts.sum(), out)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_float32() -> None:
    loss = TaskLoss(MIXED, "l1", 0.7, [None] * 3)
    out, labels = problem()
    found = joint(loss, out.float(), labels.float())
    assert found.dtype == torch.float32
    assert number(found) == pytest.approx(by_hand(out.tolist(), labels.numpy(), "l1", 0.7, [None] * 3), rel=1e-6)
