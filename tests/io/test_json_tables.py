"""Tables of structures that pandas wrote as JSON, against pandas itself where it is installed."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("pyarrow")

from cgfast.io import kept, read

if TYPE_CHECKING:
    from pathlib import Path

    from cgfast.io import StructureBatch


def structure(k: int) -> dict[str, Any]:
    lattice = {"matrix": [[4.0 + k, 0, 0], [0, 4.0, 0], [0, 0, 4.0]]}
    sites = [{"species": [{"element": "Na", "occu": 1}], "abc": [0.25, 0, 0.1 * (k % 9)], "label": "Na"}]
    return {"@module": "pymatgen.core.structure", "@class": "Structure", "lattice": lattice, "sites": sites}


def check(batch: StructureBatch, n: int, ids: list[str]) -> None:
    assert batch.failures == []
    assert batch.crystals.ids.tolist() == ids
    assert batch.crystals.cell[:, 0, 0].tolist() == [4.0 + k for k in range(n)]


def single(path: Path, **options: Any) -> StructureBatch:
    (batch,) = read(path, **options).batches()
    return batch


@pytest.mark.parametrize("order", ["index columns data", "columns index data", "columns data index"])
def test_matbench_split(tmp_path: Path, order: str) -> None:
    n = 50
    content = {
        "index": list(range(100, 100 + n)),
        "columns": ["structure", "e_form", "is_metal"],
        "data": [[structure(k), -0.5 * k, k % 2 == 0] for k in range(n)],
    }
    path = tmp_path / "matbench.json.gz"
    path.write_bytes(gzip.compress(json.dumps({name: content[name] for name in order.split()}).encode()))
    batch = single(path, keep=["e_form", "is_metal"])
    known = order.endswith("data")
    check(batch, n, [str(k + 100 * known) for k in range(n)])  # an index behind the data comes too late: row numbers
    assert batch.columns.to_pydict() == {"e_form": [-0.5 * k for k in range(n)], "is_metal": [k % 2 == 0 for k in range(n)]}


def test_split_with_an_index_longer_than_the_beginning_that_is_looked_at(tmp_path: Path) -> None:
    content = {
        "index": [f"mb-{k:07}" for k in range(20_000)],
        "columns": ["structure"],
        "data": [[structure(k)] for k in range(3)],
    }
    (tmp_path / "x.json").write_text(json.dumps(content))
    check(single(tmp_path / "x.json"), 3, ["mb-0000000", "mb-0000001", "mb-0000002"])


def test_split_ids_bad_rows_and_data_without_columns(tmp_path: Path) -> None:
    rows = [["a", structure(0)], ["b"], None, ["d", None], ["e", structure(4)]]
    (tmp_path / "x.json").write_text(
        json.dumps({"columns": ["material_id", "structure"], "index": [0, 1, 2, 3, 4], "data": rows})
    )
    batch = single(tmp_path / "x.json")
    assert batch.crystals.ids.tolist() == ["a", "e"]
    assert [(f.id, f.row) for f in batch.failures] == [("1", 1), ("2", 2), ("d", 3)]
    assert "the row is 1 values: expected 2" in batch.failures[0].reason
    (tmp_path / "y.json").write_text(json.dumps({"data": rows, "columns": ["material_id", "structure"]}))
    with pytest.raises(ValueError, match=r"y\.json has its data \(byte 9\) before its columns"):
        read(tmp_path / "y.json")


def test_wbm_by_columns(tmp_path: Path) -> None:
    n = 3000  # the first column alone is longer than the beginning that is looked at
    labels = [str(k) for k in range(n)]
    content = {
        "material_id": {label: f"wbm-1-{label}" for label in labels},
        "formula": dict.fromkeys(labels, "Na"),
        "initial_structure": {label: structure(int(label)) for label in labels},
        "bandgap": {label: None if label == "1" else float(label) for label in labels},
        "list": {label: [1, 2] for label in labels},
    }
    path = tmp_path / "wbm.json"
    path.write_text(json.dumps(content))
    reader = read(path, keep=["bandgap", "formula"], batch_rows=5000)
    (batch,) = reader.batches()
    check(batch, n, [f"wbm-1-{k}" for k in range(n)])
    assert batch.columns.column("bandgap").to_pylist() == [None if k == 1 else float(k) for k in range(n)]
    assert batch.columns.column("formula").to_pylist() == ["Na"] * n
    assert n > kept.LOOK_AT
    assert reader.describe()["columns"] == {"material_id": "string", "formula": "string", "bandgap": "double"}
    two = {"structure": {"a": structure(0), "b": None, "c": structure(1)}, "e": {"a": 1.0, "c": 2.0}}
    (tmp_path / "two.json").write_text(json.dumps(two))
    batch = single(tmp_path / "two.json", keep=["e"])
    assert (batch.crystals.ids.tolist(), batch.columns.column("e").to_pylist()) == (["a", "c"], [1.0, 2.0])
    assert [f.id for f in batch.failures] == ["b"]


def test_a_table_without_structures(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps({"id": {"0": "a"}, "formula": {"0": "Na"}, "l": {"0": [1]}}))
    with pytest.raises(ValueError, match=r"a table by columns without one of structures .*: its columns are l, id, formula"):
        read(tmp_path / "x.json")


@pytest.mark.parametrize("orient", ["split", "columns", "records", "index", "table"])
def test_what_pandas_writes(tmp_path: Path, orient: str) -> None:
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame(
        {"material_id": ["m0", "m1", "m2"], "e": [1.0, float("nan"), 3.0], "structure": [structure(k) for k in range(3)]},
        index=["x", "y", "z"],
    )
    table.to_json(tmp_path / "t.json.bz2", orient=orient)
    batch = single(tmp_path / "t.json.bz2", keep=["e"])
    check(batch, 3, ["x", "y", "z"] if orient == "index" else ["m0", "m1", "m2"])
    assert batch.columns.column("e").to_pylist() == [1.0, None, 3.0]
    table.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    check(single(tmp_path / "t.jsonl"), 3, ["m0", "m1", "m2"])
