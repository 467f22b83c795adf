"""Screening on devices: which one computes, what a batch is there, and what happens where memory runs out."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import cgfast
from cgfast.models import PropertyModel, Target
from cgfast.models.domain import Domain
from cgfast.nn import CGCNN, GaussianBasis
from cgfast.screening import screen
from cgfast.screening.computing import Computing
from cgfast.screening.job import Job
from cgfast.screening.output.manifest import differences
from cgfast.screening.policies import Policies
from cgfast.screening.ray.options import RayOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def model() -> PropertyModel:
    torch.manual_seed(0)
    network = CGCNN(atom_fea_len=8, n_conv=2, h_fea_len=8, basis=GaussianBasis())
    spec = cgfast.GraphSpec(5.0, 8)
    return PropertyModel("made", Target("gap", "eV", "gap_eV"), network, spec, 0.5, 2.0, sha256="", source="")


@pytest.fixture
def crystals() -> cgfast.Crystals:
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 9, 40)
    cells = np.stack([np.eye(3) * rng.uniform(4, 7) for _ in sizes])
    positions = np.concatenate([rng.random((n, 3)) @ cell for n, cell in zip(sizes, cells, strict=True)])
    numbers = rng.integers(1, 100, len(positions))
    return cgfast.Crystals.from_arrays(positions, cells, numbers, graph_ptr=[0, *np.cumsum(sizes)])


class Tight:
    """A model whose memory holds so many atoms of a batch at most."""

    def __init__(self, model: Any, n_atoms: int) -> None:
        self._model, self._n_atoms = model, n_atoms
        self.batches: list[tuple[int, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def predict_columns(self, graph: Any) -> np.ndarray:
        sizes = tuple(np.diff(graph.graph_ptr).tolist())
        self.batches.append(sizes)
        if sum(sizes) > self._n_atoms:
            message = "CUDA out of memory. Tried to allocate 20.00 MiB."
            raise torch.OutOfMemoryError(message)
        values: np.ndarray = self._model.predict_columns(graph)
        return values


@pytest.mark.usefixtures("graph_calls")
def test_where_memory_runs_out_the_halves_are_tried(make_rows, make_model: Callable[..., Any]) -> None:
    tight = Tight(make_model(), 5)
    rows = [[1, 2], [3], [4, 5], [6], [7, 8, 9], [10]]
    result = screen(make_rows(rows, batch_rows=6), tight, batch_atoms=100, threads=1)
    assert result.n_failures == 0
    np.testing.assert_array_equal(result.table["mean_z"], [np.mean(row) for row in rows])
    # 10 atoms; halves of 5 atoms each: the first three crystals and the others
    assert tight.batches == [(2, 1, 2, 1, 3, 1), (2, 1, 2), (1, 3, 1)]


@pytest.mark.usefixtures("graph_calls")
def test_a_crystal_too_large_for_memory_is_a_failure(make_rows, make_model: Callable[..., Any]) -> None:
    tight = Tight(make_model(), 3)
    rows = [[1], [2, 3, 4, 5], [6, 7], [8]]
    result = screen(make_rows(rows, batch_rows=4), tight, batch_atoms=100, threads=1)
    assert result.table["id"].to_pylist() == ["c0", "c2", "c3"]
    assert [(f.row, f.stage) for f in result.failures] == [(1, "predict")]
    assert "out of memory" in result.failures[0].reason


@pytest.mark.usefixtures("graph_calls")
def test_rows_do_not_fail_because_a_device_did(make_rows, make_model: Callable[..., Any]) -> None:
    class Lost(Tight):
        def predict_columns(self, graph: Any) -> np.ndarray:
            del graph
            message = "CUDA error: an illegal memory access was encountered"
            raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="illegal memory access"):
        screen(make_rows([[1], [2]]), Lost(make_model(), 1))


def test_predictions_on_a_device(model, crystals, device: str, tmp_path: Path) -> None:
    result = screen(crystals, model, device=device, out=tmp_path / "p.parquet")
    assert (result.n_rows, result.n_failures) == (40, 0)
    found = pq.read_table(tmp_path / "p.parquet")
    network = model.network.double()
    expected = network(cgfast.build_graphs(crystals, model.spec).torch()).detach().numpy()[:, 0] * 2.0 + 0.5
    np.testing.assert_allclose(found["gap_eV"], expected, rtol=1e-4, atol=1e-4)
    described = json.loads(found.schema.metadata[b"cgfast"])
    assert (described["device"], described["batch_atoms"]) == (device, {"cpu": 8192, "cuda": 262_144}[device])


def test_rows_of_few_neighbors_on_a_device(model, device: str) -> None:
    lonely = cgfast.Crystals.from_arrays(np.zeros((1, 3)), np.eye(3) * 4.9, [6], pbc=True)
    table = screen(lonely, model, device=device).table
    assert table["flags"].to_pylist() == ["few_neighbors"]


def test_auto(model, crystals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    screen(crystals, model, device="auto", out=tmp_path / "p.parquet")
    assert json.loads(pq.read_schema(tmp_path / "p.parquet").metadata[b"cgfast"])["device"] == "cpu"


def test_models_in_several_places(model, crystals) -> None:
    class Elsewhere(Tight):
        device = torch.device("meta")

    with pytest.raises(ValueError, match="models: got some on cpu and some on meta, expected one device"):
        screen(crystals, [model, Elsewhere(model, 1)])


def test_flags_on_a_device(model, crystals, device: str) -> None:
    graph = cgfast.build_graphs(crystals, model.spec)
    known = replace(model, domain=Domain.fit(model.network, [graph], ["H", "O", "Si"]))
    other = cgfast.Crystals.concatenate(
        [crystals, cgfast.Crystals.from_arrays([[0, 0, 0], [0, 0, 0.3]], np.eye(3) * 30, [1, 8])]
    )
    expected, found = (screen(other, known, device=place) for place in ("cpu", device))
    assert found.flags.keys() == expected.flags.keys() >= {"overlap", "unseen_element", "few_neighbors"}
    judged = {"overlap", "isolated_atom", "few_neighbors", "unseen_element", "unusual_distance"}  # features round
    for one, two in zip(found.table["flags"].to_pylist(), expected.table["flags"].to_pylist(), strict=True):
        assert judged & set(one.split(";")) == judged & set(two.split(";"))


def test_a_run_is_not_resumed_on_another_device(model, crystals, tmp_path: Path) -> None:
    screen(crystals, model, out=tmp_path / "p.parquet")
    described = json.loads(pq.read_schema(tmp_path / "p.parquet").metadata[b"cgfast"])
    assert differences(described, {**described, "device": "cuda"}) == ["device was cpu, is cuda"]


@pytest.mark.parametrize(("gpus", "kind", "atoms", "rows"), [(0.0, "cpu", 8192, 1024), (0.5, "cuda", 262_144, 16_384)])
def test_workers_of_a_cluster_compute_on_their_gpus(model, gpus: float, kind: str, atoms: int, rows: int) -> None:
    job = Job(batch_atoms=None, threads=None, ties=None, top=None, by=None, head=None)
    on_ray = RayOptions(gpus_per_worker=gpus)
    found = Computing.open(model, job, Policies(), device="cpu", atom_init=None, on_ray=on_ray)
    assert (found.kind, found.place, found.batch_atoms, found.batch_rows) == (kind, None, atoms, rows)
