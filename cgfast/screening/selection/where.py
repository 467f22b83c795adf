"""Conditions on columns: which rows of a table of predictions are wanted. Parsed, never run as code."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from cgfast.screening.selection.where_syntax import Binary, Chain, Column, Inside, IsNull, Literal, Node, Unary, parse
from cgfast.screening.selection.where_tokens import refuse

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

__all__ = ["Where"]

_COMPARE = {"<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal", "==": "equal", "!=": "not_equal"}
_ARITHMETIC = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide"}
_LOGIC = {"and": "and_kleene", "or": "or_kleene"}


class _Value(NamedTuple):
    """What a part of the condition comes to: `kind` is "number", "text", "truth", "null" (no value at all) or "other"."""

    kind: str
    data: Any  # a ChunkedArray or a Scalar
    at: int
    name: str = ""  # of a column


class Where:
    """A condition such as `band_gap_eV > 1 and not flags == "few_neighbors"`.

    Comparisons (`<` `<=` `>` `>=` `==` or `=` `!=`, also chained: `1 < x <= 2`), `and`, `or`, `not`, parentheses, numbers,
    quoted texts, `true` and `false`, `+ - * /` and `abs()` on numbers, `x in (1, 2)`, `"part" in text_column`, `is null` and
    `is not null`. A name of letters, digits, `_` and dots stands as it is; any other in backticks, or in quotes where a text
    would make no sense (`"Band Gap" > 1`).

    A value that is missing, and NaN, is null. What is computed from null is null, and a comparison with it is neither true
    nor false: such a row is not selected, and neither is it by `not`. (`and` and `or` are SQL's: `null or true` is true.)
    Numbers are compared as float64. Dividing by zero gives an infinity, 0/0 null.

    Raises ValueError, with the place, for a text that is no condition.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._tree = parse(text)

    def check(self, schema: pa.Schema) -> None:
        """Raise ValueError unless the condition has a meaning for tables of this schema."""
        self.mask(schema.empty_table())

    def select(self, table: pa.Table) -> pa.Table:
        """The rows for which the condition is true, in order."""
        return table.filter(self.mask(table))

    def mask(self, table: pa.Table) -> Any:  # noqa: ANN401 - pyarrow has no types
        """A boolean ChunkedArray (B,) for B rows: true, false, or null where that cannot be told.

        Raises:
            ValueError: A column is not there (with those that are), or holds something that cannot be compared so.
        """
        import pyarrow as pa

        result = _Evaluation(table).truth(self._tree)
        if isinstance(result.data, pa.Scalar):
            msg = f"where: {self.text!r} names no column; the columns are {', '.join(table.column_names)}"
            raise ValueError(msg)  # noqa: TRY004 - bad input is a ValueError throughout
        return result.data


class _Evaluation:
    """One condition on one table."""

    def __init__(self, table: pa.Table) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        self._table = table
        self._pa = pa
        self._pc = pc
        self._columns: dict[str, _Value] = {}

    def truth(self, node: Node) -> _Value:
        """A node as true or false."""
        value = self._evaluate(node)
        if value.kind == "null":
            return value._replace(kind="truth", data=value.data.cast(self._pa.bool_()))
        if value.kind != "truth":
            refuse(f"expected a comparison, got {_described(value)},", value.at)
        return value

    def _evaluate(self, node: Node) -> _Value:
        match node:
            case Literal():
                return _Value(_kind_of(node), self._pa.scalar(node.value), node.at)
            case Column():
                return self._column(node.name, node.at)
            case Unary():
                return self._unary(node)
            case Binary():
                return self._binary(node)
            case Chain():
                return self._chain(node)
            case Inside():
                return self._inside(node)
            case IsNull():
                value = self._meant(self._evaluate(node.operand))
                data = self._pc.is_valid(value.data) if node.negated else self._pc.is_null(value.data)
                return _Value("truth", data, node.at)

    def _column(self, name: str, at: int) -> _Value:
        if name not in self._columns:
            if name not in self._table.column_names:
                refuse(f"no column {name!r}; the columns are {', '.join(self._table.column_names)};", at)
            self._columns[name] = _Value(*self._plain(self._table.column(name)), at, name)
        return self._columns[name]._replace(at=at)

    def _plain(self, column: Any) -> tuple[str, Any]:  # noqa: ANN401
        """The kind of a column, and its values as float64, text or truth values, with null for NaN."""
        types = self._pa.types
        kind = column.type
        if types.is_dictionary(kind):
            return self._plain(column.cast(kind.value_type))
        if types.is_null(kind):
            return "null", column
        if types.is_boolean(kind):
            return "truth", column
        if types.is_string(kind) or types.is_large_string(kind) or kind == self._pa.string_view():
            return "text", column if types.is_string(kind) else column.cast(self._pa.string())
        if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
            return "number", self._without_nan(column.cast(self._pa.float64(), safe=False))
        return "other", column

    def _without_nan(self, values: Any) -> Any:  # noqa: ANN401
        return self._pc.if_else(self._pc.is_nan(values), self._pa.scalar(None, self._pa.float64()), values)

    def _meant(self, value: _Value) -> _Value:
        """The column that a quoted text names, in a place where a text makes no sense."""
        if value.kind == "text" and isinstance(value.data, self._pa.Scalar) and value.data.as_py() in self._table.column_names:
            return self._column(value.data.as_py(), value.at)
        return value

    def _number(self, node: Node) -> _Value:
        value = self._meant(self._evaluate(node))
        if value.kind == "null":
            return value._replace(kind="number", data=value.data.cast(self._pa.float64()))
        if value.kind != "number":
            refuse(f"expected a number, got {_described(value)},", value.at)
        return value

    def _unary(self, node: Unary) -> _Value:
        if node.operator == "not":
            return _Value("truth", self._pc.invert(self.truth(node.operand).data), node.at)
        function = self._pc.abs if node.operator == "abs" else self._pc.negate
        return _Value("number", function(self._number(node.operand).data), node.at)

    def _binary(self, node: Binary) -> _Value:
        steps = list(_spine(node))  # `a and b and c ...` may be long: no recursion along it
        logical = node.operator in _LOGIC
        operand = self.truth if logical else self._number
        value = operand(steps[-1].left)
        for step in reversed(steps):
            name = _LOGIC.get(step.operator) or _ARITHMETIC[step.operator]
            data = self._pc.call_function(name, [value.data, operand(step.right).data])
            value = _Value("truth", data, step.at) if logical else _Value("number", self._without_nan(data), step.at)
        return value

    def _chain(self, node: Chain) -> _Value:
        values = [self._evaluate(operand) for operand in node.operands]
        if any(value.kind == "number" for value in values):
            values = [self._meant(value) for value in values]
        result = None
        for index, (operator, at) in enumerate(zip(node.operators, node.places, strict=True)):
            data = self._compare(operator, values[index], values[index + 1], at)
            result = data if result is None else self._pc.and_kleene(result, data)
        return _Value("truth", result, node.places[0])

    def _compare(self, operator: str, left: _Value, right: _Value, at: int) -> Any:  # noqa: ANN401
        kinds = {left.kind, right.kind} - {"null"}
        if len(kinds) > 1 or kinds == {"other"}:
            refuse(f"{_described(left)} cannot be compared with {_described(right)}", at)
        if kinds == {"truth"} and operator not in {"==", "!="}:
            refuse(f"truth values have no order: expected == or !=, got {operator}", at)
        if len(kinds) == 0:
            kinds = {"truth"}
        arrow = {"number": self._pa.float64(), "text": self._pa.string(), "truth": self._pa.bool_()}[kinds.pop()]
        return self._pc.call_function(_COMPARE[operator], [left.data.cast(arrow), right.data.cast(arrow)])

    def _inside(self, node: Inside) -> _Value:
        value = self._evaluate(node.operand)
        if isinstance(node.within, tuple):
            data = self._among(value, node.within, node.at)
        else:
            whole = self._evaluate(node.within)
            if value.kind != "text" or whole.kind != "text" or not isinstance(value.data, self._pa.Scalar):
                refuse("expected `value in (...)` or `'part' in column_of_text`", node.at)
            data = self._pc.match_substring(whole.data, value.data.as_py())
        return _Value("truth", self._pc.invert(data) if node.negated else data, node.at)

    def _among(self, value: _Value, wanted: tuple[Literal, ...], at: int) -> Any:  # noqa: ANN401
        kinds = {_kind_of(one) for one in wanted}
        if len(kinds) > 1:
            refuse("expected either numbers or texts in a list of values, got both,", at)
        if kinds != {"text"}:
            value = self._meant(value)
        if value.kind not in {*kinds, "null"}:
            refuse(f"{_described(value)} cannot be one of a list of {kinds.pop()}s", at)
        result = None
        if len(wanted) > 3 and isinstance(value.data, self._pa.ChunkedArray) and value.kind != "null":
            numbers = value.kind == "number"  # is_in takes 0 and -0 for different ones
            values = [one.value + 0.0 if numbers else one.value for one in wanted]  # type: ignore[operator]
            data = self._pc.add(value.data, 0.0) if numbers else value.data
            found = self._pc.is_in(data, value_set=self._pa.array(values))
            return self._pc.if_else(self._pc.is_valid(value.data), found, self._pa.scalar(None, self._pa.bool_()))
        for one in wanted:
            equal = self._compare("==", value, self._evaluate(one), at)
            result = equal if result is None else self._pc.or_kleene(result, equal)
        return result


def _kind_of(literal: Literal) -> str:
    if isinstance(literal.value, bool):
        return "truth"
    return "text" if isinstance(literal.value, str) else "number"


def _spine(node: Binary) -> Iterator[Binary]:
    """A node and those on its left of the same sort, outermost first."""
    logical = node.operator in _LOGIC
    current: Node = node
    while isinstance(current, Binary) and (current.operator in _LOGIC) == logical:
        yield current
        current = current.left


def _described(value: _Value) -> str:
    if value.name:
        return (
            f"column {value.name!r} of {'values that are no numbers or texts' if value.kind == 'other' else value.kind + 's'}"
        )
    scalar = value.data.as_py() if hasattr(value.data, "as_py") else None
    if isinstance(scalar, float):
        return f"the number {scalar:g}" if math.isfinite(scalar) else "a number"
    return f"the text {scalar!r}" if isinstance(scalar, str) else f"a {value.kind}"
