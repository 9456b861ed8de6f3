"""Checks the forms that tools ask people to fill in, and their answers. Entry points:
`find_form_fault`, `find_answer_fault`.

A form's JSON Schema comes from an MCP server: it is read without a network, and its patterns run on
an engine that is linear in the length of the text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from aos.domain.json_writer import write_json
from aos.domain.schema_cost import find_excess

if TYPE_CHECKING:
    import jsonschema_rs

MAX_FORM_BYTES = 32 * 1024
MAX_VALUES_BYTES = 64 * 1024
MAX_FAULT = 500


@dataclass(frozen=True, slots=True)
class AnswerFault:
    """Why an answer does not fit the form: the field's path, and what is wrong."""

    path: str
    message: str


def find_form_fault(schema: Mapping[str, Any]) -> str | None:
    """Why a person cannot be asked to fill in this form, or None."""
    import jsonschema_rs  # costs 50 ms

    text = write_json(schema, sort_keys=True)
    if len(text.encode()) > MAX_FORM_BYTES:
        return f"its schema has {len(text.encode()):,} bytes, the limit is {MAX_FORM_BYTES:,}"
    if schema.get("type") != "object":
        return 'the "type" of its schema is not "object"'
    excess = find_excess(schema)
    if excess is not None:
        return f"its schema takes too long to check: {excess}"
    try:
        _make_validator(text)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        return f"its schema is wrong: {getattr(error, 'message', error)}"[:MAX_FAULT]
    return None


def find_answer_fault(values: Mapping[str, Any], schema: Mapping[str, Any]) -> AnswerFault | None:
    """Why these values do not fill in the form, or None."""
    import jsonschema_rs  # costs 50 ms

    size = len(write_json(values).encode())
    if size > MAX_VALUES_BYTES:
        return AnswerFault(
            "content", f"has {size:,} bytes as JSON, the limit is {MAX_VALUES_BYTES:,}"
        )
    try:
        _make_validator(write_json(schema, sort_keys=True)).validate(dict(values))
    except jsonschema_rs.ValidationError as error:
        path = ".".join(["content", *(str(part) for part in error.instance_path)])
        return AnswerFault(path, f"does not fit the form: {error.message}"[:MAX_FAULT])
    return None


@lru_cache(maxsize=64)
def _make_validator(schema: str) -> jsonschema_rs.Validator:
    import jsonschema_rs

    read = json.loads(schema)
    jsonschema_rs.meta.validate(read)
    return jsonschema_rs.validator_for(
        read,
        offline=True,
        validate_formats=True,
        pattern_options=jsonschema_rs.RegexOptions(),
    )
