"""Groups of one reduced formula, against pymatgen's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from cgfast import Crystals
from cgfast.training import formulas
from cgfast.training.formulas import formula_groups
from tests.training.samples import crystals

if TYPE_CHECKING:
    from pathlib import Path


def by_pymatgen(made: Crystals) -> list[int]:
    """The same numbering from reduced formulas as text."""
    composition = pytest.importorskip("pymatgen.core").Composition
    seen: dict[object, int] = {}
    found = []
    for start, stop in zip(made.graph_ptr, made.graph_ptr[1:], strict=False):
        elements, counts = np.unique(made.atomic_numbers[start:stop], return_counts=True)
        reduced = composition({int(z): int(c) for z, c in zip(elements, counts, strict=True)}).reduced_composition
        found.append(seen.setdefault(reduced, len(seen)))
    return found


def of_numbers(*lists: list[int]) -> Crystals:
    flat = [z for numbers in lists for z in numbers]
    ptr = np.cumsum([0, *map(len, lists)])
    return Crystals.from_arrays(np.zeros((len(flat), 3)), np.tile(np.eye(3), (len(lists), 1, 1)), flat, graph_ptr=ptr)


def test_samples() -> None:
    made = crystals(300)
    groups = formula_groups(made)
    assert groups.tolist() == by_pymatgen(made)
    assert len(set(groups)) < 30


def test_by_hand() -> None:
    made = of_numbers(
        [8], [8, 8], [11, 17], [17, 11, 17, 11], [11, 11, 17], [1] * 6, [118], [118, 1], [1, 118, 118, 1], [22, 8, 8]
    )
    assert formula_groups(made).tolist() == [0, 0, 1, 1, 2, 3, 4, 5, 5, 6]
    assert formula_groups(made).dtype == np.int64


def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    made = crystals(100)
    expected = formula_groups(made).tolist()
    monkeypatch.setattr(formulas, "_CHUNK", 7)
    assert formula_groups(made).tolist() == expected


def test_none() -> None:
    assert formula_groups(crystals(3)[:0]).tolist() == []


@pytest.mark.filterwarnings("ignore:No Pauling electronegativity")
def test_real_crystals(data: Path) -> None:
    io = pytest.importorskip("cgfast.io")
    pytest.importorskip("pyarrow")
    made = next(iter(io.read(data / "mp_cgcnn_36k.parquet", batch_rows=1500)))
    assert formula_groups(made).tolist() == by_pymatgen(made)
