"""Batches that are too small for a batch norm are found before anything is written, and only those."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("lightning")
pytest.importorskip("pyarrow")

import cgfast
from cgfast.graph_store import Sizes
from cgfast.training import TrainOptions, train
from cgfast.training.prepare import batch_plan, check_batches
from cgfast.training.splits import TRAIN, VAL
from tests.training.samples import TINY, labelled

if TYPE_CHECKING:
    from pathlib import Path

COUNTS = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3), st.sampled_from([TRAIN, TRAIN, TRAIN, VAL])), min_size=1)
LIMITS = [{"batch_size": 1}, {"batch_size": 2}, {"batch_size": 5}, {"batch_atoms": 3}, {"batch_edges": 2}]


@settings(max_examples=200, deadline=None)
@given(COUNTS, st.sampled_from(LIMITS), st.sampled_from(["CGConv", "CrystalGraphConv"]), st.integers(0, 99))
def test_found_if_it_happens(counts: list, limit: dict[str, int], conv: str, seed: int) -> None:
    """Every batch of every epoch and member, one after the other."""
    atoms, edges, parts = (np.array(column) for column in zip(*counts, strict=True))
    if not (parts == TRAIN).any():
        return
    options = TrainOptions(**limit, conv=conv, epochs=3, seeds=2, seed=seed)
    store: Any = SimpleNamespace(sizes=Sizes(atoms, edges))
    plan = batch_plan(store, np.flatnonzero(parts == TRAIN), options)
    bad = [
        epoch
        for member in (seed, seed + 1)
        for epoch in range(3)
        for batch in plan.epoch(member, epoch)
        if sum(atoms[batch]) == 1 or (conv == "CrystalGraphConv" and sum(edges[batch]) == 1)
    ]
    try:
        check_batches(store, parts, options, conv)
    except ValueError as error:
        (name,) = limit
        said = (
            rf"{name}: got {limit[name]}, by which a batch of epoch (\d) has a single (atom|edge), .* expected larger batches"
        )
        found = re.fullmatch(said, str(error))
        assert int(found[1]) - 1 in bad
    else:
        assert not bad


def of_one_atom(n: int, cells: np.ndarray) -> Any:
    made = cgfast.Crystals.from_arrays(
        np.zeros((n, 3)), np.eye(3) * np.resize(cells, n)[:, None, None], [26] * n, graph_ptr=range(n + 1)
    )
    return labelled(n, crystals=made, values=np.linspace(0, 1, n)[:, None])


@pytest.mark.parametrize("conv", ["CGConv", "CrystalGraphConv"])
def test_single_atoms(tmp_path: Path, conv: str) -> None:
    data = of_one_atom(20, np.array([2.5, 3.0]))
    options = TINY | {"conv": conv, "split": "random"}
    with pytest.raises(ValueError, match="batch_size: got 1, by which a batch of epoch 1 has a single atom"):
        train(data, "y", out=tmp_path / "m", **options | {"batch_size": 1})
    assert list(tmp_path.iterdir()) == []
    train(data, "y", out=tmp_path / "m", **options | {"batch_size": 2})


def test_single_edges(tmp_path: Path) -> None:
    """Atoms with one neighbour each, or none: only the batch norm over edges minds."""
    data = of_one_atom(20, np.array([3.0, 30.0]))
    options = TINY | {"max_neighbors": 1, "split": "random", "batch_size": 2, "epochs": 6}
    with pytest.raises(ValueError, match=r"batch_size: got 2, by which a batch of epoch \d has a single edge"):
        train(data, "y", out=tmp_path / "m", **options | {"conv": "CrystalGraphConv"})
    assert list(tmp_path.iterdir()) == []
    train(data, "y", out=tmp_path / "m", **options | {"conv": "CGConv"})
