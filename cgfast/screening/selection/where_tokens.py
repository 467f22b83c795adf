"""The words and signs of a condition, with their places."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

__all__ = ["Token", "refuse", "tokens"]

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>(?:\d+(?:_\d+)*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
      | (?P<name>[^\W\d]\w*(?:\.\w+)*)
      | `(?P<quoted>[^`]+)`
      | "(?P<double>[^"]*)" | '(?P<single>[^']*)'
      | (?P<sign><=|>=|==|!=|<>|[<>=+\-*/(),])
    )""",
    re.VERBOSE,
)
_WORDS = frozenset({"and", "or", "not", "in", "is", "null", "true", "false"})


@dataclass(frozen=True, slots=True)
class Token:
    """A word or sign, and where it stands (from 0)."""

    kind: str  # "number", "name", "word", "column", "text", "sign", "end"
    value: str
    at: int


def refuse(what: str, at: int) -> NoReturn:
    """Raise the ValueError that every fault in a condition gives: what is wrong, and where (counted from 1)."""
    msg = f"where: {what} at character {at + 1}"
    raise ValueError(msg)


def tokens(text: str) -> list[Token]:
    """The tokens of a text, the last one of the kind "end". Raises ValueError for what is none."""
    found = []
    place = 0
    end = len(text.rstrip())
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None:
            at = place + len(text[place:]) - len(text[place:].lstrip())
            if text[at] in "`\"'":
                refuse(f"the quote {text[at]} is not closed, or holds nothing,", at)
            refuse(f"{text[at : at + 12].split(maxsplit=1)[0]!r} is not understood", at)
        kind = str(match.lastgroup)
        at = match.start(kind)
        value = match.group(kind)
        if kind in {"double", "single"}:
            found.append(Token("text", value, at - 1))
        elif kind == "quoted":
            found.append(Token("column", value, at - 1))
        elif kind == "name" and value.lower() in _WORDS:
            found.append(Token("word", value.lower(), at))
        else:
            found.append(Token(kind, value, at))
        place = match.end()
    return [*found, Token("end", "", end)]
