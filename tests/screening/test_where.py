"""Conditions against a plain evaluation of the same text, row by row."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgfast.screening.selection.where import Where

ROWS = [
    {"x": 1.0, "y": 2.0, "n": 1, "t": "ok", "b": True, "s.n": 4, "a b": 0.5},
    {"x": None, "y": -2.5, "n": 2, "t": "few_neighbors", "b": False, "s.n": None, "a b": -0.5},
    {"x": math.nan, "y": 0.0, "n": -3, "t": None, "b": None, "s.n": 0, "a b": 1e9},
    {"x": -0.5, "y": None, "n": None, "t": "ok;far", "b": True, "s.n": -7, "a b": None},
    {"x": 3.0, "y": 1.0, "n": 0, "t": "", "b": None, "s.n": 2, "a b": 2.0},
]
TABLE = pa.table({name: [row[name] for row in ROWS] for name in ROWS[0]})


def selected(text: str, table: pa.Table = TABLE) -> list:
    return Where(text).mask(table).to_pylist()


# --- the oracle: trees that are written as text, and evaluated in Python with None for null ------------------------------


def clean(value):
    return None if isinstance(value, float) and math.isnan(value) else value


def divide(a, b):
    with np.errstate(all="ignore"):
        return float(np.float64(a) / np.float64(b))


ARITHMETIC = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": divide,
}
COMPARE = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<>": lambda a, b: a != b,
}


def lift(function):
    def of_rows(*parts):
        def evaluate(row):
            values = [part(row) for part in parts]
            return None if None in values else clean(function(*values))

        return evaluate

    return of_rows


def both(left, right):
    def evaluate(row):
        values = {left(row), right(row)}
        return False if False in values else None if None in values else True

    return evaluate


def either(left, right):
    def evaluate(row):
        values = {left(row), right(row)}
        return True if True in values else None if None in values else False

    return evaluate


def column(name, text):
    return text, lambda row: None if clean(row[name]) is None else float(row[name])


def constant(value):
    return f"{value!r}", lambda _: float(value)


leaves = st.one_of(
    st.sampled_from([column("x", "x"), column("y", "y"), column("n", "`n`"), column("s.n", "s.n"), column("a b", "`a b`")]),
    st.floats(0, 5).map(constant),
    st.integers(0, 5).map(constant),
)
numbers = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(
            lambda p: (f"({p[0][0]} {p[1]} {p[2][0]})", lift(ARITHMETIC[p[1]])(p[0][1], p[2][1]))
        ),
        inner.map(lambda p: (f"abs({p[0]})", lift(abs)(p[1]))),
        inner.map(lambda p: (f"-{p[0]}", lift(lambda a: -a)(p[1]))),
    ),
    max_leaves=4,
)


@st.composite
def comparisons(draw):
    kind = draw(st.sampled_from(["compare", "chain", "in", "null", "text", "truth", "part"]))
    first_text, first = draw(numbers)
    negated = draw(st.booleans())
    word = "not " if negated else ""
    if kind == "compare":
        sign, (text, second) = draw(st.sampled_from(sorted(COMPARE))), draw(numbers)
        return f"{first_text} {sign} {text}", lift(COMPARE[sign])(first, second)
    if kind == "chain":
        one, two = draw(st.sampled_from(["<", "<=", ">"])), draw(st.sampled_from(["<", "!="]))
        (text, second), (more, third) = draw(numbers), draw(numbers)
        left, right = lift(COMPARE[one])(first, second), lift(COMPARE[two])(second, third)
        return f"{first_text} {one} {text} {two} {more}", both(left, right)
    if kind == "in":
        values = draw(st.lists(st.integers(-3, 3), min_size=1, max_size=6))
        return f"{first_text} {word}in ({', '.join(map(str, values))})", lift(lambda a: (a in values) != negated)(first)
    if kind == "null":
        return f"{first_text} is {word}null", lambda row: (first(row) is None) != negated
    if kind == "truth":
        value = draw(st.booleans())
        return f"b == {str(value).lower()}", lift(lambda b: b == value)(lambda row: row["b"])
    text = draw(st.sampled_from(["ok", "far", "", "few"]))
    if kind == "part":
        return f"'{text}' {word}in t", lift(lambda t: (text in t) != negated)(lambda row: row["t"])
    sign = draw(st.sampled_from(["==", "!=", "<"]))
    return f't {sign} "{text}"', lift(lambda t: COMPARE[sign](t, text))(lambda row: row["t"])


conditions = st.recursive(
    comparisons(),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda p: (f"({p[0][0]}) and {p[1][0]}", both(p[0][1], p[1][1]))),
        st.tuples(inner, inner).map(lambda p: (f"({p[0][0]} OR {p[1][0]})", either(p[0][1], p[1][1]))),
        inner.map(lambda p: (f"not ({p[0]})", lift(lambda a: not a)(p[1]))),
    ),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(conditions)
def test_equals_a_plain_evaluation(condition):
    text, oracle = condition
    # `x is not null or` makes sure that some column is named
    whole = f"(x is null and x is not null) or ({text})"
    assert selected(whole) == [either(lambda _: False, oracle)(row) for row in ROWS], text


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="xyt ()<>=!&|`'\"0123456789.,+-*/andorti_\n\\\0", max_size=40))
def test_any_text_is_a_condition_or_a_sentence(text):
    try:
        mask = Where(text).mask(TABLE)
    except ValueError as error:
        mask, message = None, str(error)
    assert message.startswith("where: ") if mask is None else len(mask) == len(ROWS)


# --- by hand -------------------------------------------------------------------------------------------------------------


def test_precedence():
    assert selected("x == 1 or y == 1 and n == 7") == [True, None, None, None, False]
    assert selected("(x == 1 or y == 1) and n == 7") == [False, False, False, None, False]
    assert selected("not x == 1 and n == 0") == [False, False, False, None, True]
    assert selected("1 + 2 * n == 3") == [True, False, False, None, False]
    assert selected("-n + 2 == 1") == [True, False, False, None, False]
    assert selected("8 / 2 / 2 == y") == [True, False, False, None, False]


def test_null_is_neither_selected_nor_by_not():
    assert Where("x > 0").select(TABLE).num_rows == 2
    assert Where("not x > 0").select(TABLE).num_rows == 1
    assert Where("x is null").select(TABLE).num_rows == 2
    assert selected("x > 0 or y < 0") == [True, True, None, None, True]


def test_quoted_names_of_columns():
    expected = [True, False, True, None, True]
    assert selected("`a b` > 0") == expected
    assert selected('"a b" > 0') == expected
    assert selected("0 < 'a b'") == expected
    assert selected("abs('a b') in (0.5, 2, 3, 4, 5)") == [True, True, False, None, True]
    assert selected("'a b' is null") == [False, False, False, True, False]
    # between texts a quoted text is a text, whatever columns there are
    assert selected("t == 't'") == [False, False, None, False, False]


def test_types_of_columns():
    table = pa.table(
        {
            "i": pa.array([2**62, -1], pa.int64()),
            "d": pa.array(["a", "b"]).dictionary_encode(),
            "l": pa.array(["a", None], pa.large_string()),
            "f": pa.array([1.5, None], pa.float32()),
            "none": pa.nulls(2),
            "list": pa.array([[1], None]),
        }
    )
    assert selected("i > 0", table) == [True, False]
    assert selected("d == 'a' and l == 'a' and f == 1.5", table) == [True, False]
    assert selected("none > 1", table) == [None, None]
    assert selected("none == 'a' or none in (1, 2)", table) == [None, None]
    assert selected("list is null", table) == [False, True]
    assert selected("none is null", table) == [True, True]


def test_a_long_condition():
    assert selected(" or ".join(f"n == {k}" for k in range(5000))) == [True, True, False, None, True]
    assert selected(" + ".join(["n"] * 3000) + " > 2999") == [True, True, False, None, False]


def test_no_rows():
    Where("x > 1 and t != 'a' and n in (1, 2, 3, 4)").check(TABLE.schema)
    assert Where("x > 1").select(TABLE.slice(0, 0)).num_rows == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("band_gap > 1", "no column 'band_gap'; the columns are x, y, n, t, b, s.n, a b; at character 1"),
        ("x > 1 and z < 2", "no column 'z'.* at character 11"),
        ("x >", "got the end at character 4"),
        ("x > 1 y", "'y' is more than a condition.* at character 7"),
        ("x > 'high'", "column 'x' of numbers cannot be compared with the text 'high' at character 3"),
        ("t > 1", "column 't' of texts cannot be compared with the number 1 at character 3"),
        ("b < true", "truth values have no order.* at character 3"),
        ("x", "expected a comparison, got column 'x' of numbers"),
        ("x and y > 1", "expected a comparison, got column 'x'"),
        ("(x > 1", r"expected '\)' for the '\(' at character 1, got the end at character 7"),
        ("x in (1, 'a')", "either numbers or texts"),
        ("x in ()", "expected a column, number or quoted text"),
        ("x in (y)", "expected a number or a quoted text in a list of values at character 7"),
        ("t in (1, 2)", "column 't' of texts cannot be one of a list of numbers"),
        ("1 < 2", "names no column"),
        ("exp(x) > 1", "no function 'exp', only abs"),
        ("x ~ 1", "'~' is not understood at character 3"),
        ("x is 3", "expected 'null' or 'not null' after 'is'"),
        ("x not 3", "expected 'in' after 'not'"),
        ("t == 'a", "quote ' is not closed"),
        ("  ", "empty text"),
        ("(" * 100 + "x", "lie inside each other"),
        ("-" * 100 + "x > 1", "lie inside each other"),
        ("x" * 200_000, "200,000 characters"),
    ],
)
def test_what_is_no_condition(text, message):
    with pytest.raises(ValueError, match=f"^where: .*{message}"):
        Where(text).check(TABLE.schema)


def test_nothing_is_run(tmp_path):
    witness = tmp_path / "witness"
    for text in (f"__import__('os').mkdir('{witness}')", f"open('{witness}', 'w') is null", "x.__class__ > 1", "().x > 1"):
        with pytest.raises(ValueError, match="where: "):
            Where(text).mask(TABLE)
    assert not witness.exists()


def test_no_text():
    with pytest.raises(ValueError, match="where: got 3"):
        Where(3)
