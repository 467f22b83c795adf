"""JSON texts cut into values: whatever the text and wherever its chunks end, the json module finds the same."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest

hypothesis = pytest.importorskip("hypothesis")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from cgfast.io import json_cut  # noqa: E402
from cgfast.io.json_cut import Cutter, Damaged, loads  # noqa: E402
from cgfast.io.json_head import partial  # noqa: E402
from cgfast.io.json_walk import array_items, line_items, mapping_items  # noqa: E402

NASTY = st.text(alphabet='{}[]",:\\/é\n𝄞 a0', max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | NASTY,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NASTY, inner, max_size=4),
    max_leaves=20,
)


def cutter(text: str | bytes, chunk: int) -> Cutter:
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return Cutter(io.BytesIO(data).read, "made", chunk)


def entered(text: str | bytes, chunk: int) -> Cutter:
    made = cutter(text, chunk)
    assert made.next_open()
    made.enter()
    return made


@settings(max_examples=120, deadline=None)
@given(st.lists(VALUES, max_size=6), st.sampled_from([1, 2, 3, 7, 1000]), st.sampled_from([None, 1]), st.booleans())
def test_elements_of_a_list(values: list[Any], chunk: int, indent: int | None, ascii_only: bool) -> None:
    made = entered(json.dumps(values, indent=indent, ensure_ascii=ascii_only), chunk)
    assert [item.value for item in array_items(made)] == values
    made.leave()
    assert made.next_open() == 0
    assert not made.gap.strip()


@settings(max_examples=120, deadline=None)
@given(st.dictionaries(NASTY, VALUES, max_size=6), st.sampled_from([1, 2, 3, 7, 1000]), st.booleans())
def test_members_of_an_object(values: dict[str, Any], chunk: int, ascii_only: bool) -> None:
    made = entered(json.dumps(values, ensure_ascii=ascii_only), chunk)
    assert [(item.key, item.value) for item in mapping_items(made)] == list(values.items())


@settings(max_examples=100, deadline=None)
@given(st.lists(VALUES, max_size=6), st.sampled_from([1, 3, 1000]), st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_lines(values: list[Any], chunk: int, end: str) -> None:
    stream = io.BytesIO("".join(json.dumps(value) + end for value in values).encode())
    assert [item.value for item in line_items(lambda _: stream.read(chunk), "made")] == values


@settings(max_examples=100, deadline=None)
@given(VALUES.filter(lambda value: isinstance(value, list | dict)), st.integers(0, 400), st.sampled_from([None, 1]))
def test_the_beginning_of_a_text_is_part_of_the_whole(value: Any, size: int, indent: int | None) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    if not text[:size].strip():
        return
    top = partial(text[:size])
    assert top.complete == (size >= len(text))
    if top.complete:
        assert top.value == value
    else:
        assert_part(top.value, value)


def assert_part(part: Any, whole: Any) -> None:
    """All that is complete is equal, the last of each level may be cut."""
    assert type(part) is type(whole)
    if isinstance(part, list):
        assert len(part) <= len(whole)
        for k, one in enumerate(part):
            assert_part(one, whole[k])
    elif isinstance(part, dict):
        assert list(part) == list(whole)[: len(part)]
        for key, one in part.items():
            assert_part(one, whole[key])
    else:
        assert part == whole


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:\\ 1a\n', max_size=60).map(str.encode), st.sampled_from([1, 5, 1000]))
def test_rubbish_gives_items_or_says_that_it_is_damaged(data: bytes, chunk: int) -> None:
    for items in (array_items, mapping_items):
        made = cutter(data, chunk)
        try:
            if made.next_open():
                made.enter()
                for item in items(made):
                    assert item.error or loads(json.dumps(item.value).encode()) == item.value
        except Damaged as error:
            told = str(error)
        else:
            told = "made byte"
        assert "made" in told
        assert "byte" in told


def test_numbers_are_read_to_the_last_bit() -> None:
    rng = np.random.default_rng(1)
    values = [[float(x) for x in rng.normal(size=3) * 10.0 ** rng.integers(-300, 300)] for _ in range(200)]
    assert [item.value for item in array_items(entered(json.dumps(values), 64))] == values


def test_what_orjson_refuses() -> None:
    assert loads(b"[Infinity, -Infinity]") == [float("inf"), float("-inf")]
    assert loads(b'["\\ud800"]') == ["\ud800"]
    assert np.isnan(loads(b"NaN"))
    for bad in (b"[" * 100_000, b'{"a": ' * 100_000, b"\xff", b"[1,", b"", b"1" * 10_000 + b"x"):
        with pytest.raises(ValueError, match=r"."):
            loads(bad)


def test_without_orjson(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_cut, "_first_choice", [json.loads])
    assert loads(b'[1.5, {"a": NaN}]')[0] == 1.5
    with pytest.raises(ValueError, match="nested too deeply"):
        loads(b"[" * 100_000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"a": 1}, {"b": ', r"made ends in the middle of the value that begins at byte 11"),
        ('[{"a": 1}, ', r"made ends in the middle \(byte 11\)"),
        ('[{"a": 1} junk {"b": 2}]', r"made is no JSON near byte 15: 'junk' stands between two values"),
        ('[{"a": "x]}', r"ends in the middle of the value"),
    ],
)
def test_where_values_cannot_be_told_apart(text: str, message: str) -> None:
    for chunk in (1, 4, 100):
        made = entered(text, chunk)
        with pytest.raises(Damaged, match=message):
            list(array_items(made))


def test_a_bracket_too_many() -> None:
    made = entered('[{"a": 1}]] {}', 100)
    assert len(list(array_items(made))) == 1
    made.leave()
    with pytest.raises(Damaged, match="bracket at byte 10 closes none"):
        made.next_open()


def test_a_value_without_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_cut, "MAX_VALUE_BYTES", 1000)
    made = entered(b'[{"a": "' + b"x" * 100_000, 100)
    with pytest.raises(Damaged, match="the value at byte 1 has over"):
        list(array_items(made))


def test_a_bad_value_harms_no_other() -> None:
    items = list(array_items(entered('[{"a": 1}, {"a": nope}, {"a" 1}, [}, {"a": 2}]', 5)))
    assert [item.value for item in items] == [{"a": 1}, None, None, None, {"a": 2}]
    assert items[1].error.startswith("no JSON (bytes 11 to 22 of made): ")
