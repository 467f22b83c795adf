"""A real Ray cluster of several nodes on this machine, some of which are lost while it works."""

from __future__ import annotations

import csv
import os
import signal
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import cgfast
from cgfast import GraphSpec
from cgfast.models import PropertyModel, Target
from cgfast.nn import CGCNN, GaussianBasis

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # Ray's own, of many kinds, also from its threads
]
ROWS = 20_000
BAD = {5, 1024, 9_999, 19_999}  # rows without a structure


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(5)
    network = CGCNN(atom_fea_len=64, n_conv=3, h_fea_len=32, basis=GaussianBasis())
    return PropertyModel("small", Target("x", "eV", "x_eV"), network, GraphSpec(8.0, 12), 1.0, 0.5, "", "")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    random = np.random.default_rng(7)
    sizes = random.integers(1, 9, ROWS)
    sites = [random.uniform(0, 5, (n, 3)).tolist() for n in sizes]
    columns = {
        "id": [f"c{k}" for k in range(ROWS)],
        "lattice_vectors": (np.eye(3) * random.uniform(3, 6, (ROWS, 1, 1))).tolist(),
        "cartesian_site_positions": [None if k in BAD else site for k, site in enumerate(sites)],
        "species_at_sites": [[cgfast.elements.symbol(z) for z in random.integers(1, 95, n)] for n in sizes],
        "gap": random.uniform(0, 5, ROWS),
    }
    path = tmp_path_factory.mktemp("source") / "in.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=3000)
    return path


@pytest.fixture(scope="module")
def alone(model, source, tmp_path_factory):
    """Both files of a run without Ray."""
    out = tmp_path_factory.mktemp("alone") / "out.parquet"
    cgfast.screen(source, model, out=out, keep=["gap"])
    return out.read_bytes(), out.with_name("out-failures.csv").read_bytes()


@pytest.fixture
def cluster():
    pytest.importorskip("ray", reason="ray is not installed")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100 << 20})
    yield cluster
    cluster.shutdown()


def add_nodes(cluster, count: int) -> list:
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=100 << 20) for _ in range(count)]
    cluster.wait_for_nodes()
    return nodes


def working(out, seconds: float = 60) -> list[int]:
    """Process ids of the workers that are writing parts now."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = list(out.parent.glob(f".{out.name}.parts/ray-*/part-*.tmp"))
        if found:
            return [int(path.name.split("-")[1]) for path in found]
        time.sleep(0.01)
    return []


def check(out, alone, result) -> None:
    assert (result.n_rows, result.n_failures) == (ROWS, len(BAD))
    assert out.read_bytes() == alone[0]
    assert out.with_name("out-failures.csv").read_bytes() == alone[1]
    ids = pq.read_table(out)["id"].to_pylist()
    assert ids == [f"c{k}" for k in range(ROWS) if k not in BAD]
    with out.with_name("out-failures.csv").open() as file:
        assert {int(line["row"]) for line in csv.DictReader(file)} == BAD
    assert sorted(path.name for path in out.parent.iterdir()) == ["out-failures.csv", "out.parquet"]


def test_a_node_and_a_worker_are_lost(cluster, model, source, alone, tmp_path):
    nodes = add_nodes(cluster, 2)
    out = tmp_path / "out.parquet"
    seen, killed = [], []

    def disturb(progress):
        seen.append(progress)
        if len(seen) == 2:
            pids = working(out)
            assert pids
            os.kill(pids[0], signal.SIGKILL)
            killed.append(pids[0])
        if len(seen) == 4:
            cluster.remove_node(nodes.pop(), allow_graceful=False)

    result = cgfast.screen(
        source, model, out=out, keep=["gap"], engine="ray", address=cluster.address, num_workers=3, on_progress=disturb
    )
    assert killed
    assert len(nodes) == 1
    check(out, alone, result)
    rows = [progress.rows for progress in seen]
    assert rows == sorted(set(rows))
    assert rows[-1] == ROWS


def test_a_run_whose_driver_stopped_is_resumed(cluster, model, source, alone, tmp_path):
    model.save(tmp_path / "model")
    saved = cgfast.load_model(tmp_path / "model")
    folder = tmp_path / "results"
    folder.mkdir()
    out = folder / "out.parquet"

    class StopError(Exception):
        pass

    def stop(progress):
        if progress.rows > ROWS // 4:
            raise StopError

    with pytest.raises(StopError):
        cgfast.screen(source, saved, out=out, keep=["gap"], engine="ray", address=cluster.address, on_progress=stop)
    assert not out.exists()
    result = cgfast.screen(source, saved, out=out, keep=["gap"], engine="ray", address=cluster.address, resume=True)
    assert result.n_resumed > 0
    cgfast.screen(source, saved, out=tmp_path / "alone.parquet", keep=["gap"])
    assert out.read_bytes() == (tmp_path / "alone.parquet").read_bytes()
    assert pq.read_table(out).equals(pq.read_table(pa.BufferReader(alone[0])))


def test_a_range_that_kills_its_workers_ends_the_run(cluster, model, source, tmp_path):
    class Poison:  # a local class travels whole
        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return getattr(model, name)

        def predict_columns(self, graph):
            if graph.n_crystals < 1000:  # the last batch, which is a short one
                os._exit(3)
            return model.predict_columns(graph)

    with pytest.raises(ValueError, match="4 workers died while they predicted rows 2048 to 2500"):
        cgfast.screen(source, Poison(), out=tmp_path / "out.parquet", engine="ray", address=cluster.address, limit=2500)
    assert not (tmp_path / "out.parquet").exists()


def test_predictor_under_ray_data(cluster, model, source, alone):
    import ray

    add_nodes(cluster, 1)  # the reading of Ray Data wants a core beside the actor's

    class Predict:
        def __init__(self, model):
            self.predictor = cgfast.Predictor(model, keep=["gap"], threads=1)

        def __call__(self, table):
            return self.predictor(table)

    ray.init(cluster.address, log_to_driver=False)
    try:
        rows = ray.data.read_parquet(str(source)).limit(3000)
        answers = rows.map_batches(
            Predict,
            fn_constructor_args=(model,),
            batch_format="pyarrow",
            batch_size=700,
            compute=ray.data.ActorPoolStrategy(size=1),
        )
        found = {row["id"]: row for row in answers.take_all()}
    finally:
        ray.shutdown()
    expected = pq.read_table(pa.BufferReader(alone[0])).slice(0, 2998).to_pylist()
    assert len(found) == 3000
    for row in expected:
        assert {name: found[row["id"]][name] for name in row} == row
    assert found["c5"]["reason"]
    assert found["c5"]["x_eV"] is None
