"""Speaks OpenAI's Responses API for a scripted model. Entry points: `read_messages`,
`write_response`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def read_messages(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The messages of a chat completion that a request's instructions and items stand for."""
    messages: list[dict[str, Any]] = []
    if "instructions" in body:
        messages.append({"role": "system", "content": body["instructions"]})
    for item in body["input"]:
        match item["type"]:
            case "message":
                messages.append({"role": item["role"], "content": item["content"]})
            case "function_call":
                if messages[-1]["role"] != "assistant":
                    messages.append({"role": "assistant", "content": None})
                messages[-1].setdefault("tool_calls", []).append(item)
            case "function_call_output":
                messages.append(
                    {"role": "tool", "tool_call_id": item["call_id"], "content": item["output"]}
                )
    return messages


def write_response(
    body: Mapping[str, Any],
    *,
    text: str | None,
    calls: Sequence[tuple[str, Mapping[str, Any] | str]] = (),
    finish: str | None = None,
    model: str | None = None,
    usage: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A response to the request: reasoning, then a message, then calls."""
    output: list[dict[str, Any]] = []
    if text:
        part = {"type": "output_text", "text": text, "annotations": []}
        output.append(
            {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "phase": "commentary" if calls else "final_answer",
                "content": [part],
            }
        )
    output += [_write_call(place, *call) for place, call in enumerate(calls)]
    if output:
        output.insert(0, write_reasoning(body))
    cut = INCOMPLETE.get(finish or "")
    return {
        "id": "resp_1",
        "object": "response",
        "status": "incomplete" if cut else "completed",
        "error": None,
        "incomplete_details": {"reason": cut} if cut else None,
        "model": model or body["model"],
        "output": output,
        "usage": usage or {"input_tokens": len(body["input"]), "output_tokens": 1},
    }


def write_reasoning(body: Mapping[str, Any]) -> dict[str, Any]:
    """A reasoning item, encrypted if the request asks for it. Its id is another in each answer."""
    seed = hashlib.sha256(json.dumps(body["input"]).encode()).hexdigest()[:16]
    item = {"id": f"rs_{seed}", "type": "reasoning", "status": "completed", "summary": []}
    if "reasoning.encrypted_content" in body.get("include", ()):
        item["encrypted_content"] = f"gAAAA-rs_{seed}"
    return item


def _write_call(place: int, name: str, given: Mapping[str, Any] | str) -> dict[str, Any]:
    return {
        "id": f"fc_{place}",
        "type": "function_call",
        "status": "completed",
        "call_id": "call_0",
        "name": name,
        "arguments": given if isinstance(given, str) else json.dumps(given),
    }
