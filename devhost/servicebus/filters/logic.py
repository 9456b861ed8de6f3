"""Evaluates SQL's operators when some values are unknown. Entry points: `and_`, `or_`,
`not_`, `compare`.

Three values: true, false and unknown, which is None. Each function here makes an evaluator, a
function of the message, out of others.
"""

from __future__ import annotations

import math
import operator
import re
import uuid
from collections.abc import Callable
from typing import Any

from devhost.servicebus.filters.view import Seen, casefold_names


class View:
    """A message under a filter; application properties are decoded when first asked for."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._own: dict[str, Any] | None = None

    def system(self, name: str) -> Any:
        """Return the standard property of this name, or None if the message has none."""
        return getattr(self._seen.properties, name)

    def own(self, name: str) -> Any:
        """Return the application property of this name, or None if the message has none."""
        if self._own is None:
            self._own = casefold_names(self._seen.application_properties)
        return self._own.get(name)


Evaluator = Callable[[View], Any]


def or_(left: Evaluator, right: Evaluator) -> Evaluator:
    """SQL's OR: true if one is, unknown if neither is and one is unknown."""

    def evaluate(view: View) -> bool | None:
        first = left(view)
        if first is True:
            return True
        second = right(view)
        if second is True:
            return True
        return False if first is False and second is False else None

    return evaluate


def and_(left: Evaluator, right: Evaluator) -> Evaluator:
    """SQL's AND: false if one is, unknown if neither is and one is unknown."""

    def evaluate(view: View) -> bool | None:
        first = left(view)
        if first is False:
            return False
        second = right(view)
        if second is False:
            return False
        return True if first is True and second is True else None

    return evaluate


def not_(inner: Evaluator) -> Evaluator:
    """SQL's NOT: unknown stays unknown."""

    def evaluate(view: View) -> bool | None:
        value = inner(view)
        return not value if isinstance(value, bool) else None

    return evaluate


def compare(comparison: Callable[[Any, Any], Any], left: Evaluator, right: Evaluator) -> Evaluator:
    """Make a comparison: unknown if a side is unknown or the sides are of different kinds."""

    def evaluate(view: View) -> bool | None:
        one, other = left(view), right(view)
        return bool(comparison(one, other)) if _find_kind(one) == _find_kind(other) != "" else None

    return evaluate


def calculate(operation: Callable[[Any, Any], Any], left: Evaluator, right: Evaluator) -> Evaluator:
    """Arithmetic of numbers, and + of texts; anything else is unknown."""

    def evaluate(view: View) -> Any:
        one, other = left(view), right(view)
        if _find_kind(one) != _find_kind(other) or _find_kind(one) not in ("number", "text"):
            return None
        if _find_kind(one) == "text":
            return one + other if operation is operator.add else None
        try:
            return operation(one, other)
        except (ArithmeticError, ValueError):
            return None

    return evaluate


def divide(one: Any, other: Any) -> Any:
    """Division; of whole numbers it drops the rest, as .NET's does."""
    if not (isinstance(one, int) and isinstance(other, int)):
        return one / other
    whole = abs(one) // abs(other)
    return whole if (one < 0) == (other < 0) else -whole


def remainder(one: Any, other: Any) -> Any:
    """The remainder of `divide`, with the sign of the dividend."""
    if not (isinstance(one, int) and isinstance(other, int)):
        return math.fmod(one, other)
    return int(one) - int(divide(one, other)) * int(other)


def _find_kind(value: Any) -> str:
    """The kind of a value; values of one kind can be compared; "": a value that cannot."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "text"
    return type(value).__name__ if isinstance(value, bytes | uuid.UUID) else ""


def compile_like(pattern: str, escape: str | None) -> str:
    """A LIKE pattern as a regular expression whose time is linear in the text.

    Each part between two `%` is matched where it is first found, and no other place is tried: if
    the rest does not follow there, it does not follow later either.
    """
    first, *others = _split_like(pattern, escape)
    if not others:
        return first
    *middle, last = others
    found = "".join(f"(?>.*?{piece})" for piece in middle if piece)
    return f"{first}{found}.*{last}"


def _split_like(pattern: str, escape: str | None) -> list[str]:
    """The parts between the `%`, each as a regular expression of fixed length."""
    pieces, characters = [""], iter(pattern)
    for character in characters:
        if character == escape:
            pieces[-1] += re.escape(next(characters, ""))
        elif character == "%":
            pieces.append("")
        else:
            pieces[-1] += "." if character == "_" else re.escape(character)
    return pieces
