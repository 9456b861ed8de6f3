"""Writes a turn as the body of a request to the Responses API. Entry point:
`build_responses_body`.

The endpoint stores nothing: each request has the whole history as items. A reasoning model's
encrypted reasoning stands before the text or the calls that it belongs to, as the endpoint sent it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aos.adapters.model.attachments import write_response_content
from aos.adapters.model.requests import NO_PARAMETERS, NO_RESULT, NO_TEXT, shorten_call_id
from aos.domain.tools.tool import OfferedTool
from aos.ports.model import ChatMessage, ModelCall

ITEMS = "items"
"""The name in `EndpointFields.message` of an answer's items, in their order."""
ENCRYPTED_REASONING = "reasoning.encrypted_content"
_PLACES: dict[str, tuple[str, str | None]] = {
    "max_tokens": ("max_output_tokens", None),
    "max_completion_tokens": ("max_output_tokens", None),
    "reasoning_effort": ("reasoning", "effort"),
    "response_format": ("text", "format"),
    "verbosity": ("text", "verbosity"),
}
"""Where the Responses API takes a parameter of a chat completion."""


def build_responses_body(call: ModelCall, *, model: str, endpoint: str) -> dict[str, Any]:
    """Build the body of a request to /responses. `endpoint` is the key of the endpoint that will
    read it."""
    instructions = [message.content for message in call.messages if message.role == "system"]
    body: dict[str, Any] = {
        "include": [ENCRYPTED_REASONING],
        **_move_parameters(call.parameters),
        "store": False,
        "model": model,
        "input": [
            item
            for message in call.messages
            if message.role != "system"
            for item in _write_items(message, endpoint)
        ],
    }
    if instructions:
        body["instructions"] = "\n\n".join(instructions)
    if call.response_schema is not None:
        shape = {"type": "json_schema", "name": "output", "schema": dict(call.response_schema)}
        body["text"] = {**body.get("text", {}), "format": {**shape, "strict": False}}
    if call.tools:
        body["tools"] = [_write_tool(tool) for tool in call.tools]
    return body


def leave_out_reasoning(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the body without encrypted reasoning, sent or asked for; None if it has none."""
    items, include = body.get("input"), body.get("include")
    if not isinstance(items, list):
        return None  # a chat completion
    wanted = [name for name in include or () if name != ENCRYPTED_REASONING]
    kept = [item for item in items if item.get("type") != "reasoning"]
    if len(kept) == len(items) and wanted == (include or []):
        return None
    rest = {name: value for name, value in body.items() if name != "include"}
    return {**rest, "input": kept, **({"include": wanted} if wanted else {})}


def _move_parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a card's parameters under the names that the Responses API gives them.

    If a parameter has both names, the value under the Responses API's name is kept.
    """
    moved = {name: value for name, value in given.items() if name not in _PLACES}
    for name, (place, inner) in _PLACES.items():
        if name not in given:
            continue
        value = _flatten(given[name])
        if inner is None:
            moved.setdefault(place, value)
            continue
        group = moved.get(place)
        moved[place] = {inner: value, **(group if isinstance(group, Mapping) else {})}
    return moved


def _flatten(value: object) -> object:
    """Write `{"type": "json_schema", "json_schema": {"name": "n"}}` as
    `{"type": "json_schema", "name": "n"}`."""
    kind = value.get("type") if isinstance(value, Mapping) else None
    inner = value.get(kind) if isinstance(value, Mapping) and isinstance(kind, str) else None
    return {"type": kind, **inner} if isinstance(inner, Mapping) else value


def _write_items(message: ChatMessage, endpoint: str) -> Iterator[dict[str, Any]]:
    text = message.content if message.content.strip() else ""
    if message.tool_call_id is not None:
        yield {
            "type": "function_call_output",
            "call_id": shorten_call_id(message.tool_call_id),
            "output": text or NO_RESULT,
        }
        return
    content = write_response_content(text or NO_TEXT, message.attachments)
    said = {"type": "message", "role": message.role, "content": content}
    if message.role != "assistant":
        yield said
        return
    calls = iter(
        {
            "type": "function_call",
            "call_id": shorten_call_id(call.tool_call_id),
            "name": call.name,
            "arguments": call.arguments,
        }
        for call in message.tool_calls
    )
    has_text = bool(text) or not message.tool_calls
    for item in _find_layout(message, endpoint, has_text=has_text):
        match item["type"]:
            case "message":
                yield {**said, **item}
            case "function_call":
                yield next(calls)
            case _:
                yield item


def _find_layout(
    message: ChatMessage, endpoint: str, *, has_text: bool
) -> Sequence[dict[str, Any]]:
    """Return the items as the endpoint sent them, if they match the message's text and calls.

    Otherwise return the text and the calls without reasoning.
    """
    count = len(message.tool_calls)
    fields = message.fields
    if fields is not None and fields.endpoint == endpoint:
        kept: Sequence[dict[str, Any]] = fields.message.get(ITEMS, ())
        kinds = [item["type"] for item in kept]
        if kinds.count("function_call") == count and kinds.count("message") == has_text:
            return kept
    return [{"type": "message"}] * has_text + [{"type": "function_call"}] * count


def _write_tool(tool: OfferedTool) -> dict[str, Any]:
    """Write a tool in the flat form. Without `strict: false` the API changes the schema so that
    every argument is required."""
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters or NO_PARAMETERS),
        "strict": False,
    }
