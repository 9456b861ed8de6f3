"""The checks that OpenAI's Responses API makes of a request. Entry point: `responses_fault`.

The texts follow the API's public error messages. It is asked without stored responses, so what a
request does not hold does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.dialects.checks import tool_fault

_PARAMETERS = frozenset(
    {
        *("model", "input", "instructions", "tools", "tool_choice", "store", "include", "text"),
        *("max_output_tokens", "reasoning", "temperature", "top_p", "parallel_tool_calls"),
        *("metadata", "service_tier", "truncation", "user", "prompt_cache_key"),
    }
)
_ITEM_FIELDS = {
    "message": {"type", "role", "content", "phase"},
    "function_call": {"type", "call_id", "name", "arguments"},
    "function_call_output": {"type", "call_id", "output"},
    "reasoning": {"type", "id", "summary", "content", "encrypted_content"},
}
_MOVED = {
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
    "messages": "input",
}


def responses_fault(body: Mapping[str, Any]) -> str | None:
    """What the API refuses in a request, or None."""
    for name in body:
        if name in _MOVED:
            return (
                f"Unsupported parameter: '{name}'. In the Responses API, this parameter has moved"
                f" to '{_MOVED[name]}'."
            )
        if name not in _PARAMETERS:
            return f"Unknown parameter: '{name}'."
    if body.get("store") is not False:
        return "'store' must be false: this organization keeps no data"
    if not body["input"]:
        return "Missing required parameter: 'input'."
    faults = (_flat_tool_fault(body), _text_fault(body), items_fault(body["input"]))
    return next((fault for fault in faults if fault is not None), None)


def _flat_tool_fault(body: Mapping[str, Any]) -> str | None:
    """Tools are flat here, and their schemas are changed unless `strict` is false."""
    if "tools" not in body:
        return None
    for place, tool in enumerate(body["tools"]):
        if tool.get("type") != "function" or "name" not in tool or "parameters" not in tool:
            return f"Missing required parameter: 'tools[{place}].name'."
        if "function" in tool:
            return f"Unknown parameter: 'tools[{place}].function'."
        if tool.get("strict") is not False:
            return (
                f"Invalid schema for function {tool['name']!r}: 'additionalProperties' is required"
                " to be supplied and to be false."
            )
    return tool_fault({"tools": [{"function": tool} for tool in body["tools"]]})


def _text_fault(body: Mapping[str, Any]) -> str | None:
    text = body.get("text", {})
    unknown = sorted(set(text) - {"format", "verbosity"})
    if unknown:
        return f"Unknown parameter: 'text.{unknown[0]}'."
    shape = text.get("format", {"type": "text"})
    if shape["type"] == "json_schema" and not {"name", "schema"} <= set(shape):
        return "Missing required parameter: 'text.format.name'."
    return None


def items_fault(items: Sequence[Mapping[str, Any]]) -> str | None:
    """Types and fields of the items, calls and their outputs, reasoning and what follows it."""
    for place, item in enumerate(items):
        fault = _item_fault(item)
        if fault is not None:
            return f"input[{place}]: {fault}"
    return _calls_fault(items) or _reasoning_fault(items)


def _item_fault(item: Mapping[str, Any]) -> str | None:
    kind = item.get("type")
    if kind not in _ITEM_FIELDS:
        return f"Invalid value: {kind!r}. Supported values are: {sorted(_ITEM_FIELDS)}."
    unknown = sorted(set(item) - _ITEM_FIELDS[kind])
    if unknown:
        return f"Unknown parameter: {unknown[0]!r}."
    if kind == "reasoning":
        return _encryption_fault(item)
    blank = [name for name in ("content", "output") if name in item and not item[name].strip()]
    if blank:
        return f"{blank[0]} is empty"
    if kind == "message" and item["role"] not in ("user", "assistant", "system", "developer"):
        return f"Invalid value: {item['role']!r}."
    return None


def _encryption_fault(item: Mapping[str, Any]) -> str | None:
    if "summary" not in item:
        return "Missing required parameter: 'summary'."
    sent = item.get("encrypted_content")
    if sent is None:
        return f"Item with id '{item['id']}' not found. Items are not persisted when `store` is set"
    if sent != f"gAAAA-{item['id']}":
        return f"The encrypted content for item {item['id']} could not be verified."
    return None


def _calls_fault(items: Sequence[Mapping[str, Any]]) -> str | None:
    """Each call has one output, after it, before the next message; no output is without a call."""
    waiting: list[str] = []
    seen: set[str] = set()
    for item in items:
        match item["type"]:
            case "function_call":
                if item["call_id"] in seen:
                    return f"Duplicate call_id {item['call_id']}."
                seen.add(item["call_id"])
                waiting.append(item["call_id"])
            case "function_call_output":
                call_id = item["call_id"]
                if call_id not in waiting:
                    return f"No tool call found for function call output with call_id {call_id}."
                waiting.remove(call_id)
            case "message" if waiting:
                break
    return f"No tool output found for function call {waiting[0]}." if waiting else None


def _reasoning_fault(items: Sequence[Mapping[str, Any]]) -> str | None:
    """Reasoning stands right before the text or call of the model that it belongs to, and no call
    comes without the reasoning that was sent before it."""
    is_reasoned = False
    for place, item in enumerate(items):
        kind = item["type"]
        is_models = kind == "function_call" or item.get("role") == "assistant"
        if kind == "reasoning":
            after = items[place + 1] if place + 1 < len(items) else {}
            if after.get("type") != "function_call" and after.get("role") != "assistant":
                return (
                    f"Item '{item['id']}' of type 'reasoning' was provided without its required"
                    " following item."
                )
            is_reasoned = True
        elif kind == "function_call" and not is_reasoned:
            return (
                f"Item '{item['call_id']}' of type 'function_call' was provided without its"
                " required 'reasoning' item."
            )
        elif not is_models:
            is_reasoned = False
    return None
