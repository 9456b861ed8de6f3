"""Makes of a listed tool what model endpoints accept. Entry point: `fit_tool`.

Endpoints refuse a whole request because of one tool: a schema that is not an object with
properties, a keyword that they do not know, a description that is too long. What can be mended is
mended and noted, a tool that cannot is left out by itself. The rules follow what OpenAI and Azure
OpenAI refuse in a function's `parameters` ("Invalid schema for function …"), which the other
endpoints copy: no `allOf`, no `oneOf`, `anyOf`, `enum` or `not` at the top, `properties` in each
object, `items` in each array.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aos.domain.codec import OMITTED

RULES_VERSION = 1
"""Raise it when a rule changes: every server's tools are then listed anew."""
DESCRIPTION_CHARACTERS = 1024
"""OpenAI's bound of a function's description."""
MAX_DEPTH = 24
"""Of a schema once its references are written out; what is deeper takes any value."""
MAX_NODES = 5_000
"""Of one tool's schema: a schema that grows beyond it is not offered."""
_NUMBERS = frozenset(
    {
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
    }
)
_TEXTS = frozenset({"description", "title", "format", "pattern"})
_ANY_VALUE = frozenset({"default", "const"})
_LISTS = frozenset({"enum", "examples"})
_SCHEMAS = frozenset({"properties", "items", "anyOf", "oneOf", "additionalProperties"})
_KEPT = _NUMBERS | _TEXTS | _ANY_VALUE | _LISTS | _SCHEMAS | {"type", "required", "uniqueItems"}
_TYPES = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
_MISSPELLED = {
    "str": "string",
    "text": "string",
    "int": "integer",
    "long": "integer",
    "float": "number",
    "double": "number",
    "bool": "boolean",
    "dict": "object",
    "map": "object",
    "list": "array",
    "tuple": "array",
}
_SILENT = frozenset({"$schema", "$id", "$comment", "$defs", "definitions", "strict"})
"""Keywords that say nothing to a model: their absence is not noted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedTool:
    """What is offered of a tool: `notes` say what was changed, `left_out` why it is not offered."""

    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    left_out: str | None = field(default=None, metadata=OMITTED)


def fit_tool(
    description: str, schema: object, *, max_description: int = DESCRIPTION_CHARACTERS
) -> FittedTool:
    """The tool as endpoints accept it, with a note of each thing that was changed."""
    short = cut_description(description, max_description)
    notes = []
    if short != description:
        notes.append(
            f"the description was cut from {len(description):,} to {len(short):,} characters"
        )
    mending = _Mending(schema)
    try:
        parameters = mending.top()
    except _CannotMend as error:
        return FittedTool(description=short, notes=tuple(notes), left_out=str(error))
    if mending.changes:
        notes.append("the input schema was simplified: " + ", ".join(sorted(mending.changes)))
    return FittedTool(description=short, parameters=parameters, notes=tuple(notes))


def cut_description(text: str, limit: int) -> str:
    """At most `limit` characters, ending with a sentence where there is one to end with."""
    if len(text) <= limit:
        return text
    head = text[:limit]
    for ends in (("\n", ". ", "! ", "? ", "。", ".\n"), (" ",)):
        found = max((head.rfind(end) + len(end.rstrip()) for end in ends if end in head), default=0)
        if found >= limit // 2:
            return head[:found].rstrip()
    return head.rstrip()


class _CannotMend(Exception):
    """The schema cannot be offered; the text says why."""


class _Mending:
    """One schema on its way to what endpoints accept; `changes` names what was changed."""

    def __init__(self, schema: object) -> None:
        self._root = schema
        self._nodes = 0
        self.changes: set[str] = set()

    def top(self) -> dict[str, Any]:
        """The parameters of a function: an object with properties, and no choice at the top."""
        raw = self._root
        if not isinstance(raw, Mapping):
            self.changes.add("there was none")
            return {"type": "object", "properties": {}}
        raw = self._without_all_of(self._followed(raw, ()), ())
        for choice in ("anyOf", "oneOf"):
            if choice in raw:
                raw = self._merged_choice(raw, choice)
        raw = {k: v for k, v in raw.items() if k not in ("enum", "not", "const")}
        kind = raw.get("type", "object")
        kinds = kind if isinstance(kind, list) else [kind]
        if "object" not in [_MISSPELLED.get(k, k) for k in kinds if isinstance(k, str)] and (
            kind is not None
        ):
            raise _CannotMend(f"its input schema describes {kind!r}, not an object")
        if kind != "object":
            self.changes.add("type")
        return self._mended({**raw, "type": "object"}, (), 0)

    def _mended(self, raw: Mapping[str, Any], seen: tuple[str, ...], depth: int) -> dict[str, Any]:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _CannotMend(f"its input schema has more than {MAX_NODES:,} parts")
        if depth > MAX_DEPTH:
            self.changes.add("depth")
            return {}
        reference = raw.get("$ref")
        if isinstance(reference, str) and reference in seen:
            self.changes.add("recursion")
            return {}
        inner = (*seen, reference) if isinstance(reference, str) else seen
        known = self._without_all_of(self._followed(raw, seen), inner)
        out: dict[str, Any] = {}
        for name, value in known.items():
            if name not in _KEPT:
                if name not in _SILENT:
                    self.changes.add(name)
                continue
            kept = self._keyword(name, value, inner, depth)
            if kept is not None or name in _ANY_VALUE:
                out[name] = kept
            elif value is not None:
                self.changes.add(name)
        return self._completed(out, known, inner, depth)

    def _keyword(self, name: str, value: Any, seen: tuple[str, ...], depth: int) -> Any:
        """The keyword's value as endpoints accept it, or None to leave the keyword out."""
        if name in _SCHEMAS:
            return self._inner(name, value, seen, depth)
        if name in _ANY_VALUE:
            return value
        if name in _TEXTS:
            return value if isinstance(value, str) else None
        if name in _LISTS:
            return list(value) if _full(value) else None
        if name in _NUMBERS:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            return value if is_number else None
        if name == "type":
            return self._type(value)
        if name == "required":
            return list(dict.fromkeys(_texts(value))) or None
        return value if isinstance(value, bool) else None  # uniqueItems

    def _inner(self, name: str, value: Any, seen: tuple[str, ...], depth: int) -> Any:
        """A keyword that holds schemas."""
        match name:
            case "properties":
                return self._properties(value, seen, depth)
            case "items":
                return self._items(value, seen, depth)
            case "additionalProperties":
                return value if isinstance(value, bool) else self._any(value, seen, depth)
            case _:
                return [self._any(v, seen, depth) for v in value] if _full(value) else None

    def _properties(self, value: object, seen: tuple[str, ...], depth: int) -> Any:
        if not isinstance(value, Mapping):
            return None
        return {
            str(name): self._any(schema, seen, depth)
            for name, schema in value.items()
            if schema is not False
        }

    def _items(self, value: object, seen: tuple[str, ...], depth: int) -> Any:
        if isinstance(value, list):
            self.changes.add("items")
            branches = [self._any(v, seen, depth) for v in value]
            return {"anyOf": branches} if len(branches) > 1 else (branches or [{}])[0]
        return self._any(value, seen, depth)

    def _any(self, value: object, seen: tuple[str, ...], depth: int) -> dict[str, Any]:
        """A schema at any place; what is no schema takes any value."""
        if isinstance(value, Mapping):
            return self._mended(value, seen, depth + 1)
        if value is not True:
            self.changes.add("values that are not schemas")
        return {}

    def _type(self, value: object) -> Any:
        given = value if isinstance(value, list) else [value]
        named = [_MISSPELLED.get(v, v) for v in given if isinstance(v, str)]
        known = list(dict.fromkeys(v for v in named if v in _TYPES))
        if known != given:
            self.changes.add("type")
        if not known:
            return None
        return known if isinstance(value, list) and len(known) > 1 else known[0]

    def _completed(
        self, out: dict[str, Any], known: Mapping[str, Any], seen: tuple[str, ...], depth: int
    ) -> dict[str, Any]:
        """What an object and an array must have, and `required` for what is there alone."""
        kinds = out.get("type")
        is_a = kinds if isinstance(kinds, list) else [kinds]
        if "object" in is_a and "properties" not in out:
            self.changes.add("properties")
            out["properties"] = {}
        if "array" in is_a and "items" not in out:
            self.changes.add("items")
            first = known.get("prefixItems")
            out["items"] = self._items(first, seen, depth) if isinstance(first, list) else {}
        if "required" in out:
            there = [name for name in out["required"] if name in out.get("properties", {})]
            if there != out["required"]:
                self.changes.add("required")
            out["required"] = there
            if not there:
                del out["required"]
        return out

    def _followed(self, raw: Mapping[str, Any], seen: tuple[str, ...]) -> Mapping[str, Any]:
        """The schema with what its `$ref` stands for written out; its own words win."""
        for _ in range(MAX_DEPTH):
            reference = raw.get("$ref")
            if reference is None:
                return raw
            rest = {name: value for name, value in raw.items() if name != "$ref"}
            target = self._found(reference) if reference not in seen else None
            if target is None:
                self.changes.add("$ref")
                return rest
            seen = (*seen, reference)
            raw = {**target, **rest}
        self.changes.add("$ref")
        return {name: value for name, value in raw.items() if name != "$ref"}

    def _found(self, reference: object) -> Mapping[str, Any] | None:
        """What `#/…` points at in this schema."""
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        place: Any = self._root
        for part in reference[1:].split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(place, list) and name.isdecimal() and int(name) < len(place):
                place = place[int(name)]
            elif isinstance(place, Mapping) and name in place:
                place = place[name]
            else:
                return None
        return place if isinstance(place, Mapping) else None

    def _without_all_of(self, raw: Mapping[str, Any], seen: tuple[str, ...]) -> Mapping[str, Any]:
        """The schema with the parts of its `allOf` written into it."""
        if "allOf" not in raw:
            return raw
        parts = raw["allOf"] if isinstance(raw["allOf"], list) else []
        rest = {name: value for name, value in raw.items() if name != "allOf"}
        self.changes.add("allOf")
        if len(seen) > MAX_DEPTH:
            return rest
        for part in parts:
            if isinstance(part, Mapping):
                followed = self._followed(part, seen)
                deeper = (*seen, str(part.get("$ref")))
                rest = _joined(self._without_all_of(followed, deeper), rest, both=True)
        return rest

    def _merged_choice(self, raw: Mapping[str, Any], choice: str) -> Mapping[str, Any]:
        """A choice at the top as one object: all properties, required what every branch requires.

        Without an object among its branches there is nothing to call it with.
        """
        self.changes.add(choice)
        listed = raw[choice] if isinstance(raw[choice], list) else []
        rest: Mapping[str, Any] = {n: v for n, v in raw.items() if n != choice}
        branches = [
            self._without_all_of(self._followed(branch, ()), ())
            for branch in listed
            if isinstance(branch, Mapping)
        ]
        objects = [b for b in branches if b.get("type", "object") == "object"]
        if branches and not objects and "properties" not in rest:
            raise _CannotMend("its input schema offers a choice without an object")
        merged: Mapping[str, Any] = objects[0] if objects else {}
        for branch in objects[1:]:
            merged = _joined(branch, merged, both=False)
        return _joined(merged, rest, both=True)


def _joined(one: Mapping[str, Any], two: Mapping[str, Any], *, both: bool) -> dict[str, Any]:
    """Two object schemas as one; `both`: a value meets both, else one of the two.

    What `two` says of a thing wins. Required is what either requires, or what both do.
    """
    joined = {**one, **two}
    properties = {**_object(one.get("properties")), **_object(two.get("properties"))}
    if properties:
        joined["properties"] = properties
    first, second = _texts(one.get("required")), _texts(two.get("required"))
    required = (
        [*first, *(name for name in second if name not in first)]
        if both
        else [name for name in first if name in second]
    )
    joined.pop("required", None)
    return {**joined, "required": required} if required else joined


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _texts(value: object) -> list[str]:
    return [v for v in value if isinstance(v, str)] if isinstance(value, list) else []


def _full(value: object) -> bool:
    return isinstance(value, list) and bool(value)
