"""How is a turn put to an OpenAI-compatible endpoint?"""

from __future__ import annotations

from typing import Any

from aos.domain.tools.tool import OfferedTool
from aos.ports.model import ChatMessage, ModelCall

NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}


def request_body(call: ModelCall, *, model: str) -> dict[str, Any]:
    """The body of a chat completion; tools are named only where there are some, since endpoints
    refuse an empty list."""
    body: dict[str, Any] = {
        **call.parameters,
        "model": model,
        "messages": [_message(message) for message in call.messages],
    }
    if call.tools:
        body["tools"] = [_tool(tool) for tool in call.tools]
    return body


def _message(message: ChatMessage) -> dict[str, Any]:
    if message.tool_calls:
        return {
            "role": message.role,
            "content": message.content or None,
            "tool_calls": [
                {
                    "id": call.tool_call_id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in message.tool_calls
            ],
        }
    if message.tool_call_id is not None:
        return {
            "role": message.role,
            "tool_call_id": message.tool_call_id,
            "content": message.content,
        }
    return {"role": message.role, "content": message.content}


def _tool(tool: OfferedTool) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": dict(tool.parameters) or NO_PARAMETERS,
        },
    }
