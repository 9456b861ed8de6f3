"""Writes a turn as the body of a chat completion. Entry point: `build_request_body`.

The body is one that the strictest endpoints accept: ids of tool calls have nine letters and digits
(Mistral), no message is blank (Bedrock, Gemini), and what an endpoint sent beside its text goes
back to it (DeepSeek's `reasoning_content`, Gemini's signatures).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from aos.domain.tools.tool import OfferedTool
from aos.ports.model import ChatMessage, ModelCall

NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}
NO_TEXT = "(no text)"
NO_RESULT = "(the tool returned no text)"
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_LENGTH = 9


def build_request_body(call: ModelCall, *, model: str, endpoint: str) -> dict[str, Any]:
    """The body of a chat completion; `endpoint` is the key of who will read it.

    Tools are named only where there are some, since endpoints refuse an empty list.
    """
    wanted = _wanted_fields(call, endpoint)
    body: dict[str, Any] = {
        **call.parameters,
        "model": model,
        "messages": [_write_message(message, endpoint, wanted) for message in call.messages],
    }
    if call.tools:
        body["tools"] = [_write_tool(tool) for tool in call.tools]
    return body


def short_call_id(tool_call_id: str) -> str:
    """Our id of a tool call as nine letters and digits, always the same for the same id."""
    number = int.from_bytes(hashlib.sha256(tool_call_id.encode()).digest()[:8], "big")
    letters = []
    for _ in range(_ID_LENGTH):
        number, place = divmod(number, len(_LETTERS))
        letters.append(_LETTERS[place])
    return "".join(letters)


def _wanted_fields(call: ModelCall, endpoint: str) -> frozenset[str]:
    """The text fields that this endpoint sent beside its own messages: one that demands a field
    back demands it in every message of an assistant, if only empty."""
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
            "tool_call_id": short_call_id(message.tool_call_id),
            "content": text or NO_RESULT,
        }
    if message.role != "assistant":
        return {"role": message.role, "content": text or NO_TEXT}
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
                "id": short_call_id(call.tool_call_id),
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
