"""Turns pydantic's errors into problems that the author of a card understands. Entry point:
`describe_errors`.

Each `CardProblem` has a path such as `limits.max_turns` or `mcp_tools[0]`, what is wrong there, and
what to write instead. Values of `env` and `headers` are never repeated, because they may be
secrets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pydantic import ValidationError

from aos.domain.cards.assessment import MAX_PROBLEMS, CardProblem, find_nearest
from aos.domain.cards.identity import ID_RULE, SECRET_FIELDS, CardKind
from aos.domain.cards.schema import KNOWN_FIELDS
from aos.domain.conversation_ids import CONVERSATION_RULE
from aos.domain.json_reader import ROOT, join_path
from aos.domain.json_writer import write_json

Location = tuple[int | str, ...]
Text = tuple[str, str]

_PATTERN_RULES = {
    "agent_id": ID_RULE,
    "server_id": ID_RULE,
    "server": f'a server id ({ID_RULE}), or "<server>/<tool>"',
    "team": f"agent ids ({ID_RULE})",
    "conversation": f'"new", or {CONVERSATION_RULE}',
    "tools": "tool names as the server writes them, each 1 to 128 characters without line breaks",
    "command": "one program's name; put its arguments into args",
}
_TYPES = {
    "string_type": ("a string", 'put it in double quotes: "…"'),
    "bool_type": ("true or false", "write true or false, without quotes"),
    "int_type": ("a whole number", "write digits only, without quotes"),
    "list_type": ("a list", "write a list: […]"),
    "dict_type": ("an object", "write an object: {…}"),
    "model_type": ("an object", "write an object: {…}"),
}


def describe_errors(error: ValidationError, raw: Any, kind: CardKind) -> list[CardProblem]:
    """Return one problem for each of the first errors, in the order of the fields."""
    found = error.errors(include_url=False)[:MAX_PROBLEMS]
    problems: list[CardProblem] = []
    for item in found:
        location, reason = item["loc"], item["type"]
        context: dict[str, Any] = item.get("ctx", {})
        message, hint = _write_text(reason, location, item.get("input"), context, kind)
        path = _find_path(location, raw)
        if reason == "refused_parameter":
            path = join_path(path, context["name"])
        problems.append(CardProblem(path=path, message=message, hint=hint))
    return problems


def _write_text(reason: str, location: Location, given: Any, context: Any, kind: CardKind) -> Text:
    name = str(location[-1]) if location else ROOT
    if reason in _TYPES:
        wanted, hint = _TYPES[reason]
        secret = bool(location) and location[0] in SECRET_FIELDS
        return f"must be {wanted}, not {_describe(given, secret=secret)}", hint
    if reason == "missing":
        return f"{name} is missing", f'add "{name}"'
    if reason == "extra_forbidden":
        return _describe_unknown_field(location, kind)
    if reason == "literal_error":
        return _describe_unknown_word(name, given, str(context.get("expected", "")))
    if reason == "string_pattern_mismatch":
        field = next((str(part) for part in reversed(location) if isinstance(part, str)), name)
        rule = _PATTERN_RULES.get(field, str(context.get("pattern")))
        return f"{_describe(given)} is not allowed here", f"write {rule}"
    if reason in _BOUNDS:
        return _BOUNDS[reason](context)
    return _describe_custom(reason, name, context)


def _describe_unknown_field(location: Location, kind: CardKind) -> Text:
    name = str(location[-1])
    parent = tuple(part for part in location[:-1] if isinstance(part, str))
    known = KNOWN_FIELDS[kind].get(parent, ())
    message = f"unknown field {name!r}"
    if owners := _name_owners(name, kind):
        return f"{message}; it is a field of {owners}", "move it there, or remove it"
    near = find_nearest(name, known)
    if near is None:
        return message, f"remove it; the known fields here are: {', '.join(known)}"
    return f"{message}; the nearest known field is {near!r}", f"write {near!r}, or remove it"


def _name_owners(name: str, kind: CardKind) -> str:
    """Name the objects of the card that have a field of this name."""
    paths = [path for path, fields in KNOWN_FIELDS[kind].items() if name in fields]
    return " and ".join(".".join(path) or "the card itself" for path in paths)


def _describe_unknown_word(name: str, given: Any, expected: str) -> Text:
    known = [word for word in expected.replace(" or ", ", ").split(", ") if word]
    words = [word.strip("'") for word in known]
    hint = f"write one of: {', '.join(words)}"
    if not isinstance(given, str):
        return f"must be one of these words, not {_describe(given)}", hint
    near = find_nearest(given, words, cutoff=0.0)
    return f"unknown {name} {given[:60]!r}; the nearest known is {near!r}", hint


_BOUNDS: dict[str, Callable[[dict[str, Any]], Text]] = {
    "greater_than_equal": lambda c: ("the number is too small", f"write {c['ge']} or more"),
    "less_than_equal": lambda c: ("the number is too large", f"write {c['le']} or less"),
    "string_too_short": lambda c: ("must not be empty", "write at least one character"),
    "string_too_long": lambda c: ("the text is too long", f"at most {c['max_length']} characters"),
    "too_short": lambda c: ("the list is empty", "write at least one entry, or leave it out"),
    "too_long": lambda c: ("too many entries", f"write at most {c['max_length']}"),
}


def _describe_custom(reason: str, name: str, context: dict[str, Any]) -> Text:
    match reason:
        case "blank":
            return f"{name} must not be empty", "write one sentence"
        case "cron":
            return str(context["problem"]), "write five fields, such as 0 9 * * 1-5"
        case "time_zone":
            return f"{context['name']} is not a time zone", "write an IANA name like Europe/Berlin"
        case "refused_parameter":
            names = context["refused"]
            return f"{context['name']!r} is set by AOS itself", f"remove it; not allowed: {names}"
        case "output_schema":
            return (
                f"is not a usable JSON Schema: {context['fault']}",
                'write a schema of an object: {"type": "object", "properties": {…}}',
            )
        case "repeatable":
            return "must be true, false or a list of tool names", 'write true, or ["tool"]'
        case _:
            return (
                f"the value is not allowed here ({reason})",
                "see /api/schemas for the schema of cards",
            )


def _describe(value: Any, *, secret: bool = False) -> str:
    match value:
        case None:
            return "null"
        case dict():
            return "an object"
        case list():
            return "a list"
        case str() if secret:
            return "a string"
        case str():
            return f"the string {write_json(value[:60], ensure_ascii=False)}"
        case bool() if not secret:
            return write_json(value)
        case int() | float() if not secret:
            return f"the number {value!r}"
        case _:
            return "a number or a boolean"


def _find_path(location: Sequence[int | str], raw: Any) -> str:
    """Return the path as the author wrote it: `mcp_tools[0]`, even where the model has an object
    there."""
    path, here = ROOT, raw
    for part in location:
        if isinstance(here, dict):
            path, here = join_path(path, part), here.get(str(part))
        elif isinstance(here, list) and isinstance(part, int):
            path, here = join_path(path, part), here[part] if part < len(here) else None
        else:
            break
    return path
