"""The checks that strict model endpoints make of a request. Entry point: each function.

Each returns what the endpoint would say in its refusal, or None. The texts and bounds follow the
public error messages of the endpoints that make the check.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

TOOLS_MOST = 128
DESCRIPTION_MOST = 1024
LONGEST_ID = 40
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_PROPERTY = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_TYPES = {"string", "number", "integer", "boolean", "object", "array", "null"}
_AT_THE_TOP = ("oneOf", "anyOf", "allOf", "enum", "not")
_UNKNOWN = ("allOf", "not", "if", "then", "else", "$ref", "$schema", "patternProperties")


def tool_fault(body: Mapping[str, Any]) -> str | None:
    """OpenAI and Azure OpenAI: number, names, descriptions and schemas of the tools."""
    tools = body.get("tools")
    if tools is None:
        return None
    if not tools:
        return "[] is too short - 'tools'"
    if len(tools) > TOOLS_MOST:
        return f"array too long. Expected maximum length {TOOLS_MOST}, got length {len(tools)}"
    for tool in tools:
        function = tool["function"]
        name = function["name"]
        if not _NAME.fullmatch(name):
            return f"Invalid 'tools[].function.name': {name!r} does not match '{_NAME.pattern}'"
        if len(function.get("description", "")) > DESCRIPTION_MOST:
            return f"Invalid 'tools[].function.description': string too long ({name})"
        fault = schema_fault(function["parameters"])
        if fault is not None:
            return f"Invalid schema for function {name!r}: {fault}"
    return None


def schema_fault(schema: object) -> str | None:
    """What OpenAI refuses in `parameters`, and Gemini's compatible endpoint and Anthropic beside
    it."""
    if not isinstance(schema, Mapping):
        return "schema is not an object"
    if schema.get("type") != "object":
        return f"schema must be a JSON Schema of 'type: \"object\"', got {schema.get('type')!r}"
    found = [name for name in _AT_THE_TOP if name in schema]
    if found:
        return f"schema must not have {found[0]!r} at the top level"
    return _fault_at(schema, ())


def _fault_at(schema: object, path: tuple[str, ...]) -> str | None:
    if not isinstance(schema, Mapping):
        return f"In context={path}, {schema!r} is not of type 'object'"
    fault = _fault_of_one(schema)
    if fault is not None:
        return f"In context={path}, {fault}"
    faults = (_fault_at(value, (*path, name)) for name, value in _inner(schema))
    return next((fault for fault in faults if fault is not None), None)


def _fault_of_one(schema: Mapping[str, Any]) -> str | None:
    """What is wrong with this schema itself."""
    given = schema.get("type", [])
    kinds = given if isinstance(given, list) else [given]
    required, properties = schema.get("required", []), schema.get("properties", {})
    unknown = [name for name in _UNKNOWN if name in schema]
    checks = {
        f"{unknown!r} is not permitted": bool(unknown),
        f"{kinds!r} is not valid under any of the given schemas": not _TYPES.issuperset(kinds),
        "object schema missing properties": "object" in kinds and "properties" not in schema,
        "array schema missing items": "array" in kinds and "items" not in schema,
        "'properties' is not an object": not isinstance(properties, Mapping),
        "'required' names what is not in 'properties'": not isinstance(required, list)
        or not set(required) <= set(properties),
        "property keys should match pattern '^[a-zA-Z0-9_.-]{1,64}$'": not all(
            _PROPERTY.fullmatch(name) for name in properties
        ),
        "an empty list": any(schema.get(name) == [] for name in ("enum", "anyOf", "oneOf")),
    }
    return next((text for text, is_wrong in checks.items() if is_wrong), None)


def _inner(schema: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """The schemas inside this one."""
    yield from schema.get("properties", {}).items()
    for choice in ("anyOf", "oneOf"):
        for place, branch in enumerate(schema.get(choice, [])):
            yield f"{choice}/{place}", branch
    if "items" in schema:
        yield "items", schema["items"]
    if not isinstance(schema.get("additionalProperties", True), bool):
        yield "additionalProperties", schema["additionalProperties"]


def message_fault(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """OpenAI: each tool call is answered by the tool messages right after it, under its id."""
    open_ids: list[str] = []
    for place, message in enumerate(messages):
        if message["role"] == "tool":
            if message.get("tool_call_id") not in open_ids:
                return (
                    f"messages[{place}]: messages with role 'tool' must be a response to a"
                    " preceding message with 'tool_calls'"
                )
            open_ids.remove(message["tool_call_id"])
            continue
        if open_ids:
            return (
                "An assistant message with 'tool_calls' must be followed by tool messages"
                f" responding to each 'tool_call_id': {open_ids}"
            )
        fault = _fault_of_message(message, is_first=place == 0)
        if fault is not None:
            return f"messages[{place}]{fault}"
        open_ids = [call["id"] for call in message.get("tool_calls", ())]
    return f"tool_call_ids did not have response messages: {open_ids}" if open_ids else None


def _fault_of_message(message: Mapping[str, Any], *, is_first: bool) -> str | None:
    calls = message.get("tool_calls")
    if message["role"] == "system" and not is_first:
        return ": a system message must be the first"
    if calls is not None and not calls:
        return ".tool_calls: [] is too short"
    if message.get("content") is None and not calls:
        return ".content: expected a string, got null"
    ids = [call["id"] for call in calls or ()]
    if len(set(ids)) < len(ids) or any(len(one) > LONGEST_ID for one in ids):
        return f".tool_calls: ids repeated or too long: {ids}"
    names = [call["function"]["name"] for call in calls or ()]
    if not all(_NAME.fullmatch(name) for name in names):
        return f".tool_calls[].function.name: {names!r} do not match '{_NAME.pattern}'"
    faults = (_arguments_fault(call["function"]["arguments"]) for call in calls or ())
    fault = next((fault for fault in faults if fault is not None), None)
    return None if fault is None else f".tool_calls[].function.arguments: {fault}"


def _arguments_fault(text: object) -> str | None:
    if not isinstance(text, str):
        return "expected a string"
    try:
        value = json.loads(text)
    except ValueError as error:
        return f"invalid JSON: {error}"
    return None if isinstance(value, dict) else "must be a JSON object"


def order_fault(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """Mistral: roles alternate, and a person never speaks right after a tool."""
    before = "system"
    for place, message in enumerate(messages):
        role = message["role"]
        expected = {
            "system": {"user", "system"},
            "user": {"assistant"},
            "assistant": {"user", "tool"},
            "tool": {"assistant", "tool"},
        }[before]
        if role not in expected:
            return f"Unexpected role '{role}' after role '{before}'"
        if role == "assistant" and before == "assistant":
            return f"messages[{place}]: two assistant messages in a row"
        before = role
    if before not in ("user", "tool"):
        return f"Expected last role User or Tool for serving but got {before}"
    return None


def call_id_fault(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """Mistral: the ids of tool calls."""
    for message in messages:
        for call in message.get("tool_calls") or ():
            if not re.fullmatch(r"[a-zA-Z0-9]{9}", call["id"]):
                return (
                    f"Tool call id was {call['id']} but must be a-z, A-Z, 0-9, with a length of 9."
                )
    return None


def blank_fault(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """Bedrock, Gemini and others behind a compatible endpoint: no message without a text."""
    for place, message in enumerate(messages):
        content = message.get("content")
        if message.get("tool_calls") and content is None:
            continue
        if not isinstance(content, str) or not content.strip():
            return f"messages[{place}]: text content blocks must be non-empty"
    return None


def reasoning_fault(messages: Sequence[Mapping[str, Any]], field: str) -> str | None:
    """DeepSeek's thinking mode: what it sent beside a tool call must come back."""
    for place, message in enumerate(messages):
        if message["role"] == "assistant" and field not in message:
            return f"Missing `{field}` field in the assistant message at message index {place}"
    return None
