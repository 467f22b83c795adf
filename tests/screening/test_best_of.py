"""The best of neighbouring rows, and conditions before it, however the rows are divided."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgfast.screening.selection.best_of import BestOf
from cgfast.screening.selection.selection import Selected, Selection
from cgfast.screening.selection.top import Top

rows_ = st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from([1.0, 2.0, None, float("nan")])), max_size=30)


def table_of(rows):
    return pa.table(
        {
            "id": pa.array([f"r{k}" for k in range(len(rows))], pa.string()),
            "name": pa.array([name for name, _ in rows], pa.string()),
            "e": pa.array([value for _, value in rows], pa.float64()),
        }
    )


def expected(rows, *, descending):
    found = []
    for _, run in itertools.groupby(enumerate(rows), key=lambda pair: pair[1][0]):
        run_ = list(run)
        fine = [(k, e) for k, (_, e) in run_ if e is not None and not np.isnan(e)]
        best = min(fine, key=lambda pair: -pair[1] if descending else pair[1]) if fine else (run_[0][0], None)
        found.append(f"r{best[0]}")
    return found


@settings(max_examples=200, deadline=None)
@given(rows_, st.lists(st.integers(0, 30)), st.booleans())
def test_equals_a_plain_loop_however_divided(rows, cuts, descending):
    table = table_of(rows)
    best = BestOf("name", "e", descending=descending)
    ends = sorted({0, *(min(cut, len(rows)) for cut in cuts), len(rows)})
    found = []
    for start, stop in [*itertools.pairwise(ends), (0, 0)]:
        found += best.push(table.slice(start, stop - start))["id"].to_pylist()
    rest = best.finish()
    found += [] if rest is None else rest["id"].to_pylist()
    assert found == expected(rows, descending=descending)
    assert best.finish() is None


def test_selection_filters_first_and_counts():
    table = table_of([("a", 1.0), ("a", 2.0), ("b", 3.0), ("b", 2.5), ("a", 9.0)])
    selection = Selection(where="e > 1", best_of="name", by="e")
    selection.rank("e", table.schema)
    stream = selection.stream()
    collector = Selected(stream, Top(2, "e", descending=True))
    for start in range(5):
        collector.add(table.slice(start, 1))
    assert collector.finish()["id"].to_pylist() == ["r4", "r3"]
    assert stream.n_selected == 3
    assert selection.options == {"where": "e > 1", "best_of": "name", "by": "e", "descending": False}


def test_no_selection_is_false():
    assert not Selection()
    assert Selection(where="e > 1")


def test_columns_that_cannot_be_used():
    schema = pa.schema([("name", pa.string()), ("e", pa.float64()), ("l", pa.list_(pa.int32()))])
    with pytest.raises(ValueError, match="best_of: no column 'x'; the columns are name, e, l"):
        BestOf("x", "e").check(schema)
    with pytest.raises(ValueError, match="best_of: column 'l' holds list"):
        BestOf("l", "e").check(schema)
    with pytest.raises(ValueError, match="by: column 'name' holds string"):
        BestOf("e", "name").check(schema)
