"""Conditions, best rows and energies above hull in whole runs: nothing is lost, resumed and divided runs agree."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import cgfast
from cgfast.screening.output import run_output

COLUMN = "formation_energy_per_atom_eV"


@pytest.fixture
def source(tmp_path, random_rows):
    """Two hundred crystals, one of them broken, in groups of three rows; with the values that the model must give."""
    random_rows = [[26] * len(row) if row[0] == 13 else row for row in random_rows]
    table = pa.table(
        {
            "id": [f"c{k}" for k in range(200)],
            "lattice_vectors": [(np.eye(3) * 9).tolist()] * 200,
            "cartesian_site_positions": [
                (np.arange(3.0 * len(row)).reshape(-1, 3) % 7 if k != 7 else np.full((len(row), 3), np.nan)).tolist()
                for k, row in enumerate(random_rows)
            ],
            "species_at_sites": [[cgfast.elements.SYMBOLS[z] for z in row] for row in random_rows],
            "candidate": [f"g{k // 3}" for k in range(200)],
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    values = {f"c{k}": float(np.mean(row)) for k, row in enumerate(random_rows) if k != 7}
    return tmp_path / "in.parquet", values


def expected(values, *, above=None, grouped=False):
    rows = [(name, value) for name, value in values.items() if above is None or value > above]
    if not grouped:
        return [name for name, _ in rows]
    best: dict[int, tuple[str, float]] = {}
    for name, value in rows:
        group = int(name[1:]) // 3
        if group not in best or value < best[group][1]:
            best[group] = (name, value)
    return [name for name, _ in best.values()]


@pytest.fixture
def model(make_model, graph_calls):
    del graph_calls
    return make_model(column=COLUMN)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"where": f"{COLUMN} > 50"}, {"above": 50}),
        ({"best_of": "candidate"}, {"grouped": True}),
        ({"where": f"{COLUMN} > 50", "best_of": "candidate"}, {"above": 50, "grouped": True}),
        ({"where": f"{COLUMN} > 500"}, {"above": 500}),
    ],
)
def test_only_selected_rows_are_written(tmp_path, source, model, options, wanted):
    path, values = source
    result = cgfast.screen(path, model, out=tmp_path / "out.parquet", **options)
    names = expected(values, **wanted)
    assert pq.read_table(tmp_path / "out.parquet")["id"].to_pylist() == names
    assert (result.n_rows, result.n_predictions, result.n_failures) == (200, 199, 1)
    assert (result.n_selected, result.n_filtered) == (len(names), 199 - len(names))
    assert result.account.startswith(f"200 rows in: {len(names)} selected of 199 predictions, 1 failures")
    shown = cgfast.screen(path, model, **options)
    assert shown.table["id"].to_pylist() == names
    assert shown.n_filtered == result.n_filtered


def test_top_is_among_the_selected(source, model):
    path, values = source
    result = cgfast.screen(path, model, where=f"{COLUMN} > 50", best_of="candidate", top=5)
    names = sorted(expected(values, above=50, grouped=True), key=values.__getitem__)[:5]
    assert result.table["id"].to_pylist() == names
    assert "candidate" in result.table.column_names
    assert result.n_selected == len(expected(values, above=50, grouped=True))


def test_a_finished_run_knows_what_it_left_out(tmp_path, source, model):
    path, _ = source
    options = {"out": tmp_path / "out.parquet", "where": f"{COLUMN} > 50", "best_of": "candidate"}
    first = cgfast.screen(path, model, **options)
    content = (tmp_path / "out.parquet").read_bytes()
    again = cgfast.screen(path, model, resume=True, **options)
    assert "complete already" in again.notes[0]
    assert again.account == first.account
    assert (tmp_path / "out.parquet").read_bytes() == content


def test_an_interrupted_run_goes_on(tmp_path, source, model, monkeypatch):
    path, _ = source
    options = {"where": f"{COLUMN} > 50", "best_of": "candidate"}
    whole = cgfast.screen(path, model, out=tmp_path / "whole.parquet", **options)
    monkeypatch.setattr(run_output, "PART_ROWS", 20)
    monkeypatch.setattr("cgfast.io.reader.Reader.batch_rows", 20, raising=False)
    rows = cgfast.read(path, keep=["candidate"], batch_rows=20)

    def stop(progress):
        if progress.rows >= 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cgfast.screen(rows, model, out=tmp_path / "out.parquet", on_progress=stop, **options)
    result = cgfast.screen(rows, model, out=tmp_path / "out.parquet", resume=True, **options)
    assert result.n_resumed >= 80
    assert result.account == whole.account.replace("whole", "out")
    assert pq.read_table(tmp_path / "out.parquet").equals(pq.read_table(tmp_path / "whole.parquet"))


def test_shards_are_merged_to_the_same_rows(tmp_path, source, model):
    path, _ = source
    rows = cgfast.read(path, keep=["candidate"], batch_rows=20)  # 20 rows: groups of three cross from shard to shard
    options = {"where": f"{COLUMN} > 50", "best_of": "candidate"}
    whole = cgfast.screen(rows, model, out=tmp_path / "whole.parquet", **options)
    for index in (1, 2, 3):
        cgfast.screen(rows, model, out=tmp_path / "out.parquet", shard=f"{index}/3", **options)
    merged = cgfast.merge(tmp_path / "out.parquet")
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert merged.account == whole.account.replace("whole", "out")


def test_energies_above_hull_can_be_selected_and_ranked(tmp_path, source, model):
    pytest.importorskip("scipy")
    path, values = source
    entries = [{"composition": {cgfast.elements.SYMBOLS[z]: 1}, "energy": -float(z)} for z in range(1, 80) if z != 40]
    (tmp_path / "entries.json").write_text(json.dumps(entries))
    name = "energy_above_hull_eV_per_atom"
    result = cgfast.screen(
        path, model, out=tmp_path / "out.parquet", hull=tmp_path / "entries.json", where=f"{name} > 50", top=3, by=name
    )
    table = pq.read_table(tmp_path / "out.parquet")
    # elements alone: the hull is at zero
    np.testing.assert_allclose(table[name].to_numpy(), table[COLUMN].to_numpy())
    assert table.column_names == ["id", COLUMN, name, "flags"]
    assert result.units[name] == "eV/atom"
    best = sorted(table.to_pylist(), key=lambda row: row[name])[:3]
    assert result.table["id"].to_pylist() == [row["id"] for row in best]
    unknown = cgfast.screen(path, model, hull=tmp_path / "entries.json", where=f"{name} is null").table
    assert 0 < unknown.num_rows < len(values)
    assert all("no_hull_reference" in flags for flags in unknown["flags"].to_pylist())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"where": "band_gap_eV > 1"}, f"where: no column 'band_gap_eV'; the columns are id, {COLUMN}, flags; at character 1"),
        ({"where": "x >"}, "where: expected a column"),
        ({"best_of": "nothing"}, "nothing"),
        ({"best_of": "candidate", "by": "flags"}, "by: column 'flags' holds string"),
        ({"hull": "no.json"}, "hull: no.json cannot be read"),
    ],
)
def test_refused_before_anything_is_written(tmp_path, source, model, options, message):
    with pytest.raises(ValueError, match=message):
        cgfast.screen(source[0], model, out=tmp_path / "out.parquet", **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.parquet"]
