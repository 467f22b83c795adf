"""`top` gives what sorting everything would, ties by row."""

from __future__ import annotations

import numpy as np
import pytest

from cgfast.screening import screen
from cgfast.screening.selection.top import Top

pa = pytest.importorskip("pyarrow", reason="screening writes tables with pyarrow")


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("n", [1, 10, 5000, 60000])
def test_equals_a_full_sort(n: int, descending: bool) -> None:
    random = np.random.default_rng(7)
    values = random.integers(0, 1000, size=50000) / 8.0  # many ties
    values[random.integers(0, 50000, size=500)] = np.nan
    top = Top(n, "v", descending=descending)
    for start in range(0, 50000, 1111):
        part = values[start : start + 1111]
        top.add(pa.table({"row": np.arange(start, start + len(part)), "v": part}))
    sign = -1.0 if descending else 1.0
    keyed = sorted((bool(np.isnan(v)), 0.0 if np.isnan(v) else sign * v, row) for row, v in enumerate(values))
    assert top.finish()["row"].to_pylist() == [row for _, _, row in keyed][:n]


def test_missing_values_come_last() -> None:
    top = Top(3, "v")
    top.add(pa.table({"row": [0, 1, 2], "v": pa.array([None, 2, 1], pa.int64())}))
    assert top.finish()["row"].to_pylist() == [2, 1, 0]


@pytest.mark.usefixtures("graph_calls")
def test_top_of_a_job(make_rows, make_model, random_rows, tmp_path) -> None:
    result = screen(make_rows(random_rows), make_model(), top=5, out=tmp_path / "p.csv")
    means = [np.mean(row) for row in random_rows]
    best = sorted(range(200), key=lambda row: (means[row], row))[:5]
    assert result.table["id"].to_pylist() == [f"c{row}" for row in best]
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 201


@pytest.mark.usefixtures("graph_calls")
def test_several_models_need_by(make_rows, make_model) -> None:
    models = [make_model("a"), make_model("b")]
    with pytest.raises(ValueError, match=r"by: needed with several predicted properties; .* a.mean_z, b.mean_z"):
        screen(make_rows([[1]]), models, top=1)
    assert screen(make_rows([[1]]), models, top=1, by="b.mean_z").table.num_rows == 1
