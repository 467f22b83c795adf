"""What may be screened, what is refused before the job starts, and inputs that the output must not destroy."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cgfast.crystals import Crystals
from cgfast.io import read
from cgfast.screening import screen
from tests.io.cifs import cif

pa = pytest.importorskip("pyarrow", reason="screening writes tables with pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("gemmi", reason="CIFs are read with gemmi")

pytestmark = pytest.mark.usefixtures("graph_calls")

CUBE = [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]]
ROW = {"id": "a", "lattice_vectors": CUBE, "cartesian_site_positions": [[0.0, 0.0, 0.0]], "species_at_sites": ["Na"]}


def structures(path: Path, n: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{**ROW, "id": f"{path.stem}{k}", "energy": float(n - k), "label": "x"} for k in range(n)]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("how", ["file", "folder", "glob", "list", "reader", "link"])
def test_out_must_not_be_an_input(make_model, tmp_path: Path, how: str) -> None:
    path = structures(tmp_path / "in" / "a.parquet")
    structures(tmp_path / "in" / "b.parquet")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    source: Any = {
        "file": path,
        "folder": tmp_path / "in",
        "glob": str(tmp_path / "in" / "*.parquet"),
        "list": [path],
        "reader": read(path),
        "link": tmp_path / "link",
    }[how]
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"a\.parquet is also the input"):
        screen(source, make_model(), out=path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in path.parent.iterdir()) == ["a.parquet", "b.parquet"]
    assert screen(source, make_model(), out=tmp_path / "p.parquet").n_failures == 0


def test_neither_out_nor_failures_may_be_an_input(make_model, tmp_path: Path) -> None:
    (tmp_path / "a.cif").write_text(cif("Na1 Na 0 0 0"))
    (tmp_path / "id_prop.csv").write_text("a,1\n")
    with pytest.raises(ValueError, match=r"id_prop\.csv is also the input"):
        screen(tmp_path, make_model(), out=tmp_path / "id_prop.csv")
    shutil.copy(structures(tmp_path / "x" / "a.parquet"), tmp_path / "p-failures.csv")
    with pytest.raises(ValueError, match=r"p-failures\.csv is also the input"):
        screen(tmp_path / "p-failures.csv", make_model(), out=tmp_path / "p.parquet")


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_file_names_that_are_not_utf8(make_model, tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in (b"ok.cif", b"fine\xfe.cif"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text(cif("Na1 Na 0 0 0"))
    Path(os.fsdecode(os.fsencode(folder) + b"/bad\xff.cif")).mkdir()
    Path(os.fsdecode(os.fsencode(folder) + b"/gone\xff.cif")).symlink_to("/nowhere")
    out = tmp_path / f"p.{suffix}"
    result = screen(folder, make_model(), out=out)
    assert (result.n_predictions, result.n_failures) == (2, 1)
    ids = pq.read_table(out)["id"].to_pylist() if suffix == "parquet" else [row["id"] for row in rows_of(out)]
    assert sorted(ids) == ["fine\\xfe", "ok"]
    (failure,) = rows_of(tmp_path / "p-failures.csv")
    assert failure["id"] == "gone\\xff"
    assert "gone\\xff.cif" in failure["reason"]


def test_crystals_in_memory(make_model) -> None:
    n = 2500
    cells = np.tile(np.eye(3) * 5.0, (n, 1, 1))
    cells[1500] = 0.0
    crystals = Crystals.from_arrays(np.zeros((n, 3)), cells, np.arange(n) % 12 + 1, graph_ptr=np.arange(n + 1))
    result = screen(crystals, make_model())
    assert (result.n_rows, result.n_failures) == (n, 1)
    assert result.failures[0].row == 1500
    expected = np.delete(np.arange(n) % 12 + 1, 1500)
    np.testing.assert_array_equal(result.table["mean_z"].to_numpy(), expected)
    assert screen(crystals[:0], make_model()).n_rows == 0
    with pytest.raises(ValueError, match="Crystals have no use for keep"):
        screen(crystals, make_model(), keep=["x"])


def test_generators_are_consumed_once(make_model, tmp_path: Path) -> None:
    paths = [structures(tmp_path / f"{name}.parquet") for name in "ab"]
    result = screen((path for path in paths), (make_model(name, column=name) for name in "xy"), out=tmp_path / "p.csv")
    assert result.n_rows == 2
    assert list(result.units) == ["x", "y"]


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (5, {}, "source is a int: expected a path"),
        (None, {"keep": None}, "keep is None: expected a sequence"),
        (None, {"batch_atoms": "5"}, "batch_atoms: got '5', expected a whole number"),
        (None, {"batch_atoms": 2.5}, "batch_atoms: got 2.5, expected a whole number"),
        (None, {"batch_atoms": True}, "batch_atoms: got True, expected a whole number"),
        (None, {"device": "gpu"}, "device has the value 'gpu': expected a torch device or the name of one"),
        (None, {"device": 3.5}, "device has the value 3.5: expected a torch device or the name of one"),
        (None, {"threads": True}, "threads: got True, expected a whole number"),
        (None, {"models": None}, "models: got None, expected names"),
        (None, {"models": [7]}, "models: got 7, expected names"),
        (None, {"columns": "id"}, "columns is 'id': expected a mapping"),
        (None, {"time_limit": "soon"}, "time_limit is 'soon': expected a positive number"),
        (None, {"time_limit": 0.0}, "time_limit is 0.0: expected a positive number"),
        (None, {"top": 3, "by": "id"}, "by: column 'id' holds string"),
        (None, {"top": 3, "by": "flags"}, "by: column 'flags' holds string"),
        (None, {"top": 3, "by": "energy"}, "by: no column 'energy'; the columns are id, mean_z, flags"),
        (None, {"top": 3, "by": "label", "keep": ["label"]}, "by: column 'label' holds string"),
    ],
)
def test_refused_before_anything_is_read(make_model, monkeypatch, tmp_path: Path, source, options, message) -> None:
    def batches(reader: Any) -> Any:
        raise AssertionError(reader)

    monkeypatch.setattr("cgfast.io.reader.Reader.batches", batches)
    path = structures(tmp_path / "a.parquet")
    models = options.pop("models") if "models" in options else make_model()
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        screen(source or path, models, **options)
    assert message in str(caught.value)


def test_ranking_by_a_kept_column(make_model, tmp_path: Path) -> None:
    table = screen(structures(tmp_path / "a.parquet", 5), make_model(), keep=["energy"], top=2, by="energy").table
    assert table["id"].to_pylist() == ["a4", "a3"]


def test_failures_file_that_is_a_folder(make_model, tmp_path: Path) -> None:
    (tmp_path / "p-failures.csv").mkdir()
    with pytest.raises(ValueError, match=r"the failures go to .*p-failures.csv, which is a folder"):
        screen(structures(tmp_path / "a.parquet"), make_model(), out=tmp_path / "p.csv")


def test_time_limit_reaches_the_reader(make_model, monkeypatch, tmp_path: Path) -> None:
    limits = []
    monkeypatch.setattr("cgfast.io.cif_fallback.Fallback.__enter__", lambda self: limits.append(self.time_limit) or self)
    (tmp_path / "a.cif").write_text(cif("Na1 Na 0 0 0"))
    screen(tmp_path / "a.cif", make_model(), time_limit=2.5)
    assert limits == [2.5]
    with pytest.raises(ValueError, match="with an open Reader"):
        screen(read(tmp_path / "a.cif"), make_model(), time_limit=2.5)
