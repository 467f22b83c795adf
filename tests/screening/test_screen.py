"""The job: every row of input ends in a prediction or in the failures table."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cgfast.neighbors import GraphSpec
from cgfast.screening import FailuresError, Progress, screen

if TYPE_CHECKING:
    from pathlib import Path

pa = pytest.importorskip("pyarrow", reason="screening writes tables with pyarrow")
pa_csv = pytest.importorskip("pyarrow.csv")
pq = pytest.importorskip("pyarrow.parquet")

pytestmark = pytest.mark.usefixtures("graph_calls")

MIXED = [[6], "not a crystal", [14, 14], [13, 8], [101, 8], [26] * 5, [92, 8], "zero volume", [11, 17], [9]]
# Row -> (stage, part of the reason) under a model that raises at Z=26 and says NaN at Z=92.
BAD = {
    1: ("read", "not a crystal"),
    3: ("graph", "no graph for aluminium"),
    4: ("predict", "Md (Z=101) is unknown to fake, which knows Z up to 100"),
    5: ("predict", "RuntimeError: cannot do Z=26 really not"),
    6: ("predict", "fake gives nan"),
    7: ("read", "zero volume"),
}


def failures_of(path: Path) -> dict[int, tuple[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return {int(row["row"]): (row["stage"], row["reason"]) for row in csv.DictReader(file)}


@pytest.mark.parametrize("batch_rows", [1, 3, 100])
@pytest.mark.parametrize("batch_atoms", [1, 4, 1000])
def test_rows_in_are_rows_out(make_rows, make_model, tmp_path: Path, batch_rows: int, batch_atoms: int) -> None:
    out = tmp_path / "p.parquet"
    model = make_model(explode=26, nan=92)
    result = screen(make_rows(MIXED, batch_rows=batch_rows), model, out=out, batch_atoms=batch_atoms)
    table = pq.read_table(out)
    assert table.column("id").to_pylist() == ["c0", "c2", "c8", "c9"]
    assert table.column("mean_z").to_pylist() == [6.0, 14.0, 14.0, 9.0]
    assert table.column("flags").to_pylist() == ["few_neighbors", "ok", "ok", "few_neighbors"]
    assert failures_of(tmp_path / "p-failures.csv") == BAD
    assert list(failures_of(tmp_path / "p-failures.csv")) == sorted(BAD)
    assert (result.n_rows, result.n_predictions, result.n_failures) == (10, 4, 6)
    assert result.account == f"10 rows in: 4 predictions, 6 failures (see {tmp_path / 'p-failures.csv'})"
    assert {failure.row for failure in result.failures} == set(BAD)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p-failures.csv", "p.parquet"]


def test_a_row_needs_every_model(make_rows, make_model) -> None:
    models = [make_model("a"), make_model("b", column="b", max_atomic_number=118)]
    result = screen(make_rows([[101], [1]]), models)
    assert result.table.column("id").to_pylist() == ["c1"]
    assert result.failures[0].reason == "Md (Z=101) is unknown to a, which knows Z up to 100"


def test_models_share_the_graph(graph_calls, make_rows, make_model, random_rows) -> None:
    models = [make_model(name, column=name, scale=scale) for name, scale in (("a", 1.0), ("b", 2.0), ("c", 3.0))]
    other = GraphSpec(cutoff=5.0)
    models.append(make_model("d", column="d", spec=other))
    table = screen(make_rows(random_rows, batch_rows=50), models).table
    assert len(graph_calls) == 2 * 4
    assert graph_calls.count(other) == 4
    np.testing.assert_array_equal(table["b"].to_numpy(), 2 * table["a"].to_numpy())
    np.testing.assert_allclose(table["a"].to_numpy(), [np.mean(row) for row in random_rows], rtol=1e-15)


def test_ties_replace_the_models_rule(graph_calls, make_rows, make_model) -> None:
    screen(make_rows([[1]]), [make_model("a"), make_model("b", column="b")], ties="shell")
    assert [spec.ties for spec in graph_calls] == ["shell"]


def test_csv_equals_parquet(make_rows, make_model, random_rows, tmp_path: Path) -> None:
    kept = pa.table({"e": np.arange(200) / 7, "tag": [None if n % 3 else f'say "{n}",\n' for n in range(200)]})
    for name in ("p.parquet", "p.csv"):
        rows = make_rows(random_rows, batch_rows=30, columns=kept)
        screen(rows, make_model(scale=1 / 3), out=tmp_path / name)
    parquet = pq.read_table(tmp_path / "p.parquet")
    options = pa_csv.ConvertOptions(
        column_types=dict(zip(parquet.column_names, parquet.schema.types, strict=True)),
        strings_can_be_null=True,
    )
    parsing = pa_csv.ParseOptions(newlines_in_values=True)
    text = pa_csv.read_csv(tmp_path / "p.csv", convert_options=options, parse_options=parsing)
    assert text.equals(parquet.replace_schema_metadata(None))
    assert text.column_names == ["id", "mean_z", "flags", "e", "tag"]


def test_metadata_says_what_made_the_table(make_rows, make_model, tmp_path: Path) -> None:
    screen(make_rows([[1]]), make_model("a"), out=tmp_path / "p.parquet", ties="shell", batch_atoms=99)
    found = json.loads(pq.read_schema(tmp_path / "p.parquet").metadata[b"cgfast"])
    (model,) = found["models"]
    assert (model["name"], model["columns"]) == ("a", ["mean_z"])
    expected = {"property": "mean atomic number", "unit": "eV", "classes": None, "column": "mean_z"}
    assert model["targets"] == [expected]
    assert model["sha256"] == make_model("a").sha256
    assert GraphSpec.from_dict(model["graph"]) == GraphSpec(ties="shell")
    assert found["batch_atoms"] == 99
    assert found["version"]


def test_equal_runs_give_equal_files(make_rows, make_model, random_rows, tmp_path: Path) -> None:
    for name in ("a", "b"):
        screen(make_rows(random_rows, batch_rows=30), make_model(), out=tmp_path / f"{name}.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_kept_columns_follow_their_rows(make_rows, make_model) -> None:
    kept = pa.table({"row": list(range(10)), "mean_z": [0.5] * 10})
    table = screen(make_rows(MIXED, columns=kept), make_model(explode=26, nan=92)).table
    assert table.column_names == ["id", "mean_z", "flags", "row", "input.mean_z"]
    assert table["row"].to_pylist() == [0, 2, 8, 9]


def test_nothing_but_failures_still_gives_both_files(make_rows, make_model, tmp_path: Path) -> None:
    result = screen(make_rows(["bad"] * 5), make_model(), out=tmp_path / "p.csv")
    assert result.n_failures == 5
    assert (tmp_path / "p.csv").read_text() == "id,mean_z,flags\n"


def test_no_rows_at_all(make_rows, make_model, tmp_path: Path) -> None:
    result = screen(make_rows([]), make_model(), out=tmp_path / "p.parquet")
    assert result.account == "0 rows in: 0 predictions, 0 failures"
    assert pq.read_schema(tmp_path / "p.parquet").names == ["id", "mean_z", "flags"]


def test_stale_failures_are_replaced(make_rows, make_model, tmp_path: Path) -> None:
    (tmp_path / "p-failures.csv").write_text("old news")
    screen(make_rows([[1]]), make_model(), out=tmp_path / "p.csv")
    assert (tmp_path / "p-failures.csv").read_text() == "id,row,stage,reason\n"


def test_strict_raises_after_writing(make_rows, make_model, tmp_path: Path) -> None:
    with pytest.raises(FailuresError, match="strict: 1 of 2 rows failed") as caught:
        screen(make_rows([[1], "bad"]), make_model(), out=tmp_path / "p.csv", strict=True)
    assert caught.value.result.n_predictions == 1
    assert (tmp_path / "p.csv").exists()
    assert screen(make_rows([[1]]), make_model(), strict=True).n_failures == 0


def test_head_keeps_only_the_first_rows(make_rows, make_model, random_rows) -> None:
    result = screen(make_rows(random_rows), make_model(), head=7)
    assert result.table["id"].to_pylist() == [f"c{n}" for n in range(7)]
    assert result.n_predictions == 200


def test_progress_ends_at_the_account(make_rows, make_model) -> None:
    seen: list[Progress] = []
    screen(make_rows(MIXED, n_rows=10), make_model(), on_progress=seen.append)
    assert [progress.rows for progress in seen] == [4, 8, 10]
    assert (seen[-1].n_rows, seen[-1].failures) == (10, 4)


def test_a_reader_that_loses_a_row_is_caught(make_rows, make_model, tmp_path: Path) -> None:
    class Loser(make_rows):
        def batches(self):
            for batch in super().batches():
                batch.failures.clear()
                yield batch

    with pytest.raises(RuntimeError, match="lost or repeated rows"):
        screen(Loser(MIXED), make_model(), out=tmp_path / "p.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_atoms": 0}, "batch_atoms: got 0, expected at least 1"),
        ({"threads": 0}, "threads: got 0, expected at least 1"),
        ({"top": 0}, "top: got 0, expected at least 1"),
        ({"by": "x"}, "by: only has a meaning together with top, best_of or report"),
        ({"descending": True}, "descending: only has a meaning together with top, best_of or report"),
        ({"ties": "shells"}, "ties: got 'shells', expected 'canonical' or 'shell'"),
        ({"top": 2, "by": "x"}, "by: no column 'x'; the columns are id, mean_z, flags"),
        ({"top": 2, "by": "id"}, "by: column 'id' holds string, expected numbers"),
        ({"out": "p.xlsx"}, "out: p.xlsx ends in '.xlsx', expected one of .parquet, .csv"),
        ({"out": "/nowhere/at/all/p.csv"}, "out: the folder /nowhere/at/all does not exist"),
        ({"out": f"{__file__}/p.csv"}, "is not a folder"),
        ({"keep": ["x"]}, "source: with an open Reader"),
    ],
)
def test_bad_options_are_named(make_rows, make_model, options: dict, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        screen(make_rows([[1]]), make_model(), **options)
    assert message in str(caught.value)


def test_no_models(make_rows) -> None:
    with pytest.raises(ValueError, match="models: got none"):
        screen(make_rows([[1]]), [])


def test_memory_does_not_grow_with_the_input(make_rows, make_model, tmp_path: Path) -> None:
    def peak(n_rows: int) -> int:
        seen = [0]
        rows = make_rows([[20]] * n_rows, batch_rows=4096)
        before = pa.total_allocated_bytes()
        screen(
            rows,
            make_model(),
            out=tmp_path / "p.parquet",
            top=10,
            on_progress=lambda _: seen.append(pa.total_allocated_bytes() - before),
        )
        return max(seen)

    # Both fill a row group of the output, which is what waits in memory; keeping the rows would make it 4 times as much.
    assert peak(160_000) < 2 * peak(40_000)
