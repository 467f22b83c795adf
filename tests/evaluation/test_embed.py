"""`embed` against the network called by hand, one crystal at a time."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cgfast import build_graphs
from cgfast.crystals import Crystals
from cgfast.evaluation import embed

torch = pytest.importorskip("torch")
pq = pytest.importorskip("pyarrow.parquet", reason="features are written as Arrow tables")


def by_hand(model, crystal, member=0) -> tuple[np.ndarray, np.ndarray]:
    """Features of the atoms, and their mean."""
    with torch.no_grad():
        atoms = model.networks[member].atom_features(build_graphs(crystal, model.spec)).numpy()
    return atoms, atoms.astype(np.float64).mean(axis=0)


def test_features(write, crystals, make_model, tmp_path):
    model = make_model()
    out = tmp_path / "f.parquet"
    found = embed(model, write(crystals), out=out, atoms=True)
    table = pq.read_table(out)
    assert [(f.name, str(f.type)) for f in table.schema] == [
        ("id", "string"),
        ("row", "int64"),
        ("features", "fixed_size_list<element: float>[12]"),
        ("atom_features", "list<element: fixed_size_list<element: float>[12]>"),
    ]
    assert (found.n_rows, found.n_crystals, found.n_failures, found.length) == (60, 60, 0, 12)
    assert table["row"].to_pylist() == list(range(60))
    for crystal, row in zip(crystals, table.to_pylist(), strict=True):
        atoms, mean = by_hand(model, crystal)
        assert row["id"] == crystal.ids[0]
        np.testing.assert_allclose(row["features"], mean, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(row["atom_features"], atoms, rtol=1e-4, atol=1e-6)
    described = json.loads(table.schema.metadata[b"cgfast"])
    assert described["sha256"] == model.sha256
    assert described["graph"] == model.spec.to_dict()


def test_the_head_makes_the_prediction_of_them(crystals, make_model):
    model = make_model()
    features = embed(model, crystals).features
    with torch.no_grad():
        out = model.network.head(torch.from_numpy(features))[:, 0].numpy()
    np.testing.assert_allclose(out * 2.0 + 0.5, model.predict(crystals).values, rtol=1e-5)


@pytest.mark.parametrize("pooling", ["sum", "max"])
def test_other_pooling(crystals, make_model, pooling):
    model = make_model(pooling=pooling)
    features = embed(model, crystals).features
    expected = [getattr(np, pooling)(by_hand(model, crystal)[0], axis=0) for crystal in crystals]
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)


def test_in_memory_and_on_disk_and_threads(write, crystals, make_model, tmp_path):
    model = make_model()
    table = embed(model, crystals, threads=1).table
    assert table.column_names == ["id", "row", "features"]
    on_disk = embed(model, write(crystals), out=tmp_path / "f.parquet", threads=3)
    assert pq.read_table(tmp_path / "f.parquet").replace_schema_metadata(None).equals(table)
    assert on_disk.table is None
    with pytest.raises(ValueError, match="features: the rows went to"):
        _ = on_disk.features


def test_members_of_an_ensemble(crystals, make_model):
    model = make_model(members=2)
    for member in (0, 1):
        expected = [by_hand(model, crystal, member)[1] for crystal in crystals]
        np.testing.assert_allclose(embed(model, crystals, member=member).features, expected, rtol=1e-4, atol=1e-6)
    for member in (2, -1, True):
        with pytest.raises(ValueError, match=f"member: got {member}, expected 0 to 1 for tiny"):
            embed(model, crystals, member=member)


def test_every_row_is_accounted_for(write, crystals, make_model, tmp_path):
    cell = crystals.cell.copy()
    cell[4] = 0
    numbers = crystals.atomic_numbers.copy()
    numbers[crystals.graph_ptr[9]] = 110
    broken = Crystals(crystals.positions, cell, crystals.pbc, numbers, crystals.graph_ptr, crystals.ids)
    out = tmp_path / "f.parquet"
    found = embed(make_model(), write(broken), out=out, atoms=True)
    assert [(f.row, f.stage) for f in found.failures] == [(4, "read"), (9, "predict")]
    assert pq.read_table(out)["row"].to_pylist() == [row for row in range(60) if row not in (4, 9)]
    lines = (tmp_path / "f-failures.csv").read_text().splitlines()
    assert [line.split(",")[:3] for line in lines[1:]] == [["c4", "4", "read"], ["c9", "9", "predict"]]
    assert found.account == f"60 rows in: 58 crystals, 2 failures (see {tmp_path / 'f-failures.csv'})"
    expected = embed(make_model(), crystals, atoms=True).table
    kept = pq.read_table(out)["atom_features"].to_pylist()
    others = [v for row, v in enumerate(expected["atom_features"].to_pylist()) if row not in (4, 9)]
    np.testing.assert_allclose(np.concatenate(kept), np.concatenate(others), rtol=1e-4)


def test_more_rows_than_a_batch(make_model):
    """2,500 cells of one atom: rows stay in order over batches of rows."""
    n = 2500
    crystals = Crystals.from_arrays(
        np.zeros((n, 3)), np.tile(np.eye(3) * 3, (n, 1, 1)), np.arange(n) % 50 + 1, graph_ptr=np.arange(n + 1)
    )
    seen = []
    found = embed(make_model(), crystals, on_progress=lambda progress: seen.append((progress.rows, progress.n_rows)))
    assert found.table["row"].to_pylist() == list(range(n))
    assert seen == [(1024, n), (2048, n), (2500, n)]
    np.testing.assert_allclose(found.features[:50], found.features[1500:1550], rtol=1e-5)


def test_nothing_to_embed(crystals, make_model, tmp_path):
    found = embed(make_model(), crystals[:0], out=tmp_path / "f.parquet")
    table = pq.read_table(tmp_path / "f.parquet")
    assert (found.n_rows, table.num_rows, table.column_names) == (0, 0, ["id", "row", "features"])
    assert embed(make_model(), crystals[:0]).features.shape == (0, 12)


def test_outputs_that_cannot_be(write, crystals, make_model, tmp_path):
    path = write(crystals)
    with pytest.raises(ValueError, match=r"out: .*f.csv ends in '.csv', expected .parquet"):
        embed(make_model(), path, out=tmp_path / "f.csv")
    with pytest.raises(ValueError, match=r"out: .* is also the input"):
        embed(make_model(), path, out=path)
    assert [p.name for p in tmp_path.iterdir()] == ["data.parquet"]
