"""Reads an answer of the Responses API. Entry point: `read_response`.

The rules are pure, as in `answers`. Encrypted reasoning is kept in `EndpointFields.message` with
the order of the answer's items, so that `responses_requests` can send it back in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from aos.adapters.model.answers import (
    MAX_EXTRA_BYTES,
    choose_name,
    fail_without_text,
    parse_object,
    read_arguments,
    read_usage,
    read_words,
)
from aos.adapters.model.faults import content_filtered, has_error, make_fault
from aos.adapters.model.responses_requests import ITEMS
from aos.domain.json_writer import known_json, write_json
from aos.domain.tools.tool import AskedCall, EndpointFields
from aos.errors import UnreadableAnswer
from aos.ports.model import FinishReason, ModelAnswer


def read_response(body: bytes, *, asked: str, endpoint: str, now: datetime) -> ModelAnswer:
    """Return the model's text, or the tool calls that it asks for.

    `asked` is the model's name in the request. `endpoint` is the key of the endpoint. Raises the
    errors of `answers.read_answer`.
    """
    raw = parse_object(body)
    status = raw.get("status")
    if has_error(raw) or status == "failed":
        raise make_fault(200, write_json(raw).encode(), {}, model=asked, now=now)
    items = _read_items(raw.get("output"))
    details = raw.get("incomplete_details")
    cut = details.get("reason") if isinstance(details, dict) else None
    usage = read_usage(raw.get("usage"), prompt="input_tokens", answer="output_tokens")
    if cut == "content_filter":
        raise content_filtered().with_usage(usage)
    text, calls = _read_text(items), _read_calls(items)
    reason: FinishReason = "length" if cut or status == "incomplete" else "stop"
    if not text and not calls:
        raise fail_without_text(reason).with_usage(usage)
    return ModelAnswer(
        text=text,
        usage=usage,
        model=choose_name(raw.get("model"), asked),
        tool_calls=calls,
        finish_reason="tool_calls" if calls else reason,
        fields=_keep_items(items, endpoint),
    )


def _read_items(output: object) -> list[dict[str, Any]]:
    """Return the items of an answer: messages with a text, calls, and reasoning."""
    if not isinstance(output, list):
        raise UnreadableAnswer("the model endpoint answered without output")
    items = [item for item in output if isinstance(item, dict)]
    return [
        item
        for item in items
        if item.get("type") in ("function_call", "reasoning")
        or (item.get("type") == "message" and _message_text(item))
    ]


def _read_text(items: list[dict[str, Any]]) -> str:
    texts = [_message_text(item) for item in items if item["type"] == "message"]
    return "\n\n".join(texts)


def _message_text(item: Mapping[str, Any]) -> str:
    """Return the text of a message, or of its refusal, or nothing if it is blank."""
    content = item.get("content")
    parts = content if isinstance(content, list) else [content]
    for name in ("text", "refusal"):
        text = "".join(_part_text(part, name) for part in parts)
        if text.strip():
            return read_words(text)
    return ""


def _part_text(part: object, name: str) -> str:
    text = part.get(name) if isinstance(part, dict) else part
    return text if isinstance(text, str) else ""


def _read_calls(items: list[dict[str, Any]]) -> tuple[AskedCall, ...]:
    return tuple(
        AskedCall(
            name=read_words(item.get("name")), arguments=read_arguments(item.get("arguments"))
        )
        for item in items
        if item["type"] == "function_call"
    )


def _keep_items(items: list[dict[str, Any]], endpoint: str) -> EndpointFields | None:
    """Return the reasoning and the order of the items, if the endpoint can use them later.

    Reasoning at the end is left out, because endpoints refuse reasoning that nothing follows.
    """
    kept: list[dict[str, Any]] = []
    last_text = max((n for n, item in enumerate(items) if item["type"] == "message"), default=-1)
    for place, item in enumerate(items):
        match item["type"]:
            case "reasoning":
                kept += [_without_status(item)] if _can_go_back(item) else []
            case "function_call":
                kept.append({"type": "function_call"})
            case _ if place == last_text:
                phase = item.get("phase")
                kept.append({"type": "message", **({"phase": phase} if phase else {})})
    while kept and kept[-1]["type"] == "reasoning":
        kept.pop()
    if not any(item["type"] == "reasoning" or "phase" in item for item in kept):
        return None
    known = known_json(kept)
    if len(write_json(known, ensure_ascii=False).encode()) > MAX_EXTRA_BYTES:
        return None
    return EndpointFields(endpoint=endpoint, message={ITEMS: known})


def _can_go_back(item: Mapping[str, Any]) -> bool:
    """Whether the item has its content: the endpoint stores nothing, so an id alone is unknown."""
    return bool(item.get("encrypted_content") or item.get("content"))


def _without_status(item: Mapping[str, Any]) -> dict[str, Any]:
    return {n: v for n, v in item.items() if n != "status" and v is not None}
