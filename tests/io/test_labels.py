"""What a label text means, and the numbers that it reads from an Arrow column."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("pyarrow")

import pyarrow as pa

from cgfast.io.labels import Label, split_name, text_classes

NAN = math.nan


def read(text: str, values, kind=None, classes=None) -> list[float]:
    return Label.parse(text).read(pa.chunked_array([pa.array(values, kind)]), classes).tolist()


def same(found: list[float], expected: list[float]) -> None:
    np.testing.assert_array_equal(np.array(found, float), np.array(expected, float))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gap", ("gap", False, None)),
        ("  band gap (eV) ", ("band gap (eV)", False, None)),
        ("log10(K)", ("K", True, None)),
        (" log10( K_GPa ) ", ("K_GPa", True, None)),
        ("log10(f(x))", ("f(x)", True, None)),
        ("gap<1e-3", ("gap", False, "<")),
        ("gap > -2", ("gap", False, ">")),
        ("log10", ("log10", False, None)),
        ("größe", ("größe", False, None)),
    ],
)
def test_grammar(text: str, expected: tuple) -> None:
    label = Label.parse(text)
    assert label[:3] == expected
    assert label.bound == {"<": 1e-3, ">": -2.0}[label.relation] if label.relation else math.isnan(label.bound)


@pytest.mark.parametrize("text", ["", "  ", "<3", ">", "gap<", "a<=3", "a>=3", "a=3", "a==3", "a<b", "a<nan", "a<inf", "a<1<2"])
def test_texts_that_are_no_label(text: str) -> None:
    with pytest.raises(ValueError, match="target") as error:
        Label.parse(text)
    assert "expected" in str(error.value) or "must be" in str(error.value)


def test_a_column_of_that_very_name_wins() -> None:
    columns = {"log10(K_VRH)", "gap<3", "a>=b", "x"}
    for text in ("log10(K_VRH)", "gap<3", "a>=b", " a>=b "):
        label = Label.parse(text, columns)
        assert label == Label(text.strip())
        assert label.is_plain
        assert str(label) == text.strip()
    assert Label.parse("log10(x)", columns) == Label("x", log10=True)
    assert Label.parse("log10(log10(K_VRH))", columns) == Label("log10(K_VRH)", log10=True)
    assert not Label.parse("gap<4", columns).is_plain


@pytest.mark.parametrize("text", [None, 3, ["gap"], b"gap"])
def test_labels_are_texts(text: object) -> None:
    with pytest.raises(ValueError, match="target must be COLUMN"):
        Label.parse(text)


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from("<>"))
def test_the_text_of_a_question_keeps_its_bound(bound: float, relation: str) -> None:
    label = Label("gap", relation=relation, bound=bound)
    assert Label.parse(str(label)) == label


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gap", (None, "gap")),
        ("metal=gap<0.001", ("metal", "gap<0.001")),
        ("x=a=b", ("x", "a=b")),
        ("K=log10(bulk)", ("K", "log10(bulk)")),
        ("gap<0.001", (None, "gap<0.001")),
        ("a>=b", (None, "a>=b")),
        ("=a", (None, "=a")),
    ],
)
def test_names_in_front(text: str, expected: tuple) -> None:
    assert split_name(text) == expected


@pytest.mark.parametrize("text", ["gap", "log10(gap)", "gap<0.001", "gap>1e-12", "gap<3"])
def test_plain_texts_stay_as_they_are(text: str) -> None:
    assert str(Label.parse(text)) == text


def test_numbers() -> None:
    same(read("x", [1, None, 3], pa.int16()), [1, NAN, 3])
    same(read("x", [2**53], pa.uint64()), [float(2**53)])
    same(read("x", [1.5, None, NAN], pa.float32()), [1.5, NAN, NAN])
    same(read("x", [True, False, None], pa.bool_()), [1, 0, NAN])
    same(read("x", [None, None], pa.null()), [NAN, NAN])
    same(read("x", [0.5, 1.5], pa.float16()), [0.5, 1.5])
    same(read("x", [], pa.float64()), [])


def test_reading_does_not_change_the_table() -> None:
    column = pa.chunked_array([pa.array([-1.0, 10.0])])
    Label.parse("log10(x)").read(column, None)
    Label.parse("x").read(column, None)[:] = 7.0
    assert column.to_pylist() == [-1.0, 10.0]


def test_chunks_and_dictionaries() -> None:
    words = pa.chunked_array([pa.array(["b", "a"]).dictionary_encode(), pa.array(["a", None, "c"]).dictionary_encode()])
    with pytest.raises(ValueError, match="expected 'a' or 'b'"):
        Label.parse("x").read(words, ("a", "b"))
    same(Label.parse("x").read(words[:4], ("a", "b")).tolist(), [1, 0, 0, NAN])
    numbers = pa.chunked_array([pa.array([5, 7, 5]).dictionary_encode()])
    same(Label.parse("x>6").read(numbers, None).tolist(), [0, 1, 0])


def test_logarithms() -> None:
    same(read("log10(x)", [100.0, 1e-3, 0.0, -0.0, -5.0, None, NAN]), [2, -3, NAN, NAN, NAN, NAN, NAN])
    same(read("log10(x)", [1, 1000], pa.int64()), [0, 3])
    assert read("log10(x)", [5e-324])[0] == pytest.approx(math.log10(5e-324))


def test_questions() -> None:
    same(read("x<0.5", [0.4, 0.5, 0.6, None, NAN]), [1, 0, 0, NAN, NAN])
    same(read("x>0.5", [0.4, 0.5, 0.6, None, NAN]), [0, 0, 1, NAN, NAN])
    same(read("x>0.5", [True, False], pa.bool_()), [1, 0])


@pytest.mark.parametrize("text", ["x", "log10(x)", "x<3"])
def test_infinite_numbers_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="target x: got 2 infinite values"):
        read(text, [1.0, math.inf, -math.inf])


def test_words() -> None:
    same(read("x", ["metal", "oxide", None, "", "metal"], classes=("metal", "oxide")), [0, 1, NAN, NAN, 0])
    same(read("x", ["metal", "oxide"], classes=("oxide", "metal")), [1, 0])
    same(read("x", ["metal", "oxide"], pa.large_string()), [0, 1])
    same(read("x", ["yes", "No", "TRUE", "false", None]), [1, 0, 1, 0, NAN])
    same(read("x", ["yes", "yes"]), [1, 1])  # one class only is said later, of the training part
    # names that a resumed run knows for a column of yes and no
    same(read("x", ["yes", "no"], classes=("not stable", "stable")), [1, 0])


@pytest.mark.parametrize(
    "words", [["a"], ["a", "b", "c"], list("abcdefg"), ["1.5", "n/a", "2"], ["yes", "no", "maybe"], [None, ""]]
)
def test_words_that_are_no_two_classes(words: list) -> None:
    with pytest.raises(ValueError, match=rf"x: got a text column with {len({w for w in words if w})} different values"):
        read("x", words, pa.string())


def test_classes_are_sorted_or_answers() -> None:
    assert text_classes("x", ["b", "a", None, "", "b"]) == ("a", "b")
    assert text_classes("x", ["no", "Yes"]) is None
    assert text_classes("x", ["no", "stable"]) == ("no", "stable")


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.date32(), pa.binary(), pa.struct([("a", pa.int8())])])
def test_columns_of_other_things(kind) -> None:
    with pytest.raises(ValueError, match=r"target x: got a column of .*expected numbers, truth values or two names of classes"):
        Label.parse("x").read(pa.chunked_array([pa.nulls(2, kind)]), None)
