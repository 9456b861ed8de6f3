"""The values and functions of the part of KQL that is evaluated. Entry points: `OPERATORS`,
`FUNCTIONS`, `AGGREGATES`, `Dynamic`."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Dynamic:
    """A value of the type dynamic: a property that it lacks is null."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def get(self, name: str) -> Any:
        """Return the property, or None for null."""
        return self.values.get(name)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _fold(value: Any) -> str:
    return _text(value).casefold()


def _equal(left: Any, right: Any) -> bool:
    if left is None or right is None:
        return _text(left) == "" and _text(right) == ""
    return bool(left == right)


def _compare(how: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda left, right: left is not None and right is not None and how(left, right)


def _divide(left: Any, right: Any) -> Any:
    if left is None or right in (None, 0):
        return None
    if isinstance(left, int) and isinstance(right, int):
        return left // right
    return left / right


def _calculate(how: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda left, right: None if left is None or right is None else how(left, right)


OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "and": lambda left, right: bool(left) and bool(right),
    "or": lambda left, right: bool(left) or bool(right),
    "==": _equal,
    "!=": lambda left, right: not _equal(left, right),
    ">=": _compare(operator.ge),
    "<=": _compare(operator.le),
    ">": _compare(operator.gt),
    "<": _compare(operator.lt),
    "contains": lambda left, right: _fold(right) in _fold(left),
    "startswith": lambda left, right: _fold(left).startswith(_fold(right)),
    "endswith": lambda left, right: _fold(left).endswith(_fold(right)),
    "!contains": lambda left, right: _fold(right) not in _fold(left),
    "!startswith": lambda left, right: not _fold(left).startswith(_fold(right)),
    "!endswith": lambda left, right: not _fold(left).endswith(_fold(right)),
    "in": lambda left, right: any(_equal(left, one) for one in right),
    "+": _calculate(operator.add),
    "-": _calculate(operator.sub),
    "*": _calculate(operator.mul),
    "/": _divide,
}


def _bin(value: Any, size: Any) -> Any:
    if isinstance(value, datetime):
        return _EPOCH + ((value - _EPOCH) // size) * size
    return value // size * size


def _to_long(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "tostring": _text,
    "isempty": lambda value: _text(value) == "",
    "isnotempty": lambda value: _text(value) != "",
    "toint": _to_long,
    "tolong": _to_long,
    "bin": _bin,
}

UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
}


def _percentile(values: Sequence[Any], percent: Any) -> Any:
    known = sorted(value for value in values if value is not None)
    return known[max(0, math.ceil(percent / 100 * len(known)) - 1)] if known else None


def _sum(values: Sequence[Any]) -> Any:
    return sum(value for value in values if value is not None)


AGGREGATES: Mapping[str, Callable[..., Any]] = {
    "count": len,
    "countif": lambda tests: sum(1 for test in tests if test),
    "sum": _sum,
    "sumif": lambda values, tests: _sum([v for v, t in zip(values, tests, strict=True) if t]),
    "avg": lambda values: _sum(values) / len(values) if values else None,
    "max": lambda values: max(values, default=None),
    "min": lambda values: min(values, default=None),
    "dcount": lambda values: len({_text(value) for value in values}),
    "percentile": _percentile,
}
"""Of the values in each row of a group. `percentile` takes its second argument once."""
