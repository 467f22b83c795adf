"""What a study searches: options of a training with the values they may take."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from decimal import Decimal
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgfast.training.options import TrainOptions

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from optuna.distributions import BaseDistribution

DEFAULT_SPACE = {
    "atom_fea_len": "32..128:step=32",
    "n_conv": "2..6",
    "h_fea_len": "32..256:step=32",
    "learning_rate": "0.001..0.05:log",
    "cutoff": "5.0..9.0:step=1.0",
}
NONE = "none"
_KINDS = {field.name: str(field.type) for field in dataclasses.fields(TrainOptions)}
_SAME_ROWS = "all trials must be judged on the same rows"
_SAME_EPOCHS = "trials are compared epoch by epoch"
_ONE_BY_ONE = "trials are single models, trained one after the other"
FIXED = {
    **dict.fromkeys(("task", "split", "fractions", "split_column", "fold", "seed"), _SAME_ROWS),
    **dict.fromkeys(("epochs", "milestones"), _SAME_EPOCHS),
    **dict.fromkeys(("seeds", "threads", "processes", "device"), _ONE_BY_ONE),
}


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from low to high, both included, whole ones if both are. log: drawn evenly by logarithm; step: low + k step."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def whole(self) -> bool:
        """Whether the numbers are whole."""
        return isinstance(self.low, int)

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, Integral if self.whole else Real):
            return False
        number = float(value)
        return self.low <= number <= self.high and (self.step is None or _fits(self.low, number, self.step))

    def __str__(self) -> str:
        flags = ":log" if self.log else "" if self.step is None else f":step={self.step!r}"
        return f"{self.low!r}..{self.high!r}{flags}"

    def ends(self) -> tuple[float, ...]:
        """Values that stand for all when options are checked."""
        return self.low, self.high

    def distribution(self) -> BaseDistribution:
        """The same for Optuna."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)


@dataclass(frozen=True, slots=True)
class Choices:
    """One of these values."""

    values: tuple[Any, ...]

    def __contains__(self, value: object) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return "|".join(NONE if value is None else str(value) for value in self.values)

    def ends(self) -> tuple[Any, ...]:
        """Values that stand for all when options are checked."""
        return self.values

    def distribution(self) -> BaseDistribution:
        """The same for Optuna."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)


def parse_space(space: Mapping[str, Any]) -> dict[str, Range | Choices]:
    """The search space that `space` describes, sorted by name.

    A value is text, `LOW..HIGH`, `LOW..HIGH:log`, `LOW..HIGH:step=S` or `A|B|C`; a list of choices; or a dict with low, high
    and perhaps log or step. Whole numbers where the option is one; `none` is None.

    Raises ValueError for a name that is no option or cannot be searched, an empty range, the logarithm of what is not
    positive, a step that does not lead from low to high, and values that are no numbers.
    """
    if not space:
        msg = "space: got no option to search, expected at least one"
        raise ValueError(msg)
    for name in space:
        if name not in _KINDS:
            known = ", ".join(sorted(set(_KINDS) - set(FIXED)))
            msg = f"space: got {name!r}, expected one of {known}"
            raise ValueError(msg)
        if name in FIXED:
            msg = f"space: {name} cannot be searched: {FIXED[name]}"
            raise ValueError(msg)
    return {name: _parse_values(name, space[name]) for name in sorted(space)}


def default_space(options: TrainOptions, given: Sequence[str]) -> dict[str, Range | Choices]:
    """What is searched unless something else is asked for, without the options that are given.

    Raises ValueError if nothing is left.
    """
    left = {name: text for name, text in DEFAULT_SPACE.items() if name not in given}
    if options.readout == "site":
        left.pop("h_fea_len", None)  # a linear readout has no head
    if not left:
        msg = f"space: all of {', '.join(DEFAULT_SPACE)} are given, expected one that is left to search"
        raise ValueError(msg)
    return parse_space(left)


def check_space(space: Mapping[str, Range | Choices], options: TrainOptions) -> None:
    """Raises ValueError for a value that these options cannot have, each taken alone."""
    for name, values in space.items():
        for value in values.ends():
            changed: dict[str, Any] = {name: value}
            dataclasses.replace(options, **changed)


def read_space(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The search space of a JSON file, for parse_space(). Raises ValueError for a file that holds none."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        msg = f"space: {path} cannot be read as JSON: {reason}"
        raise ValueError(msg) from error
    if not isinstance(found, dict):
        msg = f'space: {path} holds {type(found).__name__}, expected an object like {{"n_conv": "2..6"}}'
        raise ValueError(msg)  # noqa: TRY004 - one kind of error for bad input
    return found


def parse_assignments(texts: Sequence[str], what: str) -> dict[str, str]:
    """`NAME=TEXT` of each as NAME -> TEXT. Raises ValueError for other text, and for a name that comes twice."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not (name and equals and value.strip()):
            msg = f"{what}: got {text!r}, expected NAME=VALUE"
            raise ValueError(msg)
        if name in found:
            msg = f"{what}: got {name} twice, expected it once"
            raise ValueError(msg)
        found[name] = value.strip()
    return found


def parse_option(name: str, text: str) -> Any:  # noqa: ANN401 - what the option takes
    """The value of one option of a training, as a command line has it (max_neighbors=0: all).

    Raises ValueError for an unknown name, and text that is no such value.
    """
    if name not in _KINDS:
        msg = f"options: got {name!r}, expected one of {', '.join(sorted(_KINDS))}"
        raise ValueError(msg)
    kind = _KINDS[name]
    if kind.startswith("tuple"):
        number = "int" if "int" in kind else "float"
        return tuple(_value(name, part.strip(), number) for part in text.split(",") if part.strip())
    value = _value(name, text, kind)
    return None if name == "max_neighbors" and value == 0 else value


def _parse_values(name: str, values: Any) -> Range | Choices:  # noqa: ANN401 - what a user writes
    if isinstance(values, Range | Choices):
        values = str(values)
    if isinstance(values, str):
        if ".." in values:
            low, _, rest = values.partition("..")
            high, *flags = (part.strip() for part in rest.split(":"))
            return _range(name, {"low": low.strip(), "high": high, **_flags(name, flags)})
        return _choices(name, [part.strip() for part in values.split("|")])
    if isinstance(values, dict):
        return _range(name, values)
    if isinstance(values, list | tuple):
        return _choices(name, values)
    msg = f"space: {name}: got {values!r}, expected text like 2..6 or A|B, a list of choices, or a dict with low and high"
    raise ValueError(msg)


def _flags(name: str, flags: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for flag in flags:
        word, _, value = flag.partition("=")
        if flag != "log" and not (word == "step" and value):
            msg = f"space: {name}: got {flag!r} behind a range, expected log or step=NUMBER"
            raise ValueError(msg)
        found[word] = value or True
    return found


def _range(name: str, fields: dict[str, Any]) -> Range:
    kind = _KINDS[name].partition(" ")[0]
    if kind == "str":
        msg = f"space: {name}: got a range, expected choices like A|B"
        raise ValueError(msg)
    unknown = sorted(set(fields) - {"low", "high", "log", "step"})
    if unknown or "low" not in fields or "high" not in fields:
        got = ", ".join(sorted(map(str, fields))) or "nothing"
        msg = f"space: {name}: got a range with {got}, expected low and high, and perhaps log or step"
        raise ValueError(msg)
    low, high = _value(name, fields["low"], kind), _value(name, fields["high"], kind)
    log = fields.get("log", False)
    step = None if fields.get("step") is None else _value(name, fields["step"], kind)
    if not isinstance(log, bool):
        msg = f"space: {name}: got log={log!r}, expected true or false"
        raise ValueError(msg)  # noqa: TRY004 - one kind of error for bad input
    if low >= high:
        msg = f"space: {name}: the range {low}..{high} is empty, expected a lower number first"
        raise ValueError(msg)
    if log and low <= 0:
        msg = f"space: {name}: got {low}..{high} by logarithm, expected numbers above 0"
        raise ValueError(msg)
    if step is not None and (log or step <= 0 or not _fits(low, high, step)):
        why = "log too" if log else f"from {low} to {high}"
        msg = f"space: {name}: got step={step} and {why}, expected a step that leads from low to high, without log"
        raise ValueError(msg)
    return Range(low, high, log, step)


def _choices(name: str, values: Sequence[Any]) -> Choices:
    found = tuple(_value(name, value, _KINDS[name]) for value in values)
    if not found or len(set(found)) < len(found):
        msg = f"space: {name}: got the choices {list(values)}, expected one or more, each once"
        raise ValueError(msg)
    return Choices(found)


def _value(name: str, given: Any, kind: str) -> Any:  # noqa: ANN401 - from JSON or text to what the option takes
    """`given` as `kind` ("int", "float", "str", "int | None", "str | None")."""
    if given is None or (isinstance(given, str) and given.lower() == NONE and kind.endswith("None")):
        if kind.endswith("None"):
            return None
    elif kind.startswith("str"):
        if isinstance(given, str) and given:
            return given
        if isinstance(given, int) and not isinstance(given, bool):  # precision=32
            return str(given)
    elif not isinstance(given, bool) and isinstance(given, str | int | float):
        number = _number(given)
        if number is not None and kind.startswith("float"):
            return number
        if number is not None and number.is_integer():
            return int(number)
    expected = {"int": "a whole number", "float": "a number", "str": "text"}[kind.partition(" ")[0]]
    msg = f"{name}: got {given!r}, expected {expected}{' or none' if kind.endswith('None') else ''}"
    raise ValueError(msg)


def _number(given: str | float) -> float | None:
    try:
        number = float(given)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _fits(low: float, value: float, step: float) -> bool:
    """Whether low + k step is `value` in decimals, as it is written."""
    return (Decimal(repr(value)) - Decimal(repr(low))) % Decimal(repr(step)) == 0
