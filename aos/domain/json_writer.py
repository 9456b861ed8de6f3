"""Writes JSON that every reader accepts. Entry points: `write_json`, `known_json`.

Python writes `Infinity` and `NaN` for numbers, and integers of any length. Node and most other
readers refuse the first or read the second as infinite. Such a number is written as a text.
`known_json` converts a value in the same way without writing it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

_LONGEST_SHOWN = 40


def write_json(
    value: Any,
    *,
    ensure_ascii: bool = True,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
    default: Callable[[Any], Any] | None = None,
) -> str:
    """Write the value as JSON. The options are those of `json.dumps`."""

    options: dict[str, Any] = {
        "allow_nan": False,
        "ensure_ascii": ensure_ascii,
        "indent": indent,
        "separators": separators,
        "sort_keys": sort_keys,
        "default": default,
    }
    try:
        return json.dumps(value, **options)
    except ValueError:  # a number that JSON does not allow, or an integer of thousands of digits
        return json.dumps(known_json(value), **options)


def known_json(value: Any) -> Any:
    """Convert numbers that JSON does not allow, and lone surrogates, to texts."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {known_json(name): known_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [known_json(item) for item in value]
    if isinstance(value, int | float) and not is_known_number(value):
        return _write_number(value)
    return value


def is_known_number(value: float) -> bool:
    """Whether every reader of JSON can hold this number."""
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer larger than any double
        return False


def _write_number(value: float) -> str:
    if isinstance(value, float):
        return json.dumps(value)  # Infinity, -Infinity or NaN
    try:
        text = str(value)
    except ValueError:  # Python does not write integers of more than 4,300 digits
        return "a number with thousands of digits"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}… ({len(text)} digits)"
