"""Checks output against the JSON Schema of an agent's card. Entry points: `find_schema_fault`,
`read_output`.

A schema is read without a network: a `$ref` to another address is a fault. Patterns run on an
engine that is linear in the length of the text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from aos.domain.json_reader import is_within_depth
from aos.domain.json_writer import known_json, write_json
from aos.domain.schema_cost import find_excess

if TYPE_CHECKING:
    import jsonschema_rs

MAX_SCHEMA_BYTES = 32 * 1024
MAX_FAULT = 500
REPAIRS = 2
"""How often a model is asked to repair an output that does not fit."""


@dataclass(frozen=True, slots=True)
class OutputFault:
    """Why an output does not fit its schema, in words for the model and for people."""

    message: str


def find_schema_fault(schema: Mapping[str, Any]) -> str | None:
    """Why the schema cannot be an `output_schema`, or None."""
    size = len(write_json(schema).encode())
    if size > MAX_SCHEMA_BYTES:
        return f"it has {size:,} bytes, the limit is {MAX_SCHEMA_BYTES:,}"
    if schema.get("type") != "object":
        return 'its "type" is not "object"'
    excess = find_excess(schema)
    if excess is not None:
        return excess
    import jsonschema_rs

    try:
        _make_validator(write_json(schema, sort_keys=True))
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        return str(getattr(error, "message", error))[:MAX_FAULT]
    return None


def read_output(text: str, schema: Mapping[str, Any]) -> dict[str, Any] | OutputFault:
    """The object in a model's answer; an answer in a code fence is read too."""
    import jsonschema_rs

    body = _strip_fence(text)
    if not is_within_depth(body):
        return OutputFault("the answer is nested too deeply")
    try:
        value = known_json(json.loads(body))
    except (ValueError, RecursionError) as error:
        return OutputFault(f"the answer is not JSON: {error}"[:MAX_FAULT])
    try:
        _make_validator(write_json(schema, sort_keys=True)).validate(value)
    except jsonschema_rs.ValidationError as error:
        place = "/".join(str(part) for part in error.instance_path) or "the answer"
        return OutputFault(f"{place}: {error.message}"[:MAX_FAULT])
    if not isinstance(value, dict):  # not reached while a schema's type is an object
        return OutputFault("the answer is not a JSON object")
    return value


def describe_schema(schema: Mapping[str, Any]) -> str:
    """What the system prompt says of the schema."""
    return (
        "Answer with one JSON object and nothing else. It must fit this JSON Schema:\n"
        + write_json(schema, ensure_ascii=False)
    )


def ask_for_repair(fault: OutputFault) -> str:
    """What a model is told of an output that does not fit."""
    return (
        f"Your answer does not fit the JSON Schema: {fault.message}. Answer again with one JSON"
        " object that fits it, and nothing else."
    )


@lru_cache(maxsize=64)
def _make_validator(schema: str) -> jsonschema_rs.Validator:
    import jsonschema_rs

    read = json.loads(schema)
    jsonschema_rs.meta.validate(read)
    return jsonschema_rs.validator_for(
        read, offline=True, pattern_options=jsonschema_rs.RegexOptions()
    )


def _strip_fence(text: str) -> str:
    """The answer without the code fence that many models put around JSON."""
    body = text.strip()
    if body.startswith("```") and body.endswith("```") and "\n" in body:
        return body.partition("\n")[2].removesuffix("```").strip()
    return body
