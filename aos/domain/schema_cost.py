"""Counts how often parts of a JSON Schema are applied to one value. Entry point: `find_excess`.

References that are used many times, each of them by others, make a short schema one that takes
hours to check.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

MAX_APPLICATIONS = 20_000
"""How often parts of a schema may be applied, with the references followed."""
MAX_REFERENCES = 64
"""How many references may follow each other."""
_OF_NAMES = frozenset({"properties", "patternProperties", "dependentSchemas", "dependencies"})
_NOT_APPLIED = frozenset({"$defs", "definitions", "const", "enum", "default", "examples"})
_Part: TypeAlias = tuple[Any, tuple[str, ...]]


def find_excess(schema: Mapping[str, Any]) -> str | None:
    """Why the schema would take too long to check, or None."""
    targets = _find_targets(schema)
    parts: list[_Part] = [(schema, ())]
    count = 0
    while parts:
        part, references = parts.pop()
        count += 1
        if count > MAX_APPLICATIONS:
            return (
                f"its parts are applied more than {MAX_APPLICATIONS:,} times when references are"
                " followed; use each reference less often"
            )
        if len(references) > MAX_REFERENCES:
            return f"more than {MAX_REFERENCES} references follow each other"
        parts += [(inner, references) for inner in _list_inner(part)]
        for keyword in ("$ref", "$dynamicRef"):
            target = part.get(keyword)
            if isinstance(target, str) and target in targets and target not in references:
                parts.append((targets[target], (*references, target)))
    return None


def _find_targets(schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Every part of the schema, by the references that may name it."""
    targets: dict[str, Mapping[str, Any]] = {"#": schema}
    parts: list[tuple[Any, str]] = [(schema, "#")]
    while parts:
        value, pointer = parts.pop()
        if isinstance(value, Mapping):
            targets[pointer] = value
            for name in ("$id", "$anchor", "$dynamicAnchor"):
                if isinstance(value.get(name), str):
                    targets[value[name] if name == "$id" else f"#{value[name]}"] = value
            steps: Iterator[tuple[Any, Any]] = iter(value.items())
        else:
            steps = iter(enumerate(value))
        for step, inner in steps:
            if isinstance(inner, Mapping | list):
                name = str(step).replace("~", "~0").replace("/", "~1")
                parts.append((inner, f"{pointer}/{name}"))
    return targets


def _list_inner(part: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The schemas that a schema applies itself, without its references."""
    for keyword, value in part.items():
        if keyword in _NOT_APPLIED:
            continue
        inner: list[Any] = value if isinstance(value, list) else [value]
        if keyword in _OF_NAMES:
            inner = list(value.values()) if isinstance(value, Mapping) else []
        yield from (each for each in inner if isinstance(each, Mapping))
