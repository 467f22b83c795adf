"""Shards of an input: all rows, once each, in the batches that the whole has; and which one Slurm means."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cgfast
from cgfast.io import read
from cgfast.screening import screen
from cgfast.screening.output.shards import Shard, Share, batches_between

pa = pytest.importorskip("pyarrow", reason="screening writes tables with pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

CIF = """data_{name}
_cell_length_a {a}
_cell_length_b 4
_cell_length_c 4
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
X1 {symbol} 0 0 0
"""


def cif(folder: Path, k: int, blocks: int = 1) -> None:
    text = "".join(CIF.format(name=f"b{b}", a=3 + k / 100, symbol="Na" if b else "Cl") for b in range(blocks))
    (folder / f"c{k:04}.cif").write_text(text if k % 7 else f"data_c{k}\n")  # no atoms


@given(st.integers(0, 500), st.integers(1, 40), st.integers(1, 60))
def test_ranges_tile(n: int, count: int, block: int) -> None:
    ranges = [Shard(index, count).range_of(n, block) for index in range(1, count + 1)]
    assert [row for first, stop in ranges for row in range(first, stop)] == list(range(n))
    assert all(first % block == 0 for first, stop in ranges if first < stop)
    assert max(stop - first for first, stop in ranges) <= (n / count // block + 1) * block


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/0", "-1/4", "a/b", "", "1/2/3", 3])
def test_what_is_no_shard(text) -> None:
    with pytest.raises(ValueError, match="shard: got "):
        Shard.parse(text)


@pytest.mark.parametrize(
    ("task", "first", "last", "count", "expected"),
    [("3", "1", "8", "8", "3/8"), ("0", "0", "7", "8", "1/8"), ("7", "0", "7", "8", "8/8"), ("1", "1", "1", "1", "1/1")],
)
def test_slurm_says_which(monkeypatch, task, first, last, count, expected) -> None:
    for name, value in (("ID", task), ("MIN", first), ("MAX", last), ("COUNT", count)):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    assert str(Shard.parse("slurm")) == expected


@pytest.mark.parametrize(("task", "first", "last", "count"), [("3", "3", "3", "1"), ("3", "3", "7", "2"), ("1", "1", "9", "5")])
def test_a_part_of_an_array_is_refused(monkeypatch, task, first, last, count) -> None:
    for name, value in (("ID", task), ("MIN", first), ("MAX", last), ("COUNT", count)):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    with pytest.raises(ValueError, match=r"consecutive tasks from 0 or 1, .* say i/n"):
        Shard.parse("slurm")


def test_without_slurm(monkeypatch) -> None:
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
    with pytest.raises(ValueError, match="SLURM_ARRAY_TASK_ID"):
        Shard.parse("slurm")


def test_names_sort() -> None:
    assert Shard(3, 8).path(Path("a/p.parquet")) == Path("a/p-3of8.parquet")
    assert Shard(3, 128).path(Path("p.parquet")).name == "p-003of128.parquet"


def rows_of(share: Share) -> list[tuple[int, str]]:
    found = []
    for batch in share.batches():
        rows = [(int(row), str(name)) for row, name in zip(batch.rows, batch.crystals.ids, strict=True)]
        found += sorted(rows + [(failure.row, failure.id) for failure in batch.failures])
    return found


def parquet(path: Path, n: int, group: int) -> Path:
    rows = [
        {
            "id": f"c{k}",
            "lattice_vectors": (np.eye(3) * (k % 5)).tolist(),
            "cartesian_site_positions": [[0.0] * 3],
            "species_at_sites": ["Na"],
        }
        for k in range(n)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=group)
    return path


def pymatgen_json(path: Path, n: int, first: int = 0) -> Path:
    lattice = {"matrix": (np.eye(3) * 4).tolist()}
    sites = [{"species": [{"element": "Na", "occu": 1}], "abc": [0, 0, 0]}]
    structure = {"@module": "pymatgen.core.structure", "@class": "Structure", "lattice": lattice, "sites": sites}
    path.write_text(json.dumps([{"material_id": f"m{k}", "structure": structure} for k in range(first, first + n)]))
    return path


@pytest.fixture(params=["parquet", "two parquets", "cifs", "cifs with two blocks", "zip", "jsons", "one json", "mixed"])
def source(request, tmp_path: Path):
    pytest.importorskip("gemmi", reason="reads CIF")
    folder = tmp_path / "in"
    folder.mkdir()
    if "parquet" in request.param:
        parquet(folder / "a.parquet", 53, 7)
        if "two" in request.param:
            parquet(folder / "b.parquet", 30, 11)
        return folder
    if request.param == "one json":
        return pymatgen_json(folder / "a.json", 41)
    if request.param == "jsons":
        for k, n in enumerate((5, 1, 20, 9)):
            pymatgen_json(folder / f"{k}.json", n, 100 * k)
        return folder
    for k in range(37):
        cif(folder, k, 2 if "two" in request.param and k % 3 == 0 else 1)
    if request.param == "zip":
        import shutil

        return Path(shutil.make_archive(str(tmp_path / "all"), "zip", folder))
    if request.param == "mixed":
        return [folder, parquet(tmp_path / "a.parquet", 53, 7), pymatgen_json(tmp_path / "b.json", 10)]
    return folder


@pytest.mark.parametrize("count", [1, 2, 3, 7, 50])
def test_shards_together_are_the_whole(source, count: int) -> None:
    reader = read(source, batch_rows=4)
    whole = rows_of(Share.of(reader, shard=None, limit=None))
    found, start = [], 0
    for index in range(1, count + 1):
        share = Share.of(reader, shard=Shard(index, count), limit=None)
        rows = rows_of(share)
        if share.options["shard"]["by"] == "files":
            rows = [(row + start, name) for row, name in rows]
        assert share.n_rows in {None, len(rows)}
        start += len(rows)
        found += rows
    assert found == whole


@pytest.mark.parametrize("limit", [1, 10, 40, 1000])
def test_shards_of_a_limit(source, limit: int) -> None:
    reader = read(source, batch_rows=4)
    whole = rows_of(Share.of(reader, shard=None, limit=None))
    assert rows_of(Share.of(reader, shard=None, limit=limit)) == whole[:limit]
    found = [row for index in (1, 2, 3) for row in rows_of(Share.of(reader, shard=Shard(index, 3), limit=limit))]
    assert found == whole[:limit]


def test_reading_begins_again_at_every_batch(source) -> None:
    """With the mark that an earlier batch had, and without."""
    reader = read(source, batch_rows=4)
    whole = list(reader.batches())
    marks = [None, *(batch.mark for batch in whole)]
    for k, mark in enumerate(marks[:-1]):
        for one in (None, mark):
            rest = list(reader.batches(4 * k, None, one))
            assert [b.rows.tolist() for b in rest] == [b.rows.tolist() for b in whole[k:]]
            assert [b.crystals.ids.tolist() for b in rest] == [b.crystals.ids.tolist() for b in whole[k:]]
            assert [b.failures for b in rest] == [b.failures for b in whole[k:]]


def test_files_before_a_mark_are_not_opened(tmp_path: Path) -> None:
    pytest.importorskip("gemmi", reason="reads CIF")
    for k in range(1, 30):
        cif(tmp_path, k)
    reader = read(tmp_path, batch_rows=4)
    marks = [batch.mark for batch in reader.batches()]
    for k in range(1, 12):
        (tmp_path / f"c{k:04}.cif").unlink()
    (batch, *_) = reader.batches(12, None, marks[3])
    assert batch.failures == [] or batch.failures[0].id != "c0013"
    assert batch.crystals.ids.tolist() == ["c0013", "c0015", "c0016"]


def test_a_start_between_batches_is_refused(tmp_path: Path) -> None:
    reader = read(parquet(tmp_path / "a.parquet", 20, 5), batch_rows=4)
    with pytest.raises(ValueError, match="start_row is 3: expected a multiple of batch_rows, 4"):
        reader.batches(3)


def test_a_reader_of_ones_own_is_cut_too(make_rows, random_rows) -> None:
    rows = make_rows(random_rows, batch_rows=6)
    for start, stop in ((0, None), (0, 5), (6, 7), (12, 30), (190, 500), (200, None)):
        found = [row for batch in batches_between(rows, start, stop) for row in batch.rows.tolist()]
        assert found == list(range(start, min(stop or 200, 200)))


@pytest.mark.usefixtures("graph_calls")
def test_batches_of_a_shard_are_those_of_the_whole(make_model, tmp_path: Path) -> None:
    source = parquet(tmp_path / "a.parquet", 3500, 999)
    whole = make_model()
    screen(source, whole, out=tmp_path / "p.parquet", batch_atoms=300, threads=1)
    shards = make_model()
    for index in (1, 2, 3):
        screen(source, shards, out=tmp_path / "p.parquet", batch_atoms=300, threads=1, shard=f"{index}/3")
    assert sorted(shards.batches) == sorted(whole.batches)


@pytest.mark.usefixtures("graph_calls")
def test_a_shard_is_a_parquet_file(make_rows, make_model) -> None:
    with pytest.raises(ValueError, match=r"out: a shard is written as \.parquet, got p\.csv"):
        screen(make_rows([[1]]), make_model(), out="p.csv", shard="1/2")


def test_cgfast_merge_is_public() -> None:
    assert cgfast.merge is cgfast.screening.merge
