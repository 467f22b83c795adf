"""The structures of rows of output, found in the input."""

from __future__ import annotations

import numpy as np
import pytest

from cgfast.crystals import Crystals
from cgfast.io import read
from cgfast.screening.crystals_reader import CrystalsReader
from cgfast.screening.report.structures import Wanted, find_structures, input_rows


def chain(n: int, names=None) -> Crystals:
    """Crystals of one atom whose atomic numbers tell their rows: 1 + row % 100."""
    return Crystals.from_arrays(
        np.zeros((n, 3)),
        np.tile(np.eye(3) * 4.0, (n, 1, 1)),
        1 + np.arange(n) % 100,
        graph_ptr=np.arange(n + 1),
        ids=names or [f"c{k}" for k in range(n)],
    )


@pytest.mark.parametrize("seed", range(10))
def test_rows_of_input(seed):
    random = np.random.default_rng(seed)
    first = int(random.integers(0, 50))
    failed = np.flatnonzero(random.random(200) < random.random()) + first
    expected = np.setdiff1d(np.arange(first, first + 200), failed)
    np.testing.assert_array_equal(input_rows(np.arange(len(expected)), failed, first), expected)


def numbers(found) -> list[int | None]:
    return [None if crystal is None else int(crystal.atomic_numbers[0]) for crystal in found]


def test_by_row_where_ids_repeat():
    reader = CrystalsReader(chain(3000, ["same"] * 3000))
    wanted = [Wanted("same", row) for row in (2999, 0, 1500, 1501)]
    assert numbers(find_structures(reader, wanted)) == [100, 1, 1, 2]


def test_by_id_where_rows_are_not_known_or_wrong():
    reader = CrystalsReader(chain(3000))
    wanted = [Wanted("c1234", None), Wanted("c7", 8), Wanted("c7", None), Wanted("nowhere", 3), Wanted("c5", 5)]
    assert numbers(find_structures(reader, wanted)) == [35, 8, 8, None, 6]


def test_a_reader_of_ones_own(make_rows):
    rows = make_rows([[22], "broken", [26], [8], [1, 1]])
    assert numbers(find_structures(rows, [Wanted("c2", 2), Wanted("c4", 4), Wanted("c1", 1)])) == [26, 1, None]


def test_only_the_row_groups_that_are_needed_are_read(tmp_path, monkeypatch):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    n = 8 * 1024
    table = pa.table(
        {
            "id": [f"c{k}" for k in range(n)],
            "lattice_vectors": [(np.eye(3) * 4.0).tolist()] * n,
            "cartesian_site_positions": [[[0.0, 0.0, 0.0]]] * n,
            "species_at_sites": [["Fe"]] * n,
        }
    )
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=1024)
    reader = read(tmp_path / "x.parquet")
    seen: list[int] = []
    batches = type(reader).batches

    def counted(self, *arguments):
        for batch in batches(self, *arguments):
            seen.append(batch.n_rows)
            yield batch

    monkeypatch.setattr(type(reader), "batches", counted)
    found = find_structures(reader, [Wanted("c5000", 5000), Wanted("c7", 7), Wanted("c9", 9)])
    assert [str(crystal.ids[0]) for crystal in found] == ["c5000", "c7", "c9"]
    assert sum(seen) <= 2 * 1024
