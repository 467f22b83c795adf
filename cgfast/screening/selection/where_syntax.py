"""The grammar of `where`: a text becomes a tree of nodes; nothing is ever run as code.

condition  = both { "or" both }
both       = negated { "and" negated }
negated    = "not" negated | test
test       = sum { ("<" | "<=" | ">" | ">=" | "==" | "=" | "!=") sum }
           | sum ["not"] "in" ( "(" literal { "," literal } ")" | sum )
           | sum "is" ["not"] "null"
sum        = product { ("+" | "-") product }
product    = signed { ("*" | "/") signed }
signed     = ("-" | "+") signed | value
value      = number | text | "true" | "false" | name | "abs" "(" sum ")" | "(" condition ")"
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cgfast.screening.selection.where_tokens import Token, refuse, tokens

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Binary", "Chain", "Column", "Inside", "IsNull", "Literal", "Node", "Unary", "parse"]

_COMPARISONS = {"<": "<", "<=": "<=", ">": ">", ">=": ">=", "==": "==", "=": "==", "!=": "!=", "<>": "!="}
_MAX_DEPTH = 60
_MAX_LENGTH = 100_000


@dataclass(frozen=True, slots=True)
class Column:
    """A column by its name."""

    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, a text or a truth value."""

    value: float | str | bool
    at: int


@dataclass(frozen=True, slots=True)
class Unary:
    """`operator` is "-", "abs" or "not"."""

    operator: str
    operand: Node
    at: int


@dataclass(frozen=True, slots=True)
class Binary:
    """`operator` is one of + - * / and or."""

    operator: str
    left: Node
    right: Node
    at: int


@dataclass(frozen=True, slots=True)
class Chain:
    """`1 < x <= 2`: all pairs of neighbours compare so. `at` holds the place of each operator."""

    operands: tuple[Node, ...]
    operators: tuple[str, ...]
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Inside:
    """A value is one of several literals, or a part of a text; `negated`: it is not."""

    operand: Node
    within: tuple[Literal, ...] | Node
    negated: bool
    at: int


@dataclass(frozen=True, slots=True)
class IsNull:
    """A value is missing; `negated`: it is there."""

    operand: Node
    negated: bool
    at: int


Node = Column | Literal | Unary | Binary | Chain | Inside | IsNull


def parse(text: str) -> Node:
    """The tree of a condition. Raises ValueError with the place of what is wrong."""
    if not isinstance(text, str):
        msg = f"where: got {text!r}, expected a text such as 'band_gap_eV > 1'"
        raise ValueError(msg)  # noqa: TRY004 - bad input is a ValueError throughout
    if not text.strip():
        msg = "where: got an empty text, expected a condition such as 'band_gap_eV > 1'"
        raise ValueError(msg)
    if len(text) > _MAX_LENGTH:
        msg = f"where: got {len(text):,} characters, expected at most {_MAX_LENGTH:,}"
        raise ValueError(msg)
    parser = _Parser(tokens(text))
    tree = parser.condition()
    parser.end()
    return tree


class _Parser:
    """Recursive descent over the tokens."""

    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._next = 0
        self._depth = 0

    def condition(self) -> Node:
        left = self._both()
        while (token := self._accept("word", "or")) is not None:
            left = Binary("or", left, self._both(), token.at)
        return left

    def end(self) -> None:
        token = self._peek()
        if token.kind != "end":
            refuse(f"{token.value!r} is more than a condition: expected 'and', 'or' or the end", token.at)

    def _both(self) -> Node:
        left = self._negated()
        while (token := self._accept("word", "and")) is not None:
            left = Binary("and", left, self._negated(), token.at)
        return left

    def _negated(self) -> Node:
        token = self._accept("word", "not")
        return self._test() if token is None else Unary("not", self._deeper(self._negated, token), token.at)

    def _test(self) -> Node:
        first = self._sum()
        token = self._peek()
        if (is_ := self._accept("word", "is")) is not None:
            negated = self._accept("word", "not") is not None
            self._expect("word", "null", "'null' or 'not null' after 'is'")
            return IsNull(first, negated, is_.at)
        negated = self._accept("word", "not") is not None
        if self._accept("word", "in") is not None:
            return Inside(first, self._within(), negated, token.at)
        if negated:
            refuse("expected 'in' after 'not'", self._peek().at)
        operands, operators, places = [first], [], []
        while (token := self._peek()).kind == "sign" and token.value in _COMPARISONS:
            self._next += 1
            operators.append(_COMPARISONS[token.value])
            places.append(token.at)
            operands.append(self._sum())
        return Chain(tuple(operands), tuple(operators), tuple(places)) if operators else first

    def _within(self) -> tuple[Literal, ...] | Node:
        if self._peek().value != "(" or self._peek().kind != "sign":
            return self._sum()
        self._next += 1
        values = [self._literal()]
        while self._accept("sign", ",") is not None and self._peek().value != ")":
            values.append(self._literal())
        self._expect("sign", ")", "',' or ')' in a list of values")
        return tuple(values)

    def _literal(self) -> Literal:
        node = self._signed()
        if isinstance(node, Unary) and isinstance(node.operand, Literal) and isinstance(node.operand.value, float):
            node = Literal(-node.operand.value, node.at)
        if not isinstance(node, Literal):
            refuse("expected a number or a quoted text in a list of values", _place(node))
        return node

    def _sum(self) -> Node:
        left = self._product()
        while (token := self._accept("sign", "+", "-")) is not None:
            left = Binary(token.value, left, self._product(), token.at)
        return left

    def _product(self) -> Node:
        left = self._signed()
        while (token := self._accept("sign", "*", "/")) is not None:
            left = Binary(token.value, left, self._signed(), token.at)
        return left

    def _signed(self) -> Node:
        token = self._accept("sign", "-", "+")
        if token is None:
            return self._value()
        inner = self._deeper(self._signed, token)
        return Unary("-", inner, token.at) if token.value == "-" else inner

    def _value(self) -> Node:
        token = self._peek()
        self._next += 1
        if token.kind == "number":
            return Literal(float(token.value), token.at)
        if token.kind == "text":
            return Literal(token.value, token.at)
        if token.kind == "word" and token.value in {"true", "false"}:
            return Literal(token.value == "true", token.at)
        if token.kind == "column":
            return Column(token.value, token.at)
        if token.kind == "name":
            is_call = self._peek().kind == "sign" and self._peek().value == "("
            return self._call(token) if is_call else Column(token.value, token.at)
        if token.kind == "sign" and token.value == "(":
            inner = self._deeper(self.condition, token)
            self._expect("sign", ")", f"')' for the '(' at character {token.at + 1}")
            return inner
        self._next -= 1
        came = "the end" if token.kind == "end" else repr(token.value)
        return refuse(f"expected a column, number or quoted text, got {came}", token.at)

    def _call(self, token: Token) -> Node:
        if token.value.lower() != "abs":
            refuse(f"there is no function {token.value!r}, only abs(),", token.at)
        self._next += 1
        inner = self._deeper(self._sum, token)
        self._expect("sign", ")", "')' behind abs(")
        return Unary("abs", inner, token.at)

    def _deeper(self, part: Callable[[], Node], token: Token) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            refuse(f"more than {_MAX_DEPTH} parts lie inside each other", token.at)
        node = part()
        self._depth -= 1
        return node

    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _accept(self, kind: str, *values: str) -> Token | None:
        token = self._peek()
        if token.kind != kind or token.value not in values:
            return None
        self._next += 1
        return token

    def _expect(self, kind: str, value: str, what: str) -> None:
        token = self._peek()
        if self._accept(kind, value) is None:
            refuse(f"expected {what}, got {token.value!r}" if token.value else f"expected {what}, got the end", token.at)


def _place(node: Node) -> int:
    return node.places[0] if isinstance(node, Chain) else node.at
