"""Changes a tool's input schema so that model endpoints accept it. Entry point:
`SchemaMender.mend_top`.

The rules follow what OpenAI and Azure OpenAI refuse in a function's `parameters` ("Invalid schema
for function …"), which other endpoints copy: no `allOf`, no `oneOf`, `anyOf`, `enum` or `not` at
the top, `properties` in each object, `items` in each array, no keyword that they do not know.
`endpoint_rules.RULES_VERSION` rises when a rule changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aos.domain.json_writer import write_json
from aos.domain.tools.property_names import make_property_name

MAX_DEPTH = 24
"""Levels of a schema after its references are resolved; deeper parts accept any value."""
MAX_NODES = 5_000
"""Parts of one tool's schema; a larger schema is not offered."""
MAX_MERGES = 50_000
"""References that are followed and properties that are merged for one tool; references to
references can make exponentially many of a short schema."""
MAX_OFFERED_BYTES = 512 * 1024
"""Bytes of the values of one tool's schema after its references are resolved."""
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
"""Keywords without meaning for a model; their removal is not noted."""


class CannotMend(Exception):
    """The schema cannot be offered; the text says why."""


@dataclass(slots=True)
class SchemaBudget:
    """How much is left for a schema, or for several together: parts, merges and bytes."""

    nodes: int = MAX_NODES
    merges: int = MAX_MERGES
    bytes: int = MAX_OFFERED_BYTES


class SchemaMender:
    """Mends one schema; `changes` names the keywords that were changed.

    `renamed` has the server's name of each property that is offered under another.
    """

    def __init__(self, schema: object, budget: SchemaBudget | None = None) -> None:
        self._root = schema
        self._left = budget or SchemaBudget()
        self.changes: set[str] = set()
        self.renamed: dict[str, str] = {}

    def mend_top(self) -> dict[str, Any]:
        """The parameters of a function: an object with properties, and no choice at the top."""
        raw = self._root
        if not isinstance(raw, Mapping):
            self.changes.add("there was none")
            return {"type": "object", "properties": {}}
        raw = self._merge_all_of(self._follow_reference(raw, ()), ())
        for choice in ("anyOf", "oneOf"):
            if choice in raw:
                raw = self._merge_choice(raw, choice)
        raw = {k: v for k, v in raw.items() if k not in ("enum", "not", "const")}
        kind = raw.get("type", "object")
        kinds = kind if isinstance(kind, list) else [kind]
        if "object" not in [_MISSPELLED.get(k, k) for k in kinds if isinstance(k, str)] and (
            kind is not None
        ):
            raise CannotMend(f"its input schema describes {kind!r}, not an object")
        if kind != "object":
            self.changes.add("type")
        return self._mend({**raw, "type": "object"}, (), 0)

    def _mend(self, raw: Mapping[str, Any], seen: tuple[str, ...], depth: int) -> dict[str, Any]:
        self._left.nodes -= 1
        if self._left.nodes < 0:
            raise CannotMend(f"its input schema has more than {MAX_NODES:,} parts")
        if depth > MAX_DEPTH:
            self.changes.add("depth")
            return {}
        reference = raw.get("$ref")
        if isinstance(reference, str) and reference in seen:
            self.changes.add("recursion")
            return {}
        inner = (*seen, reference) if isinstance(reference, str) else seen
        known = self._merge_all_of(self._follow_reference(raw, seen), inner)
        out: dict[str, Any] = {}
        for name, value in known.items():
            if name not in _KEPT:
                if name not in _SILENT:
                    self.changes.add(name)
                continue
            kept = self._mend_keyword(name, value, inner, depth)
            if kept is not None or name in _ANY_VALUE:
                out[name] = kept
            elif value is not None:
                self.changes.add(name)
        return self._complete(out, known, inner, depth)

    def _mend_keyword(self, name: str, value: Any, seen: tuple[str, ...], depth: int) -> Any:
        """The keyword's value as endpoints accept it, or None to leave the keyword out."""
        if name in _SCHEMAS:
            return self._mend_inner(name, value, seen, depth)
        self._count_bytes(value)
        if name in _ANY_VALUE:
            return value
        if name in _TEXTS:
            return value if isinstance(value, str) else None
        if name in _LISTS:
            return list(value) if _is_filled_list(value) else None
        if name in _NUMBERS:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            return value if is_number else None
        if name == "type":
            return self._mend_type(value)
        if name == "required":
            return list(dict.fromkeys(_list_texts(value))) or None
        return value if isinstance(value, bool) else None  # uniqueItems

    def _mend_inner(self, name: str, value: Any, seen: tuple[str, ...], depth: int) -> Any:
        """The value of a keyword that holds schemas, mended."""
        match name:
            case "properties":
                return self._mend_properties(value, seen, depth)
            case "items":
                return self._mend_items(value, seen, depth)
            case "additionalProperties":
                return value if isinstance(value, bool) else self._mend_any(value, seen, depth)
            case _:
                return (
                    [self._mend_any(v, seen, depth) for v in value]
                    if _is_filled_list(value)
                    else None
                )

    def _mend_properties(self, value: object, seen: tuple[str, ...], depth: int) -> Any:
        if not isinstance(value, Mapping):
            return None
        self._count_bytes(list(value))
        return {
            self._offer_name(str(name)): self._mend_any(schema, seen, depth)
            for name, schema in value.items()
            if schema is not False
        }

    def _offer_name(self, name: str) -> str:
        """The property's name, or one that all endpoints take; its hash keeps it apart."""
        offered = make_property_name(name)
        if offered != name:
            self.renamed[offered] = name
        return offered

    def _mend_items(self, value: object, seen: tuple[str, ...], depth: int) -> Any:
        if isinstance(value, list):
            self.changes.add("items")
            branches = [self._mend_any(v, seen, depth) for v in value]
            return {"anyOf": branches} if len(branches) > 1 else (branches or [{}])[0]
        return self._mend_any(value, seen, depth)

    def _mend_any(self, value: object, seen: tuple[str, ...], depth: int) -> dict[str, Any]:
        """A schema at any place, mended; a value that is not a schema accepts any value."""
        if isinstance(value, Mapping):
            return self._mend(value, seen, depth + 1)
        if value is not True:
            self.changes.add("values that are not schemas")
        return {}

    def _mend_type(self, value: object) -> Any:
        given = value if isinstance(value, list) else [value]
        named = [_MISSPELLED.get(v, v) for v in given if isinstance(v, str)]
        known = list(dict.fromkeys(v for v in named if v in _TYPES))
        if known != given:
            self.changes.add("type")
        if not known:
            return None
        return known if isinstance(value, list) and len(known) > 1 else known[0]

    def _complete(
        self, out: dict[str, Any], known: Mapping[str, Any], seen: tuple[str, ...], depth: int
    ) -> dict[str, Any]:
        """Add what an object and an array must have; remove missing names from `required`."""
        kinds = out.get("type")
        is_a = kinds if isinstance(kinds, list) else [kinds]
        if "object" in is_a and "properties" not in out:
            self.changes.add("properties")
            out["properties"] = {}
        if "array" in is_a and "items" not in out:
            self.changes.add("items")
            first = known.get("prefixItems")
            out["items"] = self._mend_items(first, seen, depth) if isinstance(first, list) else {}
        if "required" in out:
            named = [make_property_name(name) for name in out["required"]]
            there = [name for name in named if name in out.get("properties", {})]
            if len(there) < len(named):
                self.changes.add("required")
            out["required"] = there
            if not there:
                del out["required"]
        return out

    def _follow_reference(self, raw: Mapping[str, Any], seen: tuple[str, ...]) -> Mapping[str, Any]:
        """The schema with its `$ref` resolved; its own keywords override the target's."""
        for _ in range(MAX_DEPTH):
            reference = raw.get("$ref")
            if reference is None:
                return raw
            self._count_merges(1)
            rest = {name: value for name, value in raw.items() if name != "$ref"}
            target = self._find_target(reference) if reference not in seen else None
            if target is None:
                self.changes.add("$ref")
                return rest
            seen = (*seen, reference)
            raw = {**target, **rest}
        self.changes.add("$ref")
        return {name: value for name, value in raw.items() if name != "$ref"}

    def _find_target(self, reference: object) -> Mapping[str, Any] | None:
        """The part of this schema that `#/…` points at."""
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

    def _merge_all_of(self, raw: Mapping[str, Any], seen: tuple[str, ...]) -> Mapping[str, Any]:
        """The schema with the parts of its `allOf` merged into it."""
        if "allOf" not in raw:
            return raw
        parts = raw["allOf"] if isinstance(raw["allOf"], list) else []
        rest = {name: value for name, value in raw.items() if name != "allOf"}
        self.changes.add("allOf")
        if len(seen) > MAX_DEPTH:
            return rest
        for part in parts:
            if isinstance(part, Mapping):
                followed = self._follow_reference(part, seen)
                deeper = (*seen, str(part.get("$ref")))
                self._count_merges(1 + len(_as_object(rest.get("properties"))))
                rest = _join_schemas(self._merge_all_of(followed, deeper), rest, both=True)
        return rest

    def _merge_choice(self, raw: Mapping[str, Any], choice: str) -> Mapping[str, Any]:
        """Merge a choice at the top into one object; required is what every branch requires.

        Raises CannotMend when none of its branches is an object.
        """
        self.changes.add(choice)
        listed = raw[choice] if isinstance(raw[choice], list) else []
        rest: Mapping[str, Any] = {n: v for n, v in raw.items() if n != choice}
        branches = [
            self._merge_all_of(self._follow_reference(branch, ()), ())
            for branch in listed
            if isinstance(branch, Mapping)
        ]
        objects = [b for b in branches if b.get("type", "object") == "object"]
        if branches and not objects and "properties" not in rest:
            raise CannotMend("its input schema is a choice in which no branch is an object")
        merged: Mapping[str, Any] = objects[0] if objects else {}
        for branch in objects[1:]:
            self._count_merges(1 + len(_as_object(merged.get("properties"))))
            merged = _join_schemas(branch, merged, both=False)
        return _join_schemas(merged, rest, both=True)

    def _count_merges(self, more: int) -> None:
        self._left.merges -= more
        if self._left.merges < 0:
            raise CannotMend("its input schema refers to too many parts")

    def _count_bytes(self, value: object) -> None:
        self._left.bytes -= len(value) if isinstance(value, str) else len(write_json(value))
        if self._left.bytes < 0:
            raise CannotMend(
                f"its input schema has more than {MAX_OFFERED_BYTES:,} bytes with the parts that"
                " it refers to"
            )


def _join_schemas(one: Mapping[str, Any], two: Mapping[str, Any], *, both: bool) -> dict[str, Any]:
    """Merge two object schemas; `both`: a value must match both of them, else one of them.

    `two` overrides `one`. Required is what either requires if `both`, else what both require.
    """
    joined = {**one, **two}
    properties = {**_as_object(one.get("properties")), **_as_object(two.get("properties"))}
    if properties:
        joined["properties"] = properties
    first, second = _list_texts(one.get("required")), _list_texts(two.get("required"))
    in_first, in_second = frozenset(first), frozenset(second)
    required = (
        [*first, *(name for name in second if name not in in_first)]
        if both
        else [name for name in first if name in in_second]
    )
    joined.pop("required", None)
    return {**joined, "required": required} if required else joined


def _as_object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list_texts(value: object) -> list[str]:
    return [v for v in value if isinstance(v, str)] if isinstance(value, list) else []


def _is_filled_list(value: object) -> bool:
    return isinstance(value, list) and bool(value)
