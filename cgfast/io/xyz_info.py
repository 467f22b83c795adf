"""The second line of a frame of extended XYZ: ``key=value`` pairs, with ASE's rules for quotes and types.

The format: https://github.com/libAtoms/extxyz. Where ASE's reader and that page differ, ASE's reader counts.
"""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["columns_of", "flag", "pairs", "value_of"]

_WORD = re.compile(
    r"""=|(?:
        [^\s="'{\[\\]++
        | \\.?
        | "(?:[^"\\]|\\.)*+(?:"|\\?\Z)
        | '(?:[^'\\]|\\.)*+(?:'|\\?\Z)
        | \{(?:[^}\\]|\\.)*+(?:\}|\\?\Z)
        | \[(?:[^\]\\]|\\.)*+(?:\]|\\?\Z)
    )++""",
    re.VERBOSE | re.DOTALL,
)
_QUOTED = re.compile(
    r"""\\(.?) | "((?:[^"\\]|\\.)*+)(?:"|\\?\Z) | '((?:[^'\\]|\\.)*+)(?:'|\\?\Z)
        | \{((?:[^}\\]|\\.)*+)(?:\}|\\?\Z) | \[((?:[^\]\\]|\\.)*+)(?:\]|\\?\Z)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_SPECIAL = re.compile(r"""["'{\[\\]""")
_FLAGS = {"T": True, "F": False, "True": True, "False": False, "TRUE": True, "FALSE": False, "true": True, "false": False}


def pairs(line: str) -> dict[str, str]:
    """Keys and the text of their values; "T" for a key without a value. Of a repeated key the last counts."""
    words: list[list[str]] = []
    value_follows = False
    for match in _WORD.finditer(line.strip()):
        word = match.group()
        if word == "=":
            if words:
                words[-1].append("")
                value_follows = True
            continue
        text = _plain(word) if _SPECIAL.search(word) else word
        if value_follows:
            words[-1][-1] = text
            value_follows = False
        else:
            words.append([text])
    return {one[0]: "=".join(one[1:]) if len(one) > 1 else "T" for one in words}


def _plain(word: str) -> str:
    """A word without its quotes and escapes."""
    if word[0] == '"' and word.find('"', 1) == len(word) - 1 and "\\" not in word:  # nearly all are like this
        return word[1:-1]

    def inside(match: re.Match[str]) -> str:
        escaped, *quoted = match.groups()
        return escaped if escaped is not None else _ESCAPE.sub(r"\1", next(part for part in quoted if part is not None))

    return _QUOTED.sub(inside, word)


def value_of(text: str) -> Any:  # noqa: ANN401 - of any type
    """A number, a truth value, a list of either, what JSON says after ``_JSON``, or the text itself."""
    parts = text.replace(",", " ").split()
    if not parts:
        return text
    for kind in (int, float):
        try:
            values: list[Any] = [kind(part) for part in parts]
        except ValueError:
            continue
        if "_" not in text:  # Python's way to group digits
            return values if len(values) > 1 else values[0]
    if all(part in _FLAGS for part in parts):
        flags = [_FLAGS[part] for part in parts]
        return flags if len(flags) > 1 else flags[0]
    if text.startswith("_JSON "):
        try:
            return json.loads(text[6:])
        except (ValueError, RecursionError):
            return text
    return text


def flag(text: str) -> tuple[bool, bool, bool] | None:
    """Three flags, or one for all axes: "T T F", "1 1 0", "false"; None if it is neither."""
    parts = text.replace(",", " ").split()
    values = [_FLAGS.get(part, {"1": True, "0": False}.get(part)) for part in parts]
    if None in values or len(values) not in {1, 3}:
        return None
    a, b, c = (bool(x) for x in (values * 3 if len(values) == 1 else values))
    return a, b, c


def columns_of(text: str) -> tuple[dict[str, tuple[int, int]], int]:
    """Columns of the atoms' lines from ``Properties``: name -> (first, number of them), and their number in all.

    Raises:
        ValueError: It is no series of NAME:TYPE:COUNT.
    """
    fields = text.split(":")
    found: dict[str, tuple[int, int]] = {}
    at = 0
    if len(fields) % 3:
        message = f"Properties is {text[:60]!r}: expected a series of NAME:TYPE:COUNT"
        raise ValueError(message)
    for name, kind, count in zip(fields[::3], fields[1::3], fields[2::3], strict=True):
        if kind not in {"R", "I", "S", "L"} or not (count.isascii() and count.isdigit() and 0 < len(count) < 5):
            message = (
                f"Properties holds {name[:40]}:{kind[:10]}:{count[:10]}: expected NAME:TYPE:COUNT with a type R, I, S or L"
            )
            raise ValueError(message)
        found[name] = (at, int(count))
        at += int(count)
    return found, at
