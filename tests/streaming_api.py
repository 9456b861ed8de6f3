"""Writes an answer of a scripted model as the stream that its API would send. Entry point:
`write_stream`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

PIECE = 3
"""Characters of a text or of arguments in one piece."""


def write_stream(answer: Mapping[str, Any], *, with_usage: bool) -> list[bytes] | None:
    """The events of the answer; None if it is not one that an endpoint would stream."""
    if isinstance(answer.get("output"), list):
        return [_event(chunk) for chunk in _list_response(answer)]
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return None
    if not isinstance(choices[0].get("message"), dict) or choices[0].get("error"):
        return None
    chunks = [_event(chunk) for chunk in _list_chat(answer, choices[0], with_usage=with_usage)]
    return [*chunks, b"data: [DONE]\n\n"]


def _list_chat(
    answer: Mapping[str, Any], choice: Mapping[str, Any], *, with_usage: bool
) -> Iterator[dict[str, Any]]:
    frame = {"object": "chat.completion.chunk", **{n: answer[n] for n in ("model",) if n in answer}}

    def chunk(delta: Mapping[str, Any], reason: object = None) -> dict[str, Any]:
        return {**frame, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    yield chunk({"role": "assistant", "content": ""})
    for name, value in choice["message"].items():
        if name == "tool_calls" and isinstance(value, list):
            for place, call in enumerate(value):
                yield from (chunk({"tool_calls": [piece]}) for piece in _cut_call(place, call))
        elif isinstance(value, str) and name != "role":
            yield from (chunk({name: piece}) for piece in _cut(value))
        elif name != "role" and value is not None:
            yield chunk({name: value})
    last = chunk({}, choice.get("finish_reason"))
    if answer.get("error"):
        last["error"] = answer["error"]
    yield last
    if with_usage and "usage" in answer:
        yield {**frame, "choices": [], "usage": answer["usage"]}


def _cut_call(place: int, call: Any) -> Iterator[Any]:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        yield {**call, "index": place} if isinstance(call, dict) else call
        return
    yield {**call, "index": place, "function": {**function, "arguments": ""}}
    for piece in _cut(function["arguments"]):
        yield {"index": place, "function": {"arguments": piece}}


def _list_response(answer: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"type": "response.created", "response": {**answer, "status": "queued", "output": []}}
    for place, item in enumerate(answer["output"]):
        parts = item.get("content") if isinstance(item, dict) else None
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                for piece in _cut(part["text"]):
                    delta = {"type": "response.output_text.delta", "output_index": place}
                    yield {**delta, "delta": piece}
    status = answer.get("status", "completed")
    yield {"type": f"response.{status}", "response": answer}


def _cut(text: str) -> Iterator[str]:
    size = max(PIECE, len(text) // 1000)
    return (text[start : start + size] for start in range(0, len(text), size))


def _event(chunk: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"
