"""Joins an answer that an endpoint streams although no stream was asked for. Entry point:
`join_stream`.

Some gateways only stream. Asking again would cost as much and bring the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_LAST_EVENTS = frozenset({"response.completed", "response.incomplete", "response.failed"})


def join_stream(body: bytes) -> dict[str, Any] | None:
    """Return the answer that a whole stream of events says; None if it is not one, or was cut."""
    lines = [line.strip() for line in body.decode("utf-8-sig", "replace").split("\n")]
    events = [line.removeprefix("data:").strip() for line in lines if line.startswith("data:")]
    chunks = [chunk for chunk in map(_parse, events) if isinstance(chunk, dict)]
    for chunk in chunks:
        if chunk.get("error"):
            return chunk
        if chunk.get("type") in _LAST_EVENTS and isinstance(chunk.get("response"), dict):
            whole: dict[str, Any] = chunk["response"]
            return whole
    choice = _join_choice(chunks)
    if not choice["finish_reason"] and "[DONE]" not in events:
        return None
    joined: dict[str, Any] = {"choices": [choice]}
    for chunk in chunks:
        joined |= {name: chunk[name] for name in ("model", "usage") if chunk.get(name)}
    return joined


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _join_choice(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the choice that the chunks say together."""
    message: dict[str, Any] = {}
    calls: dict[Any, dict[str, Any]] = {}
    reason = None
    for chunk in chunks:
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else {}
        if not isinstance(choice, dict):
            continue
        reason = choice.get("finish_reason") or reason
        delta = choice.get("delta") or choice.get("message")
        if isinstance(delta, dict):
            _add_calls(calls, delta.get("tool_calls"))
            _add(message, {n: v for n, v in delta.items() if n not in ("role", "tool_calls")})
    if calls:
        message["tool_calls"] = list(calls.values())
    return {"message": message, "finish_reason": reason}


def _add_calls(calls: dict[Any, dict[str, Any]], pieces: object) -> None:
    """Add pieces of calls to the calls with the same index."""
    for place, piece in enumerate(pieces if isinstance(pieces, list) else ()):
        if not isinstance(piece, dict):
            continue
        call = calls.setdefault(piece.get("index", place), {"function": {}})
        function = piece.get("function")
        if isinstance(function, dict):
            call["function"].setdefault("name", "")
            call["function"]["name"] = call["function"]["name"] or function.get("name") or ""
            _add(call["function"], {"arguments": function.get("arguments")})
        call |= {n: v for n, v in piece.items() if n != "function" and v is not None}


def _add(message: dict[str, Any], delta: Mapping[str, Any]) -> None:
    """Append texts to the texts under the same names; other values replace the ones before."""
    for name, value in delta.items():
        before = message.get(name)
        if isinstance(value, str) and isinstance(before, str):
            message[name] = before + value
        elif value is not None:
            message[name] = value
