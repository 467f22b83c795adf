"""The 2018 layout: id_prop.csv and ID.cif."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("gemmi")
pytest.importorskip("pyarrow")

from cgfast.io import StructureBatch, read
from tests.io.cifs import cif

if TYPE_CHECKING:
    from pathlib import Path


def folder(path: Path, csv: str | bytes, names: tuple[str, ...] = ("a", "b", "007")) -> Path:
    for name in names:
        (path / f"{name}.cif").write_text(cif("Na1 Na 0 0 0"))
    (path / "id_prop.csv").write_bytes(csv if isinstance(csv, bytes) else csv.encode())
    return path


def single(path: Path, keep: tuple[str, ...] = ()) -> StructureBatch:
    (batch,) = read(path, keep=keep).batches()
    assert batch.n_rows == len(batch.crystals) + len(batch.failures)
    return batch


def test_samples(data: Path) -> None:
    reader = read(data / "cgcnn-2018" / "sample-regression", keep=["target"])
    (batch,) = reader.batches()
    assert reader.n_rows == len(batch.crystals) == 10
    assert batch.crystals.ids[0] == "1000041"
    assert batch.columns.column("target").to_pylist() == list(range(1, 11))
    told = reader.describe()
    assert told["format"] == "cgcnn"
    assert told["columns"] == {"target": "double"}


@pytest.mark.parametrize(
    "csv",
    [
        "a,1\n007,2\nb,3\n",
        "a,1\r\n007,2\r\nb,3",
        b"\xef\xbb\xbfa,1\n007,2\nb,3\n",
        "id,energy\na,1\n007,2\nb,3\n",
        "material,energy\na,1\n007,2\nb,3\n",
        '"a",1\n\n"007", 2\n b ,3\n,\n',
    ],
)
def test_csv_dialects(csv: str | bytes, tmp_path: Path) -> None:
    batch = single(folder(tmp_path, csv), ("target",))
    assert batch.crystals.ids.tolist() == ["a", "007", "b"]
    assert batch.columns.column("target").to_pylist() == [1.0, 2.0, 3.0]


def test_without_targets(tmp_path: Path) -> None:
    assert single(folder(tmp_path, "a\nb\n")).crystals.ids.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match=r"no column target\. Columns found: none"):
        read(tmp_path, keep=["target"])


def test_columns(tmp_path: Path) -> None:
    folder(tmp_path, "id,gap,kind\na,1,x\nmissing,2,y\nb,,\n")
    batch = single(tmp_path, ("gap", "target_1", "target"))
    assert batch.columns.to_pydict() == {"gap": [1.0, None], "target_1": ["x", None], "target": [1.0, None]}
    assert batch.rows.tolist() == [0, 2]


def test_ids_and_files_that_do_not_match(tmp_path: Path) -> None:
    folder(tmp_path, "a,1\nnone,2\n../../etc/passwd,3\n/etc/passwd,4\nb.cif,5\na,6\nbad,7\nx\0y,8\n")
    (tmp_path / "bad.cif").write_text("")
    (tmp_path / "extra.cif").write_text(cif("K1 K 0 0 0"))
    batch = single(tmp_path)
    assert batch.crystals.ids.tolist() == ["a", "b.cif", "a"]
    assert [f.row for f in batch.failures] == [1, 2, 3, 6, 7]
    reasons = [f.reason for f in batch.failures]
    assert "no file none.cif" in reasons[0]
    assert "no file name inside" in reasons[1]
    assert "no file name inside" in reasons[2]
    assert reasons[3] == "the file is empty"


def test_only_the_first_block_counts(tmp_path: Path) -> None:
    folder(tmp_path, "a,1\n")
    (tmp_path / "a.cif").write_text(cif("K1 K 0 0 0", name="p") + cif("Na1 Na 0 0 0", name="q"))
    batch = single(tmp_path)
    assert batch.crystals.ids.tolist() == ["a"]
    assert batch.crystals.atomic_numbers.tolist() == [19]


def test_no_csv_or_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no id_prop\.csv"):
        read(tmp_path, format="cgcnn")
    with pytest.raises(ValueError, match="names no crystals"):
        read(folder(tmp_path, "\n\n"))
    assert sum(len(c) for c in read(tmp_path, format="cif")) == 3


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs")])
def test_a_wrong_separator_is_named(tmp_path: Path, separator: str, name: str) -> None:
    with pytest.raises(ValueError, match=f"has {name} between its columns: expected commas"):
        read(folder(tmp_path, f"a{separator}1,5\nb{separator}2,5\n"))


@pytest.mark.parametrize(
    ("csv", "n_rows"),
    [
        ("mp-1,n/a\na,1\nb,2\n", 3),
        ("gone,metal\na,insulator\n", 2),
        ("gone,metal\na,1\n", 2),
        ("id,gap\na,1\n", 1),
        ("mp_id,gap\na,1\n", 1),
        ("CIF file,class\na,metal\n", 1),
        ("id,7\na,1\n", 2),
    ],
)
def test_a_first_row_of_data_is_no_header(tmp_path: Path, csv: str, n_rows: int) -> None:
    assert single(folder(tmp_path, csv)).n_rows == n_rows


def test_a_batch_of_failures_alone_keeps_no_columns(tmp_path: Path) -> None:
    batches = list(read(folder(tmp_path, "gone,1\nlost,2\na,3\n"), keep=["target"], batch_rows=2).batches())
    assert [b.columns.to_pydict() for b in batches] == [{"target": []}, {"target": [3.0]}]
