"""Models of several columns in a screening job: names, order, ranking, units, metadata and failures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cgfast.models import OutputColumn, Target
from cgfast.neighbors import GraphSpec
from cgfast.screening import screen
from cgfast.screening.columns import by_model, prediction_columns, value_columns

if TYPE_CHECKING:
    from pathlib import Path

pq = pytest.importorskip("pyarrow.parquet", reason="screening writes tables with pyarrow")
pytestmark = pytest.mark.usefixtures("graph_calls")

GAP = Target("band gap", "eV", "gap_eV")
METAL = Target("probability of being a metal", "1", "metal", ("nonmetal", "metal"))


class Several:
    """Predicts the mean atomic number, times 1, 2, ... per target; deviations are a hundredth. NaN at Z = 92."""

    task = "mixed"
    max_atomic_number = 100

    def __init__(self, name: str, targets: tuple[Target, ...] = (GAP, METAL), *, ensemble: bool = False) -> None:
        self.name, self.targets, self.ensemble = name, targets, ensemble
        columns: list[OutputColumn] = []
        for target in targets:
            columns.append(OutputColumn(target.column, target.unit))
            columns += [OutputColumn(f"{target.column}_std", target.unit)] if ensemble else []
        self.columns = tuple(columns)
        self.sha256 = f"{name:0<64}"
        self.spec = GraphSpec()

    def predict_columns(self, graph: Any) -> np.ndarray:
        parts = np.split(graph.atomic_numbers, graph.graph_ptr[1:-1])
        mean = np.array([part.mean() for part in parts])
        values = mean[:, None] * np.arange(1, len(self.targets) + 1)
        if 92 in graph.atomic_numbers:
            values[[92 in part for part in parts], -1] = np.nan
        if not self.ensemble:
            return values
        return np.stack([values, values / 100], axis=2).reshape(len(parts), -1)


def test_two_targets(make_rows, tmp_path: Path) -> None:
    result = screen(make_rows([[6], [8, 10], [14]]), Several("two"), out=tmp_path / "p.parquet")
    table = pq.read_table(tmp_path / "p.parquet")
    assert table.column_names == ["id", "gap_eV", "metal", "flags"]
    assert table["gap_eV"].to_pylist() == [6.0, 9.0, 14.0]
    assert table["metal"].to_pylist() == [12.0, 18.0, 28.0]
    assert result.units == {"gap_eV": "eV", "metal": "1"}


def test_deviations_stand_next_to_their_values(make_rows, make_model) -> None:
    result = screen(make_rows([[50], [8]]), [make_model("one"), Several("two", ensemble=True)])
    assert result.table.column_names == ["id", "mean_z", "gap_eV", "gap_eV_std", "metal", "metal_std", "flags"]
    assert [result.table[name][0].as_py() for name in result.table.column_names[1:-1]] == [50.0, 50.0, 0.5, 100.0, 1.0]
    assert result.units == {"mean_z": "eV", "gap_eV": "eV", "gap_eV_std": "eV", "metal": "1", "metal_std": "1"}


def test_metadata_says_which_columns_are_whose(make_rows, make_model, tmp_path: Path) -> None:
    models = [Several("two", ensemble=True), make_model("one", column="gap_eV")]
    screen(make_rows([[1]]), models, out=tmp_path / "p.parquet")
    two, one = json.loads(pq.read_schema(tmp_path / "p.parquet").metadata[b"cgfast"])["models"]
    assert two["columns"] == ["two.gap_eV", "two.gap_eV_std", "metal", "metal_std"]
    assert two["task"] == "mixed"
    assert [target["column"] for target in two["targets"]] == ["two.gap_eV", "metal"]
    assert [target["classes"] for target in two["targets"]] == [None, ["nonmetal", "metal"]]
    assert (one["columns"], one["targets"][0]["unit"]) == (["one.gap_eV"], "eV")


def test_failures_name_the_column(make_rows, make_model) -> None:
    models = [make_model("one"), Several("two", ensemble=True)]
    result = screen(make_rows([[6], [92], [14]]), models)
    assert result.table["id"].to_pylist() == ["c0", "c2"]
    (failure,) = result.failures
    assert (failure.row, failure.stage) == (1, "predict")
    assert failure.reason == "two gives nan for metal; two gives nan for metal_std"


def test_top_of_an_ensemble_ranks_by_its_value(make_rows) -> None:
    rows = make_rows([[30], [10], [20]])
    model = Several("e", (GAP,), ensemble=True)
    assert screen(rows, model, top=2).table["id"].to_pylist() == ["c1", "c2"]
    assert screen(rows, model, top=1, by="gap_eV_std", descending=True).table["id"].to_pylist() == ["c0"]


def test_top_of_several_targets_needs_by(make_rows) -> None:
    with pytest.raises(ValueError, match=r"by: needed with several predicted properties; .* are gap_eV, metal$"):
        screen(make_rows([[1]]), Several("two"), top=1)
    assert screen(make_rows([[1], [2]]), Several("two"), top=1, by="metal").table["id"].to_pylist() == ["c0"]
    with pytest.raises(ValueError, match="by: no column 'x'; the columns are id, gap_eV, metal, flags"):
        screen(make_rows([[1]]), Several("two"), top=1, by="x")


def test_no_rows_and_only_failures_have_all_columns(make_rows, tmp_path: Path) -> None:
    for rows in ([], ["bad"]):
        screen(make_rows(rows), Several("two", ensemble=True), out=tmp_path / "p.csv")
        assert (tmp_path / "p.csv").read_text() == "id,gap_eV,gap_eV_std,metal,metal_std,flags\n"


def test_a_kept_column_named_like_a_deviation_gives_way(make_rows) -> None:
    import pyarrow as pa

    rows = make_rows([[1]], columns=pa.table({"metal_std": [7]}))
    table = screen(rows, Several("two", ensemble=True)).table
    assert table.column_names[-1] == "input.metal_std"


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ([Several("a"), Several("b")], ["a.gap_eV", "a.metal", "b.gap_eV", "b.metal"]),
        ([Several("a"), Several("b", (METAL,))], ["gap_eV", "a.metal", "b.metal"]),
        # A value and its deviation go together, whichever of the two is taken.
        ([Several("a", (GAP,), ensemble=True), Several("b", (GAP,))], ["a.gap_eV", "a.gap_eV_std", "b.gap_eV"]),
        (
            [Several("a", (GAP,), ensemble=True), Several("b", (Target("x", "1", "gap_eV_std"),))],
            ["a.gap_eV", "a.gap_eV_std", "b.gap_eV_std"],
        ),
        ([Several("a", (Target("x", "1", "id"),), ensemble=True)], ["a.id", "a.id_std"]),
    ],
)
def test_names(models: list[Several], expected: list[str]) -> None:
    names = prediction_columns(models)
    assert names == expected
    assert [name for part in by_model(models, names) for name in part] == expected
    assert [len(part) for part in by_model(models, names)] == [len(model.columns) for model in models]


def test_values_are_what_is_no_deviation() -> None:
    models = [Several("a", ensemble=True), Several("b", (Target("spread", "1", "x_std"),))]
    assert value_columns(models, prediction_columns(models)) == ["gap_eV", "metal", "x_std"]


def test_models_that_were_never_saved() -> None:
    first, second = Several("a"), Several("b")
    first.sha256 = second.sha256 = ""
    assert prediction_columns([first, second]) == ["a.gap_eV", "a.metal", "b.gap_eV", "b.metal"]
    with pytest.raises(ValueError, match="a is given twice"):
        prediction_columns([first, first])
    second.name = "a"
    with pytest.raises(ValueError, match=r"the columns a@\.gap_eV, a@\.metal cannot be told apart, give the models names"):
        prediction_columns([first, second])
