"""Makes calls and answers of the Responses API. Entry points: `a_turn`, `a_response`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aos.domain.tools.tool import MessageCall, OfferedTool
from aos.ports.model import ChatMessage, ModelAnswer, ModelCall
from tests.scripted_model import Say

SCHEMA = {"type": "object", "properties": {"zone": {"type": "string", "default": "UTC"}}}
CLOCK = OfferedTool(name="time__now", description="The time.", parameters=SCHEMA)
QUESTION = ChatMessage(role="user", content="What time is it?")
NOON = ChatMessage(role="tool", content="noon", tool_call_id="c1")
REASONING = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAAA-rs_1"}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "x", "name": "time__now"}


def a_turn(*messages: ChatMessage, **changes: Any) -> ModelCall:
    call = ModelCall(
        model=None,
        messages=(QUESTION, *messages),
        parameters={},
        timeout_seconds=10,
        tools=(CLOCK,),
    )
    return replace(call, **changes)


def a_response(*items: dict[str, Any], **fields: Any) -> Say:
    return Say(body={"object": "response", "status": "completed", "output": items, **fields})


def said(*parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": parts, **fields}


def text(words: str) -> dict[str, Any]:
    return {"type": "output_text", "text": words, "annotations": []}


def called(answer: ModelAnswer) -> tuple[ChatMessage, ...]:
    """The history after an answer with one call."""
    call = MessageCall(tool_call_id="c1", name="time__now", arguments="{}")
    asking = ChatMessage(
        role="assistant", content=answer.text, tool_calls=(call,), fields=answer.fields
    )
    return (asking, NOON)
