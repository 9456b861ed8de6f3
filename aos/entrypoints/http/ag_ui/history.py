"""Writes a conversation as AG-UI messages. Entry point: `write_history`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aos.domain.codec import encode
from aos.domain.runs.conversation import Message
from aos.entrypoints.http.ag_ui.telling import write_call

MAX_STATED = 1000
"""Messages of a conversation that are stated; a longer one is not, because a part would drop the
rest."""


def write_history(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Return the messages. Their ids are of their own, so that the client takes their order too."""
    return [_write_message(message) for message in messages]


def _write_message(message: Message) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": f"m{message.sequence}",
        "role": message.role,
        "content": message.content,
    }
    if message.tool_calls:
        made["toolCalls"] = [write_call(encode(call)) for call in message.tool_calls]
    if message.tool_call_id is not None:
        made["toolCallId"] = message.tool_call_id
    return made
