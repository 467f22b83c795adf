"""GNoME's layout: a CSV, and zips of CIFs named by id or by formula."""

from __future__ import annotations

import csv
import gzip
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("gemmi")
pytest.importorskip("pyarrow")

from cgfast.io import read
from tests.io.cifs import cif
from tests.io.oracles import everything

if TYPE_CHECKING:
    from pathlib import Path

HEADER = [
    "",
    "Composition",
    "MaterialId",
    "Reduced Formula",
    "Elements",
    "NSites",
    "Formation Energy Per Atom",
    "Bandgap",
    "Is Train",
]
SYMBOLS = ("Na", "K", "Rb", "Cs", "Fe", "Cu")


def table(path: Path, rows: list[list[Any]], header: list[str] | None = None) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header or HEADER, *rows])
    return path


def row(k: int) -> list[Any]:
    symbol = SYMBOLS[k]
    return [k, f"{symbol}2", f"00{k}e{k}", symbol, f"['{symbol}']", 2, -0.5 * k, "" if k % 2 else 1.5, k % 3 == 0]


def archive(path: Path, names: dict[str, int]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for name, k in names.items():
            z.writestr(f"{path.stem}/{name}.CIF", cif(f"{SYMBOLS[k]}1 {SYMBOLS[k]} 0 0 0"))
    return path


def contents(source: Any, **options: Any) -> tuple[dict[str, int], dict[str, str]]:
    crystals, failures = everything(source, **options)
    found = {str(one.ids[0]): int(one.atomic_numbers[0]) for one in crystals}
    assert len(found) == len(crystals)
    return found, {failure.id: failure.reason for failure in failures}


NUMBERS = [11, 19, 37, 55, 26, 29]
IDS = [row(k)[2] for k in range(6)]


def test_a_folder_with_all_zips(tmp_path: Path) -> None:
    path = table(tmp_path / "stable_materials_summary.csv", [row(k) for k in range(6)])
    archive(tmp_path / "by_id.zip", {IDS[k]: k for k in range(6)} | {"zzz": 0, "yyy": 0})
    archive(tmp_path / "by_composition.zip", {row(k)[1]: k for k in range(6)})
    archive(tmp_path / "by_reduced_formula.zip", {row(k)[3]: k for k in range(6)})
    for source in (tmp_path, path):
        reader = read(source, keep=["Formation Energy Per Atom", "Bandgap", "Is Train", "NSites", "Elements"])
        (batch,) = reader.batches()
        assert batch.crystals.ids.tolist() == IDS  # text, though it looks like numbers
        assert batch.crystals.atomic_numbers.tolist() == NUMBERS
        assert reader.n_rows == 6
        assert batch.columns.to_pydict() == {
            "Formation Energy Per Atom": [-0.5 * k for k in range(6)],
            "Bandgap": [1.5, None] * 3,
            "Is Train": [k % 3 == 0 for k in range(6)],
            "NSites": [2] * 6,
            "Elements": [f"['{s}']" for s in SYMBOLS],
        }
        assert [p.name for p in reader.files] == [path.name, "by_id.zip"]
        assert reader.notes == [f"2 CIFs in {tmp_path}/by_id.zip are named by no line of {path.name}: they are not read"]
        described = reader.describe()
        assert (described["format"], described["ids"]) == ("gnome", "MaterialId")
        assert described["columns"]["Formation Energy Per Atom"] == "double"
        assert "" not in described["columns"]


@pytest.mark.parametrize("column", [1, 2, 3])
def test_one_zip_named_by_anything(column: int, tmp_path: Path) -> None:
    table(tmp_path / "x.csv", [row(k) for k in range(6)])
    archive(tmp_path / "cifs.zip", {row(k)[column]: k for k in range(6) if k != 4})
    found, failures = contents(tmp_path)
    assert found == {name: z for name, z in zip(IDS, NUMBERS, strict=True) if z != 26}
    assert failures == {IDS[4]: f"no CIF is named by the material {IDS[4]}"}


def test_what_one_zip_lacks_another_has_and_shared_formulas(tmp_path: Path) -> None:
    rows = [row(k) for k in range(6)]
    rows[5][3] = rows[4][3]  # two materials with one reduced formula
    table(tmp_path / "x.csv", rows)
    archive(tmp_path / "by_id.zip", {IDS[0]: 0})
    archive(tmp_path / "by_composition.zip", {rows[1][1]: 1})
    archive(tmp_path / "by_reduced_formula.zip", {rows[k][3]: k for k in range(2, 5)})
    found, failures = contents(tmp_path)
    assert found == dict(zip(IDS[:4], NUMBERS[:4], strict=True))
    assert set(failures.values()) == {"2 materials have the Reduced Formula Fe, by which one CIF is named"}
    assert list(failures) == IDS[4:]


def test_folders_of_cifs_and_a_packed_table(tmp_path: Path) -> None:
    path = table(tmp_path / "x.csv", [row(k) for k in range(4)])
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    (tmp_path / "by_id").mkdir()
    for k in range(3):
        (tmp_path / "by_id" / f"{IDS[k]}.cif").write_text(cif(f"{SYMBOLS[k]}1 {SYMBOLS[k]} 0 0 0"))
    (tmp_path / f"{IDS[3]}.cif.gz").write_bytes(gzip.compress(cif("Cs1 Cs 0 0 0").encode()))
    found, failures = contents(tmp_path)
    assert found == dict(zip(IDS[:4], NUMBERS[:4], strict=True))
    assert failures == {}


def test_bad_lines_and_bad_cifs_are_failures_of_their_rows(tmp_path: Path) -> None:
    path = table(tmp_path / "x.csv", [row(k) for k in range(4)])
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[2] = "1,K2,too,few"
    lines.append(",,,,,,,,")
    path.write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    with zipfile.ZipFile(archive(tmp_path / "x.zip", {IDS[0]: 0, IDS[1]: 1, IDS[3]: 3}), "a") as z:
        z.writestr(f"x/{IDS[2]}.CIF", "data_x\n_nothing 1\n")
    batches = list(read(tmp_path, keep=["NSites"], batch_rows=2).batches())
    assert [b.n_rows for b in batches] == [2, 2, 1]
    assert [str(name) for b in batches for name in b.crystals.ids] == [IDS[0], IDS[3]]
    assert [x for b in batches for x in b.columns["NSites"].to_pylist()] == [2, 2]
    failures = [failure for b in batches for failure in b.failures]
    assert [failure.row for failure in failures] == [1, 2, 4]
    assert "line 3 of x.csv has 4 columns: expected 9" in failures[0].reason
    assert "no data block" in failures[1].reason
    assert "no CIF is named" in failures[2].reason


def test_a_column_that_is_empty_for_long(tmp_path: Path) -> None:
    rows = [[k, f"X{k}", f"id{k}", f"X{k}", "", 2, "" if k < 60_000 else 1.25, "", True] for k in range(60_001)]
    table(tmp_path / "x.csv", rows)
    archive(tmp_path / "x.zip", {"id60000": 0})
    reader = read(tmp_path, keep=["Formation Energy Per Atom"], batch_rows=100_000)
    (batch,) = reader.batches()
    assert batch.columns.column(0).to_pylist() == [1.25]
    assert len(batch.failures) == 60_000


def test_folders_that_cannot_be_read(tmp_path: Path) -> None:
    path = table(tmp_path / "x.csv", [row(0)])
    with pytest.raises(ValueError, match="no zip or folder of CIFs"):
        read(tmp_path)
    archive(tmp_path / "x.zip", {IDS[0]: 0})
    with pytest.raises(ValueError, match="has no column Gap"):
        read(tmp_path, keep=["Gap"])
    with pytest.raises(ValueError, match="columns is given"):
        read(tmp_path, columns={"id": "MaterialId"})
    table(tmp_path / "y.csv", [row(0)])
    with pytest.raises(ValueError, match="several tables of GNoME"):
        read(tmp_path)
    assert contents(path)[0] == {IDS[0]: 11}
    table(tmp_path / "z.csv", [[1, 2]], ["a", "b"])
    with pytest.raises(ValueError, match="has no column MaterialId"):
        read(tmp_path / "z.csv")


def test_other_tables_do_not_make_a_folder_gnomes(tmp_path: Path) -> None:
    table(tmp_path / "x.csv", [[1, 2]], ["MaterialId", "gap"])
    (tmp_path / "a.cif").write_text(cif("Na1 Na 0 0 0"))
    assert contents(tmp_path)[0] == {"a": 11}
