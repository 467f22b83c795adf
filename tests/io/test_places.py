"""What is found in folders, globs and zips, and what is refused."""

from __future__ import annotations

import os
import warnings
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("gemmi")
pytest.importorskip("pyarrow")

from cgfast.io import read
from tests.io.cifs import cif

SODIUM, CARBON = cif("Na1 Na 0 0 0"), cif("C1 C 0 0 0")


def ids(source: object) -> list[str]:
    return [str(name) for crystals in read(source) for name in crystals.ids]


def test_underscores_and_links(tmp_path: Path) -> None:
    top = tmp_path / "in"
    for name in ("_a.cif", "_sub/b.cif", ".hidden/c.cif", "__MACOSX/d.cif"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(SODIUM)
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "e.cif").write_text(SODIUM)
    (top / "link").symlink_to(tmp_path / "far")
    (top / "loop").symlink_to(top)
    (top / "link2").symlink_to(tmp_path / "far")  # the same folder by another way: its file is read once
    assert sorted(ids(top)) == ["_a", "b", "e"]


def test_underscores_in_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as z:
        z.writestr("_a.cif", SODIUM)
        z.writestr("__MACOSX/_a.cif", SODIUM)
    assert ids(tmp_path / "x.zip") == ["_a"]


@pytest.mark.parametrize("names", [["a.cif.zst", "b.cif.zst", "c.txt"], []])
def test_a_folder_without_structures_says_what_it_holds(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).touch()
    found = r"file; found 2 \.cif\.zst, 1 \.txt$" if names else "file$"
    with pytest.raises(ValueError, match=found):
        read(tmp_path)
    with pytest.raises(ValueError, match=r"holds no \.cif " + found):
        read(tmp_path, format="cif")


def test_zip_members_of_one_name_and_the_open_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as z, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of the second one
        z.writestr("a.cif", SODIUM)
        z.writestr("a.cif", CARBON)
    reader = read(tmp_path / "x.zip")
    for _ in range(2):  # from the beginning each time
        (crystals,) = reader
        assert crystals.atomic_numbers.tolist() == [11, 6]
        assert len(set(crystals.ids.tolist())) == 2
    opened = [os.path.realpath(entry) for entry in Path("/proc/self/fd").iterdir()]
    assert str(tmp_path / "x.zip") not in opened


def test_glob_over_the_2018_layout(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.cif").write_text(SODIUM)
    (tmp_path / "id_prop.csv").write_text("a,1\nb,2\n")
    (tmp_path / "atom_init.json").write_text("{}")
    assert ids(str(tmp_path / "*")) == ["a", "b"]
    assert ids(str(tmp_path / "*.cif")) == ["a", "b"]
    assert read(str(tmp_path / "*")).describe()["format"] == "cgcnn"


def test_a_glob_that_matches_a_folder_and_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "a.cif").write_text(SODIUM)
    (tmp_path / "in" / "deep" / "b.cif").write_text(SODIUM)
    assert sorted(ids(str(tmp_path / "in" / "**"))) == ["a", "b"]


def test_a_file_named_twice(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "a.cif"
    path.write_text(SODIUM)
    (tmp_path / "link").symlink_to(tmp_path / "in")
    for source in ([path, path], [tmp_path / "in", path], [path, f"{tmp_path}/link/*.cif"], [f"{tmp_path}/in/../in", path]):
        with pytest.raises(ValueError, match=r"names the file .*a\.cif twice"):
            read(source)
    (tmp_path / "in" / "id_prop.csv").write_text("a,1\na,1\n")  # a row may repeat: that is content
    assert ids(tmp_path / "in") == ["a", "a"]
    with pytest.raises(ValueError, match=r"names the file .*a\.cif twice"):
        read([tmp_path / "in", path])
    assert [p.name for p in read(tmp_path / "in").files] == ["id_prop.csv", "a.cif"]
