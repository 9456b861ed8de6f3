"""Reads JSON that AOS accepts, and says what is wrong with the rest. Entry point: `parse_json`.

Stricter than `json.loads`: UTF-8 only (a BOM is tolerated), no duplicate keys, no NaN or
Infinity, no control characters but tab and newlines, no lone surrogates, and bounds on size and
nesting. One error at a time, with its place and what to write instead. Cards, HTTP bodies and
queue bodies are all read here.
"""

from __future__ import annotations

import json
import re
from typing import Any, TypeAlias

from aos.domain.json_writer import is_known_number

ROOT = "$"
"""The path that means the whole text."""

MAX_DEPTH = 32
MAX_VALUES = 50_000
"""Of all objects and lists of one text together: more would keep the whole app busy."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
# A string may lack its end, so that no character is looked at twice: the time is linear.
_TOKENS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{},]', re.DOTALL)
_LONGEST_NAME = 100
"""In characters, of a member's name as an error tells it."""


class JsonTextError(ValueError):
    """The bytes are not acceptable JSON: `path` (`$` is the whole), `message`, `hint`."""

    def __init__(self, message: str, *, hint: str, path: str = ROOT) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.path = path


class _Object(list[tuple[str, Any]]):
    """A JSON object as it was written, duplicates included."""


class _Constant(str):
    """NaN, Infinity or -Infinity: Python reads them, JSON does not know them."""

    __slots__ = ()


def parse_json(
    body: bytes,
    *,
    max_bytes: int,
    max_depth: int = MAX_DEPTH,
    allow_control_characters: bool = False,
) -> Any:
    """The value that `body` says, as dicts, lists, strings, numbers, booleans and None.

    Raises JsonTextError. `allow_control_characters` is for texts of people (messages), where
    an escaped control character is odd but harmless.
    """
    if len(body) > max_bytes:
        raise JsonTextError(
            f"the text has {len(body):,} bytes, the limit is {max_bytes:,}",
            hint=f"make it {max_bytes:,} bytes or smaller",
        )
    text = _decode(body)
    if not text.strip():
        raise JsonTextError("the text is empty", hint='write a JSON object, beginning with "{"')
    _check_shape(text, max_depth)
    raw = _load(text)
    return _convert(raw, (), allow_control_characters)


def is_within_depth(text: str, max_depth: int = MAX_DEPTH) -> bool:
    """Whether the JSON text is nested no deeper than allowed and has at most MAX_VALUES values."""
    try:
        _check_shape(text, max_depth)
    except JsonTextError:
        return False
    return True


def join_path(parent: str, key: str | int) -> str:
    """The path of a member: `limits.max_turns`, `mcp_tools[0].server`."""
    if isinstance(key, int):
        return f"{parent}[{key}]"
    return key if parent == ROOT else f"{parent}.{key}"


def _decode(body: bytes) -> str:
    if body.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in body[:4]:
        raise JsonTextError("the text is UTF-16 or UTF-32, not UTF-8", hint="save it as UTF-8")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise JsonTextError(
            f"line {line}: byte 0x{body[error.start]:02x} is not UTF-8", hint="save it as UTF-8"
        ) from error


def _check_shape(text: str, max_depth: int) -> None:
    """Refuse a text that is nested too deeply or has too many values.

    A count of all brackets and commas is enough for most texts.
    """
    if text.count("[") + text.count("{") <= max_depth and text.count(",") <= MAX_VALUES:
        return
    depth = values = 0
    for match in _TOKENS.finditer(text):
        token = match[0]
        if token in "[{":
            depth += 1
            if depth > max_depth:
                raise JsonTextError(
                    f"{_place(text, match.start())}: nested deeper than {max_depth} levels",
                    hint="flatten it",
                )
        elif token in "]}":
            depth -= 1
        elif token == ",":
            values += 1
            if values > MAX_VALUES:
                raise JsonTextError(
                    f"more than {MAX_VALUES:,} values in objects and lists", hint="send fewer"
                )


def _load(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_Object, parse_constant=_Constant)
    except json.JSONDecodeError as error:
        message, hint = _explain(error)
        raise JsonTextError(f"{_place(text, error.pos)}: {message}", hint=hint) from error
    except ValueError as error:  # the only other one: an integer of thousands of digits
        raise JsonTextError("a number has too many digits", hint="write a smaller one") from error


def _place(text: str, position: int) -> str:
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    return f"line {line}, column {column}"


def _explain(error: json.JSONDecodeError) -> tuple[str, str]:
    """Return the message and the hint for a person, from the reader's error and the character at
    which it stopped."""
    rest = error.doc[error.pos :].lstrip()
    before = error.doc[: error.pos].rstrip()
    if error.msg.startswith("Invalid control character"):
        return "a control character inside a string", r"write \n for a line break, \t for a tab"
    if error.msg.startswith("Invalid \\"):
        return "not a JSON escape", r"write \\ for a backslash"
    if error.msg.startswith("Unterminated string"):
        return "this string has no end", 'close it with "'
    if error.msg.startswith("Extra data"):
        return "text after the end of the JSON value", "keep one JSON object and remove the rest"
    if not rest:
        return "the text ends too early", 'close what is open with "}" or "]"'
    if rest[0] in "}]" and before.endswith(","):
        return "a comma before the closing bracket", "remove the comma"
    return _explain_character(rest[0], error.msg)


def _explain_character(character: str, reason: str) -> tuple[str, str]:
    if character == "'":
        return "a single quote", 'put names and strings in double quotes: "…"'
    if character in "/#":
        return "a comment", "JSON has no comments: remove it"
    if character in "TFN":
        return "not a JSON value", "write true, false or null in lower case"
    if reason.startswith("Expecting ',' delimiter"):
        return "a comma is missing before this", "put a comma between the members"
    if reason.startswith("Expecting ':' delimiter"):
        return "a colon is missing before this", 'write "name": value'
    if reason.startswith("Expecting property name"):
        return "not a name in double quotes", 'put names in double quotes: "name": value'
    return f"{character!r} does not begin a JSON value", "write a string, number, object or list"


_Way: TypeAlias = tuple["_Way", str | int] | tuple[()]
"""The steps to a member, last first, so that a step costs the same at any depth."""


def _convert(value: Any, way: _Way, allow_control: bool) -> Any:
    """Return the value without `_Object`s. Checks each string and number."""
    if isinstance(value, _Object):
        return _convert_object(value, way, allow_control)
    if isinstance(value, list):
        return [_convert(v, (way, i), allow_control) for i, v in enumerate(value)]
    if isinstance(value, _Constant):
        hint = "write a number, or null if there is none"
        raise JsonTextError(f"{value} is not JSON", hint=hint, path=_write_path(way))
    if isinstance(value, str):
        _check_string(value, way, allow_control)
    elif isinstance(value, int | float) and not is_known_number(value):
        hint = "write a smaller one"
        raise JsonTextError("the number is too large", hint=hint, path=_write_path(way))
    return value


def _convert_object(members: _Object, way: _Way, allow_control: bool) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, value in members:
        _check_string(key, way, allow_control)
        inner = (way, key)
        if key in plain:
            raise JsonTextError(
                f"the name {_shorten(key)!r} appears twice in one object",
                hint="keep one of them",
                path=_write_path(inner),
            )
        plain[key] = _convert(value, inner, allow_control)
    return plain


def _check_string(text: str, way: _Way, allow_control: bool) -> None:
    if text.isascii() and text.isprintable():
        return
    if _SURROGATE.search(text):
        raise JsonTextError(
            "half of a surrogate pair (\\ud800 to \\udfff)",
            hint="write the character itself, in UTF-8",
            path=_write_path(way),
        )
    if allow_control:
        return
    if control := _CONTROL.search(text):
        raise JsonTextError(
            f"the control character U+{ord(control[0]):04X}",
            hint="remove it; of these only tab and newlines are allowed",
            path=_write_path(way),
        )


def _write_path(way: _Way) -> str:
    steps: list[str | int] = []
    while way:
        way, step = way
        steps.append(_shorten(step) if isinstance(step, str) else step)
    path = ROOT
    for step in reversed(steps):
        path = join_path(path, step)
    return path


def _shorten(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
