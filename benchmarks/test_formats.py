"""Reading speed of every format: files on disk in, crystals out, against what people read them with.

`CGFAST_BENCH_CRYSTALS` is how many crystals of mp_cgcnn_36k are read, 2,000 by default; peers get a tenth of them.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchmarks import data, peers
from benchmarks.structure_files import FORMATS, FileFormat

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import cgfast
    from benchmarks.conftest import Measure

TABLE = "mp_cgcnn_36k"
ROWS = int(os.environ.get("CGFAST_BENCH_CRYSTALS", "2000"))
PEER_ROWS = max(ROWS // 10, 1)


@functools.lru_cache(maxsize=2)
def crystals(rows: int) -> tuple[cgfast.Crystals, list[Any]]:
    """The crystals, and the same for pymatgen."""
    pytest.importorskip("ase", reason="ASE, which writes some of the formats, is not installed")
    batch = data.crystals(TABLE, rows)
    return batch, peers.pymatgen_structures(data.cells(batch))


@pytest.fixture(params=list(FORMATS), ids=lambda name: name.replace(" ", "-"))
def name(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as path:
        yield Path(path)


def written(folder: Path, format_: FileFormat, rows: int) -> Path:
    path = folder / format_.file
    format_.write(path, *crystals(rows))
    return path


def parameters(cell: np.ndarray) -> np.ndarray:
    """Lengths in Å and cosines of a cell: formats that hold these alone have an orientation of their own."""
    lengths = np.linalg.norm(cell, axis=1)
    unit = cell / lengths[:, None]
    return np.concatenate([lengths, (unit @ unit.T)[np.triu_indices(3, 1)]])


def assert_same(found: Iterable[tuple[np.ndarray, np.ndarray]], rows: int) -> None:
    """`found`: atomic numbers and cell of each crystal, in the order of the table."""
    batch, _ = crystals(rows)
    n = 0
    for numbers, cell in found:
        begin, end = batch.graph_ptr[n : n + 2]
        assert np.array_equal(np.sort(numbers), np.sort(batch.atomic_numbers[begin:end])), f"atoms of crystal {n}"
        np.testing.assert_allclose(parameters(cell), parameters(batch.cell[n]), atol=1e-6, err_msg=f"cell of crystal {n}")
        n += 1
    assert n == rows


def ours(path: Path) -> list[cgfast.Crystals]:
    from cgfast import io

    batches = list(io.read(path).batches())
    assert not [failure for batch in batches for failure in batch.failures]
    return [batch.crystals for batch in batches]


def as_pairs(objects: Iterable[Any]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of pymatgen's structures or ASE's atoms."""
    for one in objects:
        if hasattr(one, "lattice"):
            yield np.array(one.atomic_numbers), np.array(one.lattice.matrix)
        else:
            yield one.numbers, np.array(one.cell)


class TestReading:
    def test_cgfast(self, name: str, folder: Path, measure: Measure) -> None:
        path = written(folder, FORMATS[name], ROWS)

        def check(batches: list[cgfast.Crystals]) -> None:
            cells = (one for batch in batches for one in data.cells(batch))
            assert_same(((one.numbers, one.cell) for one in cells), ROWS)

        measure(
            lambda: ours(path),
            group=f"read {name}",
            role="cgfast",
            items=ROWS,
            unit="crystals/s",
            threads=1,
            check=check,
            max_rounds=5,
        )

    def test_peer(self, name: str, folder: Path, measure: Measure) -> None:
        format_ = FORMATS[name]
        path = written(folder, format_, PEER_ROWS)
        measure(
            lambda: list(format_.peer(path)),
            group=f"read {name}",
            role=format_.peer_name,
            items=PEER_ROWS,
            unit="crystals/s",
            threads=1,
            check=lambda objects: assert_same(as_pairs(objects), PEER_ROWS),
            max_rounds=3,
        )
