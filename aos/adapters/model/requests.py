"""Writes a turn as the body of a chat completion. Entry point: `build_request_body`.

The strictest endpoints accept the body: ids of tool calls have nine letters and digits (Mistral),
no message is blank (Bedrock, Gemini), and extra fields that an endpoint sent are sent back to it
(DeepSeek's `reasoning_content`, Gemini's signatures).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from aos.adapters.model.attachments import write_content
from aos.domain.tools.tool import OfferedTool
from aos.ports.model import ChatMessage, ModelCall

NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}
NO_TEXT = "(no text)"
NO_RESULT = "(the tool returned no text)"
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_LENGTH = 9


def build_request_body(call: ModelCall, *, model: str, endpoint: str) -> dict[str, Any]:
    """Build the body of a chat completion. `endpoint` is the key of the endpoint that will read it.

    `tools` is left out if there are none, because endpoints refuse an empty list.
    """
    wanted = _list_wanted_fields(call, endpoint)
    body: dict[str, Any] = {
        **call.parameters,
        "model": model,
        "messages": [_write_message(message, endpoint, wanted) for message in call.messages],
    }
    if call.tools:
        body["tools"] = [_write_tool(tool) for tool in call.tools]
    if call.response_schema is not None:
        schema = {"name": "output", "schema": dict(call.response_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def shorten_call_id(tool_call_id: str) -> str:
    """Shorten AOS's id of a tool call to nine letters and digits, always the same for the same
    id."""
    number = int.from_bytes(hashlib.sha256(tool_call_id.encode()).digest()[:8], "big")
    letters = []
    for _ in range(_ID_LENGTH):
        number, place = divmod(number, len(_LETTERS))
        letters.append(_LETTERS[place])
    return "".join(letters)


def _list_wanted_fields(call: ModelCall, endpoint: str) -> frozenset[str]:
    """Return the names of extra text fields that this endpoint has sent.

    An endpoint that requires such a field requires it in every assistant message, even if it is
    empty.
    """
    return frozenset(
        name
        for message in call.messages
        if message.fields is not None and message.fields.endpoint == endpoint
        for name, value in message.fields.message.items()
        if isinstance(value, str)
    )


def _write_message(message: ChatMessage, endpoint: str, wanted: frozenset[str]) -> dict[str, Any]:
    text = message.content if message.content.strip() else ""
    if message.tool_call_id is not None:
        return {
            "role": message.role,
            "tool_call_id": shorten_call_id(message.tool_call_id),
            "content": text or NO_RESULT,
        }
    if message.role != "assistant":
        content = write_content(text or NO_TEXT, message.attachments)
        return {"role": message.role, "content": content}
    fields = message.fields
    own = fields if fields is not None and fields.endpoint == endpoint else None
    written: dict[str, Any] = {"role": message.role, "content": text or NO_TEXT}
    for name in sorted(wanted):
        written[name] = ""
    if own is not None:
        written |= own.message
    if message.tool_calls:
        extras = own.calls if own is not None else ()
        written["content"] = text or None
        written["tool_calls"] = [
            {
                **(extras[place] if place < len(extras) else {}),
                "id": shorten_call_id(call.tool_call_id),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for place, call in enumerate(message.tool_calls)
        ]
    return written


def _write_tool(tool: OfferedTool) -> dict[str, Any]:
    parameters: Mapping[str, Any] = tool.parameters or NO_PARAMETERS
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": dict(parameters),
        },
    }
