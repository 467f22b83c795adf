"""cgfast.Predictor: tables in, tables out, the numbers of `screen` whoever calls it and however the rows are divided."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import cgfast
from cgfast import GraphSpec, Predictor
from cgfast.models import PropertyModel, Target
from cgfast.nn import CGCNN, GaussianBasis

HARTREE = Target("bulk modulus", "log10(GPa)", "log10_bulk_modulus_GPa")
METAL = Target("probability of being a metal", "1", "metal_probability", ("nonmetal", "metal"))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(5)
    network = CGCNN(atom_fea_len=32, n_conv=2, h_fea_len=32, n_out=3, basis=GaussianBasis())
    return PropertyModel("small", (HARTREE, METAL), network, GraphSpec(5.0, 8), (1.0, 0.0), (0.5, 1.0), "", "")


@pytest.fixture(scope="module")
def table():
    """1500 crystals of 1 to 6 atoms, among them rows with no structure, no volume and an element that no model knows."""
    random = np.random.default_rng(7)
    sizes = random.integers(1, 7, 1500)
    cells = (np.eye(3) * random.uniform(3, 6, (1500, 1, 1))).tolist()
    sites = [random.uniform(0, 4, (n, 3)).tolist() for n in sizes]
    species = [[cgfast.elements.symbol(z) for z in random.integers(1, 95, n)] for n in sizes]
    cells[3] = [[0.0] * 3] * 3
    sites[700] = None
    species[1100] = ["Og"] * sizes[1100]
    columns = {"id": [f"c{k}" for k in range(1500)], "lattice_vectors": cells, "cartesian_site_positions": sites}
    return pa.table(columns | {"species_at_sites": species, "gap": random.uniform(0, 5, 1500), "reason": ["kept"] * 1500})


@pytest.fixture(scope="module")
def screened(model, table, tmp_path_factory):
    """What `screen` makes of the same rows: predictions and failures."""
    folder = tmp_path_factory.mktemp("screened")
    pq.write_table(table, folder / "in.parquet", row_group_size=400)
    result = cgfast.screen(folder / "in.parquet", model, out=folder / "out.parquet", keep=["gap"])
    assert (result.n_predictions, result.n_failures) == (1497, 3)
    return pq.read_table(folder / "out.parquet"), (folder / "out-failures.csv").read_text().splitlines()[1:]


def predicted(answer: pa.Table, names: list[str]) -> pa.Table:
    return answer.filter(pa.compute.is_null(answer["reason"])).select(names)


@pytest.mark.parametrize("size", [1500, 1024, 333, 1, 7000])
def test_values_are_those_of_screen_bit_by_bit(model, table, screened, size):
    rows = table if size > 1 else table.slice(690, 20)
    predictor = Predictor(model, keep=["gap"])
    answer = pa.concat_tables(predictor(rows.slice(k, size)) for k in range(0, rows.num_rows, size))
    assert answer.column_names == ["id", HARTREE.column, METAL.column, "flags", "stage", "reason", "gap"]
    assert answer["id"].to_pylist() == rows["id"].to_pylist()
    assert answer["gap"].to_pylist() == rows["gap"].to_pylist()
    expected = screened[0] if size > 1 else screened[0].filter(pa.compute.is_in(screened[0]["id"], rows["id"].combine_chunks()))
    assert predicted(answer, expected.column_names).to_pylist() == expected.to_pylist()


def test_a_row_without_a_prediction_says_why(model, table, screened):
    answer = Predictor(model)(table)
    failed = answer.filter(pa.compute.is_valid(answer["reason"])).to_pylist()
    lines = [f"{row['id']},{row['id'][1:]},{row['stage']},{row['reason']}" for row in failed]
    assert lines == [line.replace('"', "") for line in screened[1]]
    assert [row["id"] for row in failed] == ["c3", "c700", "c1100"]
    for row in failed:
        assert row[HARTREE.column] is None
        assert row["flags"] is None
    assert answer[METAL.column].null_count == 3
    assert not np.isnan(answer[METAL.column].drop_null().to_numpy()).any()


def test_an_empty_table_tells_the_columns(model, table):
    predictor = Predictor(model, keep=["gap", "reason"])
    schema = predictor(table.schema.empty_table()).schema
    assert schema == predictor(table.slice(0, 5)).schema
    assert schema.names[-2:] == ["gap", "input.reason"]
    assert predictor(table.slice(0, 2))["input.reason"].to_pylist() == ["kept", "kept"]


def travelled(sent: bytes) -> Predictor:
    return pickle.loads(sent)  # noqa: S301 - our own


def test_it_travels_light_or_with_its_model(model, table, tmp_path, monkeypatch):
    expected = Predictor(model)(table.slice(0, 50))
    assert travelled(pickle.dumps(Predictor(model)))(table.slice(0, 50)).equals(expected)
    model.save(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    light = pickle.dumps(Predictor("model"))
    assert len(light) < 2000
    monkeypatch.chdir("/")
    assert travelled(light)(table.slice(0, 50)).equals(expected)


def test_a_model_is_loaded_once_and_anew_when_it_changes(model, table, tmp_path):
    path = model.save(tmp_path / "model")
    first, again = Predictor(path).load(), Predictor(path).load()
    assert first[0] is again[0]
    other = PropertyModel("other", model.targets, model.networks, model.spec, (9.0, 0.0), model.std, "", "")
    other.save(path)
    assert Predictor(path)(table.slice(0, 1))[HARTREE.column][0].as_py() == pytest.approx(
        Predictor(model)(table.slice(0, 1))[HARTREE.column][0].as_py() + 8
    )


def test_calls_from_several_threads(model, table):
    predictor = Predictor(model, threads=1)
    before = torch.get_num_threads()
    parts = [table.slice(k, 100) for k in range(0, 1500, 100)]
    barrier = threading.Barrier(3)

    def call(part):
        if part is parts[0] or part is parts[1] or part is parts[2]:
            barrier.wait(30)
        return predictor(part)

    with ThreadPoolExecutor(3) as pool:
        answer = pa.concat_tables(pool.map(call, parts))
    assert answer.combine_chunks().equals(predictor(table))
    assert torch.get_num_threads() == before


def test_ids_are_row_numbers_where_there_are_none(model, table):
    rows = table.drop_columns("id").slice(100, 3)
    assert Predictor(model)(rows, first_row=100)["id"].to_pylist() == ["100", "101", "102"]


def test_a_stream_of_record_batches_as_spark_calls_it(model, table):
    batches = table.to_batches(max_chunksize=400)
    stream = Predictor(model).stream(iter(batches))
    first = next(stream)
    assert isinstance(first, pa.RecordBatch)
    assert first.num_rows == 400
    assert pa.Table.from_batches([first, *stream]).combine_chunks().equals(Predictor(model)(table))


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # a matter between Dask and pandas
def test_dask_map_partitions(model, table, tmp_path):
    frames = pytest.importorskip("dask.dataframe", reason="dask is not installed")
    dask = pytest.importorskip("dask")
    predictor = Predictor(model, threads=1)

    def predict(frame):
        return predictor(pa.Table.from_pandas(frame, preserve_index=False)).to_pandas()

    rows = table.slice(0, 60)
    pq.write_table(rows, tmp_path / "in.parquet", row_group_size=20)
    meta = predictor(rows.schema.empty_table()).to_pandas()
    with dask.config.set({"dataframe.convert-string": False}):  # else Dask makes text of the lists
        frame = frames.read_parquet(tmp_path / "in.parquet", split_row_groups=1)
        assert frame.npartitions == 3
        answer = frame.map_partitions(predict, meta=meta).compute()
    assert pa.Table.from_pandas(answer, preserve_index=False).to_pylist() == predictor(rows).to_pylist()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_atoms": 0}, "batch_atoms: got 0"),
        ({"threads": 0}, "threads: got 0"),
        ({"ties": "none"}, "ties: got 'none'"),
        ({"on_disorder": "guess"}, "on_disorder is 'guess'"),
        ({"columns": {"ids": "x"}}, "columns has the keys"),
    ],
)
def test_wrong_options_are_told_at_once(model, options, words):
    with pytest.raises(ValueError, match=words):
        Predictor(model, **options)


def test_wrong_batches(model, table):
    predictor = Predictor(model, keep=["energy"])
    with pytest.raises(ValueError, match="batch has no column energy"):
        predictor(table)
    with pytest.raises(ValueError, match="batch: got a list"):
        predictor([])
    with pytest.raises(ValueError, match="there is no model 'nonsense'"):
        Predictor("nonsense")(table)
