"""Small stand-ins for readers and models: what they answer is known without cgfast's own arithmetic."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cgfast.crystals import Crystals
from cgfast.io import Failure, StructureBatch
from cgfast.models import OutputColumn, Target
from cgfast.neighbors import GraphSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa


class FakeModel:
    """Predicts `scale` times the mean atomic number; raises or says NaN where Z `explode` or `nan` occurs."""

    task = "regression"

    def __init__(
        self,
        name: str = "fake",
        *,
        column: str = "mean_z",
        scale: float = 1.0,
        spec: GraphSpec | None = None,
        max_atomic_number: int = 100,
        explode: int | None = None,
        nan: int | None = None,
    ) -> None:
        self.name = name
        self.targets = (Target("mean atomic number", "eV", column),)
        self.columns = (OutputColumn(column, "eV"),)
        self.scale = scale
        self.spec = spec or GraphSpec()
        self.sha256 = f"{name:0<64}"
        self.max_atomic_number = max_atomic_number
        self.explode = explode
        self.nan = nan
        self.batches: list[tuple[int, ...]] = []

    def predict_columns(self, graph: Any) -> np.ndarray:
        pointers = np.asarray(graph.graph_ptr)
        numbers = np.asarray(graph.atomic_numbers)
        self.batches.append(tuple(np.diff(pointers).tolist()))
        if self.explode in numbers:
            message = f"cannot do Z={self.explode}\nreally not"
            raise RuntimeError(message)
        values = [numbers[a:b].mean() * self.scale for a, b in pairwise(pointers)]
        with_nan = [self.nan in numbers[a:b] for a, b in pairwise(pointers)]
        return np.where(with_nan, np.nan, values)[:, None]


@dataclasses.dataclass
class Rows:
    """Rows of input: each a list of atomic numbers, or a reason (str) why it cannot be read."""

    rows: Sequence[Sequence[int] | str]
    batch_rows: int = 4
    columns: pa.Table | None = None
    on_batch: Callable[[int], None] | None = None
    n_rows: int | None = None

    def batches(self) -> Iterator[StructureBatch]:
        for start in range(0, len(self.rows), self.batch_rows):
            if self.on_batch is not None:
                self.on_batch(start)
            yield self._batch(start, min(start + self.batch_rows, len(self.rows)))

    def _batch(self, start: int, stop: int) -> StructureBatch:
        good = [row for row in range(start, stop) if not isinstance(self.rows[row], str)]
        failures = [Failure(f"c{row}", row, "read", str(self.rows[row])) for row in range(start, stop) if row not in good]
        sizes = [len(self.rows[row]) for row in good]
        crystals = Crystals.from_arrays(
            np.arange(3.0 * sum(sizes)).reshape(-1, 3),
            np.tile(np.eye(3) * 5.0, (len(good), 1, 1)),
            np.array([z for row in good for z in self.rows[row]], dtype=np.int32),
            graph_ptr=np.cumsum([0, *sizes]),
            ids=np.array([f"c{row}" for row in good], dtype=str),
        )
        columns = None if self.columns is None else self.columns.take(good)
        return StructureBatch(crystals, np.array(good, dtype=np.int64), failures, stop - start, columns)


@pytest.fixture
def graph_calls(monkeypatch: pytest.MonkeyPatch) -> list[GraphSpec]:
    """Replace the graph builder by one without edges; the list gets the spec of every call."""
    calls: list[GraphSpec] = []

    def build(crystals: Crystals, spec: GraphSpec, *, threads: int | None = None) -> SimpleNamespace:
        del threads
        calls.append(spec)
        if 13 in crystals.atomic_numbers:
            message = "no graph for aluminium"
            raise ValueError(message)
        lonely = np.diff(crystals.graph_ptr) == 1
        atoms = np.arange(crystals.n_atoms)  # each is its own neighbour, at 1 Å
        return SimpleNamespace(
            graph_ptr=crystals.graph_ptr,
            row_ptr=np.arange(crystals.n_atoms + 1),
            source=atoms,
            distances=np.ones(len(atoms)),
            atomic_numbers=crystals.atomic_numbers,
            few_neighbors=lonely,
            spec=spec,
        )

    monkeypatch.setattr("cgfast.screening.predict.build_graphs", build)
    return calls


@pytest.fixture
def make_rows() -> type[Rows]:
    return Rows


@pytest.fixture
def make_model() -> type[FakeModel]:
    return FakeModel


@pytest.fixture
def random_rows() -> list[list[int]]:
    """Two hundred crystals of 1 to 9 atoms, from a fixed seed, without the elements that fixtures fail on."""
    random = np.random.default_rng(20180412)
    return [random.integers(20, 80, size=random.integers(1, 10)).tolist() for _ in range(200)]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's part ends after every 8 rows."""
    monkeypatch.setattr("cgfast.screening.output.run_output.PART_ROWS", 8)


@pytest.fixture
def mixed(random_rows: list[list[int]]) -> list[list[int] | str]:
    """Rows of which every fifth cannot be read, and some have no graph (Z=13)."""
    return [f"bad {k}" if k % 5 == 0 else [13] if k % 11 == 0 else row for k, row in enumerate(random_rows)]
