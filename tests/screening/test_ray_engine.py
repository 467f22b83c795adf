"""What the engine on Ray is made of, without a cluster: ranges, the worker, its answers, the options."""

from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import cgfast
from cgfast import GraphSpec
from cgfast.io import Reader
from cgfast.models import PropertyModel, Target
from cgfast.nn import CGCNN, GaussianBasis
from cgfast.screening.output.parts import PartReader, read_part
from cgfast.screening.output.run_output import RunOutput
from cgfast.screening.output.shards import Share
from cgfast.screening.policies import Policies
from cgfast.screening.ray.engine import _Account, _Actor, range_rows
from cgfast.screening.ray.worker import MAX_DEATHS, RangeWorker, range_job, row_ranges

ROWS = 2500


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(5)
    network = CGCNN(atom_fea_len=32, n_conv=1, h_fea_len=32, basis=GaussianBasis())
    return PropertyModel("small", Target("x", "eV", "x_eV"), network, GraphSpec(5.0, 8), 1.0, 0.5, "", "")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    random = np.random.default_rng(7)
    columns = {
        "id": [f"c{k}" for k in range(ROWS)],
        "lattice_vectors": (np.eye(3) * random.uniform(3, 6, (ROWS, 1, 1))).tolist(),
        "cartesian_site_positions": [None if k in {3, 2047} else [[0.0, 0, 0]] for k in range(ROWS)],
        "species_at_sites": [[cgfast.elements.symbol(z)] for z in random.integers(1, 95, ROWS)],
    }
    path = tmp_path_factory.mktemp("source") / "in.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=700)
    return path


def job_of(source, model, folder, *, limit=None, policies=None):
    share = Share.of(Reader(source), shard=None, limit=limit)
    job = range_job(share, [model], policies or Policies(), ties=None, batch_atoms=32768, threads=1)
    folder.mkdir(exist_ok=True)
    return pickle.loads(pickle.dumps(job.__class__(**{**vars(job), "folder": folder})))  # noqa: S301 - as it travels


@pytest.mark.parametrize(
    ("n_rows", "workers", "group", "expected"),
    [
        (10**9, 100, 30_000, 32_768),
        (10**6, 100, 8_000, 3072),  # 2,500 would be four ranges for each
        (10**9, 100, 1 << 20, 131_072),  # an eighth of a row group
        (10, 3, 10, 1024),
    ],
)
def test_rows_of_a_range(n_rows, workers, group, expected):
    assert range_rows(n_rows, workers, group, 1024) == expected


def test_ranges_are_all_rows_once():
    assert row_ranges(2048, 7000, 2048) == [(2048, 4096), (4096, 6144), (6144, 7000)]
    assert row_ranges(5, 5, 1024) == []


def test_parts_in_any_order_make_the_file_of_a_run_alone(source, model, tmp_path):
    cgfast.screen(source, model, out=tmp_path / "alone.parquet")
    folder = tmp_path / "parts"
    worker = RangeWorker(job_of(source, model, folder))
    parts = [worker(first, stop) for first, stop in reversed(row_ranges(0, ROWS, 1024))]
    assert [part.first_row for part in parts] == [2048, 1024, 0]
    assert [part.last for part in parts] == [True, False, False]
    tables, failures = [], []
    for part in sorted(parts, key=lambda one: one.first_row):
        reader = PartReader(folder / part.name)
        tables += list(reader.tables())
        failures += reader.failures
        assert reader.part == part
    alone = pq.read_table(tmp_path / "alone.parquet")
    assert pa.concat_tables(tables).combine_chunks().equals(alone.replace_schema_metadata(None).combine_chunks())
    assert [failure.row for failure in failures] == [3, 2047]
    assert not list(folder.glob("*.tmp"))


def test_a_range_that_is_done_is_not_done_again(source, model, tmp_path):
    folder = tmp_path / "parts"
    job = job_of(source, model, folder)
    first = RangeWorker(job)(0, 1024)
    path = folder / first.name
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert RangeWorker(job)(0, 1024) == first
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    path.unlink()
    assert RangeWorker(job)(0, 1024) == first
    assert path.read_bytes() == before[0]


def test_a_range_at_which_workers_die_is_given_up(source, model, tmp_path):
    folder = tmp_path / "parts"
    worker = RangeWorker(job_of(source, model, folder))
    part = worker(1024, 2048)
    (folder / part.name).unlink()
    assert not list(folder.iterdir())  # no mark is left where nobody died
    for k in range(MAX_DEATHS):
        (folder / f"{part.name}.{k}.try").touch()
    with pytest.raises(ValueError, match="4 workers died while they predicted rows 1024 to 2048, so no other is tried"):
        worker(1024, 2048)
    assert worker(0, 1024).predictions == 1023


def test_an_actor_answers_with_parts_and_sentences(source, model, tmp_path):
    ranges = pa.table({"first": [0, 1024], "stop": [1024, 2048]})
    folder = tmp_path / "parts"
    answer = _Actor(job_of(source, model, folder))(ranges).to_pylist()
    assert [(row["predictions"], row["failures"], row["error"]) for row in answer] == [(1023, 1, ""), (1023, 1, "")]
    assert read_part(folder / "rows-000000001024-000000002048.arrow")[0].failures == 1
    strict = job_of(source, model, tmp_path / "other", policies=Policies(on_isolated="error"))
    answer = _Actor(strict)(ranges.slice(0, 1)).to_pylist()
    assert "on_isolated='error'" in answer[0]["error"]
    assert not list((tmp_path / "other").iterdir())


def test_the_account_takes_each_range_once_and_hands_over_parts_around_a_gap(source, model, tmp_path):
    seen = []
    with RunOutput(tmp_path / "out.parquet", {"input": {}}) as file:
        folder = file.folder / "ray-1"
        job = job_of(source, model, folder)
        worker = RangeWorker(job)
        account = _Account(file, job, row_ranges(0, ROWS, 1024), seen.append)
        last, first = worker(2048, ROWS), worker(0, 1024)
        account._take(last)
        account._take(first)
        account._take(first)  # a result that comes twice
        file.adopt(account._parts)
        assert (file.finished_rows, file.next_row) == (ROWS - 1024, 2048)
        assert file.gaps(ROWS) == [(1024, 2048)]
        with pytest.raises(ValueError, match="rows that are done already"):
            file.adopt([first])
        assert [progress.rows for progress in seen] == [ROWS - 2048, ROWS - 1024]
        assert list(account._missing) == [(1024, 2048)]


def test_ray_reads_parquet(model, tmp_path):
    (tmp_path / "a.xyz").write_text('1\nLattice="4 0 0 0 4 0 0 0 4"\nFe 0 0 0\n')
    crystals = cgfast.Crystals.from_arrays([[0.0, 0, 0]], np.eye(3)[None] * 4, [26])
    for other, kind in ((tmp_path / "a.xyz", "extxyz"), (crystals, "no file")):
        with pytest.raises(ValueError, match=f"engine: 'ray' reads Parquet files, the input is {kind}; `cgfast convert"):
            cgfast.screen(other, model, out=tmp_path / "out.parquet", engine="ray")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.xyz"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"engine": "spark"}, "engine: got 'spark', expected 'local' or 'ray'"),
        ({"engine": "ray", "out": None}, "engine: 'ray' needs out"),
        ({"address": "auto"}, "address: only has a meaning with engine='ray'"),
        ({"num_workers": 2}, "num_workers: only has a meaning"),
        ({"engine": "ray", "num_workers": 0}, "num_workers: got 0"),
        ({"engine": "ray", "gpus_per_worker": -1}, "gpus_per_worker: got -1"),
        ({"engine": "ray", "device": "cuda"}, "device: got 'cuda', but with engine='ray' a worker has only the GPUs"),
        ({"engine": "ray", "device": "gpu"}, "device has the value 'gpu'"),
    ],
)
def test_wrong_options(source, model, tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        cgfast.screen(source, model, **{"out": tmp_path / "out.parquet", **options})
    assert not list(tmp_path.iterdir())


def test_without_ray_there_is_a_sentence(source, model, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ImportError, match=r'pip install "cgfast\[ray\]"'):
        cgfast.screen(source, model, out=tmp_path / "out.parquet", engine="ray")
    assert not list(tmp_path.iterdir())
