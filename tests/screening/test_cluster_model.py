"""The model of a run on many machines, against numbers that a person can work out."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "cluster_model.py"
FOUND = {
    "rows": 1_000_000,
    "stages": {"us_per_crystal": {"read": 10.0, "model": 80.0}},
    "bytes_per_row": {"in": 700.0, "out": 100.0},
    "ray": {
        "range_s": 0.01,
        "workers": {
            "1": {"crystals_per_s": 10_000.0, "until_first_report_s": 9.0, "join_s": 2.5},
            "2": {"crystals_per_s": 20_000.0, "until_first_report_s": 8.0, "join_s": 2.0},
        },
    },
}


@pytest.fixture(scope="module")
def cluster_model():
    if not FILE.is_file():
        pytest.skip("there are no benchmarks beside these tests")
    spec = importlib.util.spec_from_file_location("cluster_model", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["cluster_model"] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["cluster_model"]


def test_each_resource(cluster_model):
    measured = cluster_model.Measured.of(FOUND)
    cluster = cluster_model.Cluster(nodes=10, cores=100, bandwidth=1e9, price=1.0)
    found = cluster_model.estimate(measured, cluster, 32_768_000_000, shards=False)
    assert found.compute == pytest.approx(3276.8)  # 100 µs a crystal on a thousand cores
    assert found.storage == pytest.approx(32_768)  # 700 bytes in, three times 100 out and in, at 1 GB/s
    assert found.driver == pytest.approx(10_000)  # a million ranges of 10 ms
    assert found.join == pytest.approx(65_536)  # 2 µs a row
    assert found.bound == "joining"
    assert found.seconds == pytest.approx(8 + 32_768 + 65_536)
    shards = cluster_model.estimate(measured, cluster, 32_768_000_000, shards=True)
    assert (shards.driver, shards.join) == (0, 0)
    assert shards.compute == pytest.approx(3276.8 * 1.02)
    assert shards.bound == "storage"


def test_the_table_goes_into_a_page(cluster_model, tmp_path, capsys):
    (tmp_path / "found.json").write_text(json.dumps(FOUND))
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- cluster-model -->\nold\n<!-- /cluster-model -->\nafter\n")
    arguments = [str(tmp_path / "found.json"), "--nodes", "1", "20", "--into", str(page)]
    for _ in range(2):
        assert cluster_model.main(arguments) == 0
    text = page.read_text()
    assert text.startswith("before\n<!-- cluster-model -->\nMeasured: a crystal takes 100 µs of a core")
    assert text.endswith("|\n<!-- /cluster-model -->\nafter\n")
    assert "old" not in text
    assert "| 20 machines, shards |" in text
    assert "| 1e9 crystals on |" in text
    assert capsys.readouterr().out.count("| 1 machine, Ray |") == 2
