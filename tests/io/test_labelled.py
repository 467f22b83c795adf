"""Crystals with labels: every row accounted for, every label beside its crystal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("pyarrow")

import pyarrow as pa
import pyarrow.parquet as pq

from cgfast.io.labelled import read_labelled
from tests.training.samples import crystals, slice_table, write_folder, write_table

if TYPE_CHECKING:
    from pathlib import Path

NAN = math.nan


def same(found: np.ndarray, expected: list) -> None:
    np.testing.assert_array_equal(found, np.array(expected, float))


def test_a_table(tmp_path: Path) -> None:
    made = crystals(5)
    path = write_table(
        tmp_path / "a.parquet",
        made,
        {"k": "GPa", "gap": "eV"},
        k=[10.0, 0.0, None, 1000.0, -3.0],
        gap=[0.0, 1.5, 2.5, None, NAN],
        stable=[True, False, None, True, True],
        kind=pa.array(["b", "a", "a", None, "b"]).dictionary_encode(),
        split=["train", "val", None, "test", "x"],
    )
    labels = ["log10(k)", "gap", "gap<1", "stable", "kind"]
    data = read_labelled(path, labels, extra=["split", "k"])
    assert data.crystals == made
    assert data.labels == tuple(labels)
    same(data.values[:, 0], [1, NAN, NAN, 3, NAN])
    same(data.values[:, 1], [0, 1.5, 2.5, NAN, NAN])
    same(data.values[:, 2], [1, 0, 0, NAN, NAN])
    same(data.values[:, 3], [1, 0, NAN, 1, 1])
    same(data.values[:, 4], [1, 0, 0, NAN, 1])
    assert data.units == ("GPa", "eV", "eV", "", "")
    assert data.classes == (None, None, None, None, ("a", "b"))
    assert data.binary == (False, False, True, True, True)
    assert data.extra == {"split": ["train", "val", None, "test", "x"], "k": [10.0, 0.0, None, 1000.0, -3.0]}
    assert len(data.notes) == 1
    assert data.notes[0].startswith("2 rows have no log10(k): their k is not positive")
    assert (len(data), data.n_rows, data.failures) == (5, 5, [])


def test_indexing_takes_everything_along(tmp_path: Path) -> None:
    made = crystals(4)
    path = write_table(tmp_path / "a.parquet", made, {"y": "K"}, y=[1.0, 2.0, 3.0, 4.0], split=list("abcd"))
    part = read_labelled(path, ["y"], extra=["split"])[np.array([3, 0])]
    assert part.crystals.ids.tolist() == ["c3", "c0"]
    np.testing.assert_array_equal(part.crystals[1].positions, made[0].positions)
    same(part.values, [[4], [1]])
    assert part.rows.tolist() == [3, 0]
    assert part.extra == {"split": ["d", "a"]}
    assert (len(part), part.n_rows, part.units) == (2, 2, ("K",))


def test_rows_that_give_no_crystal_take_their_label_with_them(tmp_path: Path) -> None:
    made = crystals(4)
    table = pq.read_table(write_table(tmp_path / "a.parquet", made, y=[math.inf, 1.0, 2.0, 3.0]))
    species = table.column("species_at_sites").to_pylist()
    species[0] = ["Xx"] * len(species[0])
    species[2] = species[2][:-1]
    index = table.schema.get_field_index("species_at_sites")
    path = tmp_path / "b.parquet"
    pq.write_table(table.set_column(index, "species_at_sites", pa.array(species)), path)
    data = read_labelled(path, ["y"])  # the infinite label goes with the row that is no crystal
    assert data.rows.tolist() == [1, 3]
    same(data.values, [[1], [3]])
    assert [(f.row, f.id) for f in data.failures] == [(0, "c0"), (2, "c2")]
    assert data.n_rows == len(data) + len(data.failures) == 4


def test_many_batches_of_rows(tmp_path: Path) -> None:
    """More rows than a batch of the reader, and a label column that is empty for the whole first batch."""
    n = 2500
    path = write_table(tmp_path / "a.parquet", crystals(n), y=[None] * 1500 + list(range(1000)), w=["a"] * 1500 + ["b"] * 1000)
    data = read_labelled(path, ["y", "w"])
    assert len(data) == data.n_rows == n
    same(data.values[:, 0], [NAN] * 1500 + list(range(1000)))
    same(data.values[:, 1], [0] * 1500 + [1] * 1000)
    assert data.rows.tolist() == list(range(n))


def test_columns_that_look_like_formulas(tmp_path: Path) -> None:
    """matbench has a column that is named `log10(K_VRH)`: it is meant before the logarithm of one named `K_VRH`."""
    made = crystals(3)
    columns = {"log10(K_VRH)": [1.0, 2.0, 3.0], "K_VRH": [5.0, 6.0, 7.0], "a>=b": [0.5, 0.25, 0.125], "K<6": [7.0, 8.0, 9.0]}
    path = write_table(tmp_path / "a.parquet", made, {"log10(K_VRH)": "log10(GPa)", "K_VRH": "GPa"}, **columns)
    labels = ["log10(K_VRH)", "a>=b", "K<6", "log10(log10(K_VRH))", "K_VRH>5.5"]
    data = read_labelled(iter([path]), labels)  # what can be gone through once is enough
    same(data.values[:, 0], [1, 2, 3])
    same(data.values[:, 1], [0.5, 0.25, 0.125])
    same(data.values[:, 2], [7, 8, 9])
    np.testing.assert_allclose(data.values[:, 3], np.log10([1, 2, 3]))
    same(data.values[:, 4], [0, 1, 1])
    assert data.labels == tuple(labels)
    assert data.literal == ("log10(K_VRH)", "a>=b", "K<6")
    assert [label.is_plain for label in data.parsed()] == [True, True, True, False, False]
    assert [label.column for label in data.parsed()] == ["log10(K_VRH)", "a>=b", "K<6", "log10(K_VRH)", "K_VRH"]
    assert data.units == ("log10(GPa)", "", "", "log10(GPa)", "GPa")
    assert data.binary == (False, False, False, False, True)
    assert data[np.array([2])].parsed() == data.parsed()
    plain = read_labelled(write_table(tmp_path / "b.parquet", made, K_VRH=[10.0, 100.0, 1.0]), ["log10(K_VRH)"])
    same(plain.values[:, 0], [1, 2, 0])
    assert plain.literal == ()


def test_a_folder_whose_header_looks_like_a_formula(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", "id,log10(K)\na,0.5\nb,2.5\n", list("ab"))
    same(read_labelled(folder, ["log10(K)"]).values[:, 0], [0.5, 2.5])


def test_labels_that_do_not_fit_a_target(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.parquet", crystals(3), y=[0.5, 1.0, None], n=[0, 1, None], w=["a", "b", None])
    data = read_labelled(path, ["y", "n", "w"])
    assert [data.misfit(t, None) for t in range(3)] == [None, None, "is text (a and b), expected numbers"]
    assert data.misfit(0, ("no", "yes")).startswith("holds 0.5, expected 0 and 1 for no and yes; a question")
    assert data.misfit(1, ("no", "yes")) is None
    assert data.misfit(2, ("a", "b")) is None
    assert data.misfit(2, ("b", "a")) == "has the classes a and b, expected b and a"


def test_several_files(tmp_path: Path) -> None:
    made = crystals(6)
    for k in range(2):
        write_table(tmp_path / f"{k}.parquet", made[3 * k : 3 * k + 3], y=[0.0 + k, 1.0, 2.0])
    data = read_labelled([tmp_path / "0.parquet", tmp_path / "1.parquet"], ["y"])
    same(data.values[:, 0], [0, 1, 2, 1, 1, 2])
    assert data.rows.tolist() == list(range(6))


def test_classes_that_are_given(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.parquet", crystals(3), w=["wide", "none", "wide"])
    assert read_labelled(path, ["w"]).classes == (("none", "wide"),)
    data = read_labelled(path, ["w"], classes=[("wide", "none")])
    assert data.classes == (("wide", "none"),)
    same(data.values, [[0], [1], [0]])
    with pytest.raises(ValueError, match="target w: got 'none', expected 'wide' or 'narrow'"):
        read_labelled(path, ["w"], classes=[("wide", "narrow")])


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.parquet", crystals(3), y=[1.0, 2.0, 3.0])
    for labels, extra in ((["energy"], []), (["log10(energy)"], []), (["energy<2"], []), (["y"], ["energy"])):
        with pytest.raises(ValueError, match=r"no column energy.* y"):
            read_labelled(path, labels, extra=extra)


def test_nothing_that_is_a_crystal(tmp_path: Path) -> None:
    table = pq.read_table(write_table(tmp_path / "a.parquet", crystals(2), y=[1.0, 2.0]))
    index = table.schema.get_field_index("species_at_sites")
    species = pa.array([["Xx"] * len(atoms) for atoms in table.column("species_at_sites").to_pylist()])
    pq.write_table(table.set_column(index, "species_at_sites", species), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"none of 2 rows has a crystal that can be used; the first: c0: .*Xx"):
        read_labelled(tmp_path / "b.parquet", ["y"])


def test_a_folder_without_a_crystal(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", "x,1\ny,2\n", [])
    with pytest.raises(ValueError, match=r"none of 2 rows has a crystal that can be used; the first: x: id_prop\.csv names x"):
        read_labelled(folder, ["target"])


class TestFolder:
    def test_ids_without_structures_and_structures_without_targets(self, tmp_path: Path) -> None:
        folder = write_folder(tmp_path / "a", "a,1\ngone,2\nb,\nc,4\n", ["a", "b", "c", "unnamed"])
        data = read_labelled(folder, ["target"])
        assert data.crystals.ids.tolist() == ["a", "b", "c"]
        same(data.values, [[1], [NAN], [4]])
        assert data.rows.tolist() == [0, 2, 3]
        assert data.n_rows == 4
        assert [f.id for f in data.failures] == ["gone"]

    def test_headers(self, tmp_path: Path) -> None:
        folder = write_folder(tmp_path / "a", "id,gap,stable\na,0.5,yes\nb,,no\nc,2.5,\n", list("abc"))
        data = read_labelled(folder, ["gap", "target", "target_1", "stable"])
        same(data.values[:, 0], [0.5, NAN, 2.5])
        same(data.values[:, 1], [0.5, NAN, 2.5])
        same(data.values[:, 2], [1, 0, NAN])
        assert data.binary == (False, False, True, True)
        assert data.classes == (None,) * 4

    def test_lines_that_end_early(self, tmp_path: Path) -> None:
        folder = write_folder(tmp_path / "a", "a,1,5\nb,2\nc\n", list("abc"))
        same(read_labelled(folder, ["target", "target_1"]).values, [[1, 5], [2, NAN], [NAN, NAN]])

    def test_numbers_that_are_none(self, tmp_path: Path) -> None:
        same(read_labelled(write_folder(tmp_path / "a", "a,nan\nb,2\n", "ab"), ["target"]).values, [[NAN], [2]])
        with pytest.raises(ValueError, match="target: got 1 infinite value"):
            read_labelled(write_folder(tmp_path / "b", "a,inf\nb,2\n", "ab"), ["target"])
        with pytest.raises(ValueError, match=r"text column with 3 different values \('1.0', '2.0', 'n/a'\)"):
            read_labelled(write_folder(tmp_path / "c", "a,1.0\nb,2.0\nc,n/a\n", "abc"), ["target"])

    def test_the_samples_of_2018(self, data: Path) -> None:
        found = read_labelled(data / "cgcnn-2018" / "sample-regression", ["target", "log10(target)", "target>5"])
        numbers = np.arange(1.0, 11.0)
        np.testing.assert_allclose(found.values, np.stack([numbers, np.log10(numbers), numbers > 5], axis=1), rtol=1e-15)
        assert found.crystals.ids[0] == "1000041"


def test_perov5(data: Path, tmp_path: Path) -> None:
    source = data / "perov5.parquet"
    column = "heat_all_eV_per_cell"
    expected = pq.read_table(source, columns=[column]).column(0).to_pylist()
    found = read_labelled(source, [column], extra=["split"])
    assert found.n_rows == len(found) + len(found.failures) == len(expected)
    same(found.values[:, 0], [NAN if expected[row] is None else expected[row] for row in found.rows])
    assert found.units == ("eV/cell",)
    assert read_labelled(slice_table(source, tmp_path / "s.parquet", [5, 3]), [column]).crystals == found.crystals[[5, 3]]
