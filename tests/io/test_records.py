"""Records of a format become batches: what fits, what does not, which columns can be kept, and how formats are told apart."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")

from cgfast.crystals import Crystals  # noqa: E402
from cgfast.io import compression, formats, kept, read  # noqa: E402
from cgfast.io.batch import drop_problems  # noqa: E402
from cgfast.io.records import Record, RecordSource, failed  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

CUBE = [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]]


def good(k: int, **changes: Any) -> Record:
    fields = {"species": ["Na", "Cl"], "positions": [[0, 0, 0], [2.0, 2.0, 0.1 * k]], "cell": CUBE} | changes
    return Record(f"r{k}", **fields)


def source(records: list[Record], **options: Any) -> RecordSource:
    return RecordSource("made", [], lambda: iter(records), **options)


def everything(made: RecordSource, batch_rows: int = 1024) -> tuple[Crystals, list[Any], list[int], Any]:
    pieces = [drop_problems(piece) for piece in made.pieces(batch_rows)]
    assert all(p.n_rows == len(p.crystals) + len(p.failures) for p in pieces)
    failures = [failure for piece in pieces for failure in piece.failures]
    rows = [int(row) for piece in pieces for row in piece.rows]
    tables = [piece.columns for piece in pieces if piece.columns is not None]
    return Crystals.concatenate(p.crystals for p in pieces), failures, rows, pa.concat_tables(tables) if tables else None


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no element": ({"species": ["Na", "Qq"]}, "'Qq', which is no element"),
    "null species": ({"species": ["Na", None]}, "None, which is no element"),
    "nested species": ({"species": ["Na", ["Cl"]]}, r"species holds \['Cl'\]"),
    "species no list": ({"species": 5}, "species is 5"),
    "atomic number": ({"species": [11, 200]}, "atomic number 200"),
    "huge atomic number": ({"species": [11, 10**400]}, "expected element symbols or atomic numbers"),
    "truth values": ({"species": [True, False]}, "expected element symbols or atomic numbers"),
    "too few": ({"positions": [[0, 0, 0]]}, "2 species and 1 positions"),
    "no positions": ({"positions": None}, "expected a list of each"),
    "ragged": ({"positions": [[0, 0, 0], [1, 1]]}, "a vector of 2 numbers"),
    "text": ({"positions": [[0, 0, 0], [1, 1, "1"]]}, "other than numbers"),
    "text vectors": ({"positions": ["abc", "abc"]}, "other than numbers"),
    "null": ({"positions": [[0, 0, 0], [1, 1, None]]}, "other than numbers"),
    "scalars": ({"positions": [0, 1]}, "other than numbers"),
    "huge": ({"positions": [[0, 0, 0], [1, 1, 10**400]]}, "other than numbers"),
    "nan": ({"positions": [[0, 0, 0], [1, 1, np.nan]]}, "position of atom 1"),
    "array shape": ({"positions": np.zeros((2, 2))}, r"an array of shape \(2, 2\)"),
    "array type": ({"positions": np.zeros((2, 3), complex)}, "type complex128"),
    "two vectors": ({"cell": CUBE[:2]}, "the cell holds 2 vectors: expected 3"),
    "no cell": ({"cell": None}, "there is no cell"),
    "no cell, fractional": ({"cell": None, "pbc": False, "fractional": True}, "there is no cell"),
    "text cell": ({"cell": "cube"}, "the cell holds 4 vectors"),
    "volume": ({"cell": [[1, 0, 0]] * 3}, "no volume"),
    "nan cell": ({"cell": [[np.nan, 0, 0], *CUBE[1:]], "fractional": True}, "not finite|finite"),
    "flags": ({"pbc": [1, 1]}, r"periodic axes are \[1, 1\]"),
    "flag": ({"pbc": [1, 1, 2]}, r"periodic axes are \[1, 1, 2\]"),
    "no atoms": ({"species": [], "positions": []}, "no atoms"),
    "reason": ({"reason": "because"}, "because"),
}


@pytest.mark.parametrize("name", BAD)
def test_each_flaw_alone(name: str) -> None:
    changes, reason = BAD[name]
    _, failures, rows, _ = everything(source([good(0, **changes)]))
    assert rows == []
    assert failures[0]._replace(reason="") == ("r0", 0, "read", "")
    assert re.search(reason, failures[0].reason), failures[0].reason


@pytest.mark.parametrize("batch_rows", [1, 7, 1024])
def test_all_flaws_among_good_ones(batch_rows: int) -> None:
    records = []
    for k, (changes, _) in enumerate(BAD.values()):
        records += [good(2 * k), good(2 * k + 1, **changes)]
    crystals, failures, rows, _ = everything(source(records), batch_rows)
    assert rows == list(range(0, len(records), 2))
    assert [f.row for f in failures] == list(range(1, len(records), 2))
    expected = Crystals.concatenate(
        Crystals.from_arrays([[0, 0, 0], [2.0, 2.0, 0.1 * k]], CUBE, [11, 17], ids=[f"r{k}"]) for k in rows
    )
    assert crystals == expected


def test_lists_and_arrays_cartesian_and_fractional_are_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    records, expected = [], []
    for k in range(40):
        cell, fractional = rng.normal(size=(3, 3)) + 5 * np.eye(3), rng.uniform(-1, 2, (k % 5 + 1, 3))
        numbers = rng.integers(1, 90, len(fractional))
        positions = np.array([[sum(f[i] * cell[i, j] for i in range(3)) for j in range(3)] for f in fractional])
        as_lists, in_fractions = bool(k % 2), bool(k % 3)
        given = fractional if in_fractions else positions
        records.append(
            Record(
                str(k),
                numbers.tolist() if as_lists else numbers.astype(np.uint8),
                given.tolist() if as_lists else given,
                cell.tolist() if k % 4 else cell,
                fractional=in_fractions,
                pbc=[1, 0, 1] if k % 5 == 0 else True,
            )
        )
        pbc = [True, False, True] if k % 5 == 0 else True
        expected.append(Crystals.from_arrays(positions, cell, numbers, pbc=pbc, ids=[str(k)]))
    want = Crystals.concatenate(expected)
    for batch_rows in (1, 3, 64):  # the bits of a crystal do not depend on its neighbours
        crystals, failures, _, _ = everything(source(records), batch_rows)
        assert not failures
        assert crystals == want


def test_symbols_with_charges_and_molecules() -> None:
    records = [good(0, species=["Na+", "D"]), Record("m", ["O", "H"], [[0, 0, 0], [0, 0, 1.0]], None, pbc=False)]
    crystals, failures, _, _ = everything(source(records))
    assert not failures
    assert crystals.atomic_numbers.tolist() == [11, 1, 8, 1]
    assert crystals.pbc.tolist() == [[True] * 3, [False] * 3]


def test_ids() -> None:
    records = [Record(name, *good(0)[1:4]) for name in (None, 7, "7", "é", "\udc80", "x" * 1001, ["a"])]
    crystals, failures, _, _ = everything(source([*records, failed("y" * 10**6, "broken"), failed(None, "broken")]))
    assert crystals.ids.tolist() == ["0", "7", "7", "é", "\\x80", "['a']"]
    assert [(len(f.id), f.reason[:35]) for f in failures] == [
        (43, "the id has 1001 characters: expecte"),
        (43, "broken"),
        (1, "broken"),
    ]


def test_disorder_policies() -> None:
    records = [
        good(0, partial={0: {11: 0.6, 19: 0.4}}),
        good(1, partial={1: {17: 0.4}}),
        good(2, partial={0: {11: 0.999}}),
        good(3, partial={0: {11: 0.7, 19: 0.7}}),
        good(4, partial={0: {11: float("nan")}}),
        good(5, partial={0: {}, 1: {}}),
    ]
    crystals, failures, rows, _ = everything(source(records))
    assert rows == [2]
    assert "is disordered (Na 0.6, K 0.4)" in failures[0].reason
    crystals, failures, rows, _ = everything(source(records, on_disorder="majority"))
    assert rows == [0, 1, 2]
    assert crystals.atomic_numbers.tolist() == [11, 17, 11, 11, 17]  # of the second the chlorine is left out
    assert [f.row for f in failures] == [3, 4, 5]
    with pytest.raises(ValueError, match=r"r0: site 0 is disordered .* \(on_disorder='error'\)"):
        everything(source(records, on_disorder="error"))


def test_types_of_kept_columns() -> None:
    properties = [
        {"n": 1, "x": 1, "flag": True, "text": "a", "mixed": 1, "late": None, "in": {"deep": {"er": 2}}, "a.b": 3},
        {"n": 2, "x": 2.5, "flag": None, "text": "b", "mixed": "two", "in": {"deep": 5}},
        {"n": None, "flag": False, "text": None, "mixed": [1, {"a": None}], "late": 4.0, "list": [1]},
    ]
    made = source([good(k, properties=one) for k, one in enumerate(properties)])
    types = {
        "n": "double",
        "x": "double",
        "flag": "bool",
        "text": "string",
        "mixed": "string",
        "late": "double",
        "a.b": "double",
    }
    assert made.columns() == {**types, "in.deep.er": "double", "in.deep": "double"}
    names = [*types, "in.deep.er", "list"]
    _, _, _, table = everything(source([good(k, properties=one) for k, one in enumerate(properties)], keep=names))
    assert table.to_pydict() == {
        "n": [1.0, 2.0, None],
        "x": [1.0, 2.5, None],
        "flag": [True, None, False],
        "text": ["a", "b", None],
        "mixed": ["1", "two", '[1, {"a": null}]'],
        "late": [None, None, 4.0],
        "a.b": [3.0, None, None],
        "in.deep.er": [2.0, None, None],
        "list": [None, None, "[1]"],
    }


def test_a_later_value_that_does_not_fit_becomes_null_and_is_told() -> None:
    late = kept.LOOK_AT + 3
    records = [good(k, properties={"e": float(k), "ok": True, "t": "x"}) for k in range(late)]
    records += [good(late, properties={"e": "n/a", "ok": 1, "t": 5}), good(late + 1, properties={"e": True, "ok": None})]
    records += [good(late + 2, properties={"e": 10**400, "ok": False, "t": "y"})]
    made = source(records, keep=["e", "ok", "t"])
    for _ in range(2):  # the notes are those of one reading
        _, failures, _, table = everything(made)
        assert not failures
        assert table.slice(late).to_pydict() == {"e": [None] * 3, "ok": [None, None, False], "t": ["5", None, "y"]}
        assert made.notes == [
            f"made: 3 values of e became null because they are no numbers as in the first records; the first: 'n/a' of r{late}",
            (
                "made: 1 values of ok became null because they are no truth values as in the first records; "
                f"the first: '1' of r{late}"
            ),
        ]


def test_a_rare_property_is_looked_for() -> None:
    records = [good(k, properties={"e": None}) for k in range(kept.LOOK_AT + 500)] + [good(0, properties={"e": None, "r": "x"})]
    made = source(records, keep=["r", "e"])
    assert str(made.kept_schema().types) == "[DataType(string), DataType(double)]"
    with pytest.raises(ValueError, match=r"made has no property nope in its first records\. Properties found: e"):
        source(records, keep=["e", "nope"])


def test_rows_are_numbered_in_pieces_and_start_anew() -> None:
    records = [failed(None, "no") if k % 3 == 0 else good(k) for k in range(600)]
    made = source(records)
    first = [(p.rows.tolist(), p.failures) for p in made.pieces(50)]
    assert len(first) == 12
    assert first == [(p.rows.tolist(), p.failures) for p in made.pieces(50)]
    assert sorted([r for rows, fails in first for r in [*rows, *(f.row for f in fails)]]) == list(range(600))


def test_packed_files_are_told_by_content(tmp_path: Path) -> None:
    data = b"x" * 100_000
    for name, pack in (("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress), ("plain", bytes)):
        path = tmp_path / name
        path.write_bytes(pack(data))
        with compression.open_unpacked(path) as file:
            assert file.read() == data
        assert compression.head(path, 10) == b"x" * 10
        path.write_bytes(pack(data)[:-8])
        assert compression.head(path, 200_000) == data[: len(compression.head(path, 200_000))]
    assert compression.without_suffix("a.json.GZ") == "a.json"
    for bad in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ValueError, match=r"cannot be read|no regular file"):
            compression.open_unpacked(bad)


def test_the_table_of_formats_is_consistent(tmp_path: Path) -> None:
    assert len({row.name for row in formats.TABLE}) == len(formats.TABLE)
    assert {"parquet", "cif", "cgcnn", "json"} <= set(formats.FORMATS)
    for row in formats.TABLE:
        assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in row.suffixes)
        for suffix in row.suffixes:
            assert row in formats.by_name(f"A{suffix.upper()}")
            assert (row in formats.by_name(f"a{suffix}.gz")) == row.packed
    with pytest.raises(ValueError, match=f"expected one of {', '.join(formats.FORMATS)}, or None"):
        read(tmp_path, format="nope")


@pytest.mark.parametrize("name", ["x", "x.csv", "x.db", "x.xyz", "x.parquet", "x.txt.gz"])
def test_content_goes_before_a_name_that_does_not_fit(tmp_path: Path, name: str) -> None:
    structure = '{"lattice_mat": [[4, 0, 0], [0, 4, 0], [0, 0, 4]], "coords": [[0, 0, 0]], "elements": ["Na"]}'
    (tmp_path / name).write_text(structure)
    assert read(tmp_path / name).describe()["format"] == "json (JARVIS atoms)"


def test_folders_take_what_has_the_lowest_rank(tmp_path: Path) -> None:
    structure = '{"lattice_mat": [[4, 0, 0], [0, 4, 0], [0, 0, 4]], "coords": [[0, 0, 0]], "elements": ["Na"]}'
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.json").write_text(structure)
    (tmp_path / "a.json").write_text(structure)
    assert [str(name) for c in read(tmp_path) for name in c.ids] == ["a", "b"]
    (tmp_path / "c.cif").write_text("data_x")
    assert read(tmp_path).describe()["format"] == "cif"  # a JSON file beside CIFs is none of the structures
    assert read(tmp_path, format="json").describe()["files"] == 2
    (tmp_path / "d.parquet").write_bytes(b"")
    with pytest.raises(ValueError, match="holds 1 Parquet and 1 CIF files: say format='parquet' or format='cif'"):
        read(tmp_path)
