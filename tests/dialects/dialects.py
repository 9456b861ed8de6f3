"""The dialects of model endpoints that agents meet. Entry points: `DIALECTS`, `speaking`.

A dialect refuses what its endpoint refuses, and shapes its answers as the endpoint does. Their
checks are in `tests.dialects.checks`, each with the endpoint that makes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aos.domain.model_api import ModelApi
from tests.dialects.checks import (
    blank_fault,
    call_id_fault,
    message_fault,
    order_fault,
    reasoning_fault,
    tool_fault,
)
from tests.dialects.responses_checks import responses_fault
from tests.scripted_model import Request, Say, Script

Body = Mapping[str, Any]
Answer = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One kind of endpoint: what it refuses, how it answers, and in which form it refuses."""

    name: str
    api: ModelApi = "chat"
    fault: Callable[[Body], str | None]
    shape: Callable[[Answer], Answer] = field(default=lambda answer: answer)
    refusal: Callable[[str], Any] = field(
        default=lambda fault: {"error": {"message": fault, "type": "invalid_request_error"}}
    )


def speaking(dialect: Dialect, script: Script) -> Script:
    """A script that answers as an endpoint of this dialect does, refusals included."""

    def answer(request: Request) -> Say:
        fault = common_fault(request.body) if dialect.api == "chat" else None
        fault = fault or dialect.fault(request.body)
        if fault is not None:
            return Say(status=400, body=json.dumps(dialect.refusal(fault)).encode())
        said = script(request)
        if said.body is not None or said.status != 200 or dialect.api == "responses":
            return said
        return Say(body=dialect.shape(_completion(said)))

    return answer


def common_fault(body: Body) -> str | None:
    """What every endpoint of chat completions refuses: wrong tools, and calls that are not
    answered in their place."""
    return tool_fault(body) or message_fault(body["messages"])


def _completion(said: Say) -> Answer:
    calls = [
        {
            "id": f"call_{place}",
            "type": "function",
            "function": {
                "name": name,
                "arguments": given if isinstance(given, str) else json.dumps(given),
            },
        }
        for place, (name, given) in enumerate(said.calls)
    ]
    message: dict[str, Any] = {"role": "assistant", "content": said.text}
    if calls:
        message["tool_calls"] = calls
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "m",
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls" if calls else "stop",
                "message": message,
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
    }


def _message_of(answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = answer["choices"][0]["message"]
    return message


def _nothing(_: Body) -> str | None:
    return None


def _mistral(body: Body) -> str | None:
    return order_fault(body["messages"]) or call_id_fault(body["messages"])


def _reasons(answer: Answer) -> Answer:
    _message_of(answer)["reasoning_content"] = "First I think."
    return answer


def _signs(answer: Answer) -> Answer:
    for place, call in enumerate(_message_of(answer).get("tool_calls", [])):
        call["extra_content"] = {"google": {"thought_signature": f"sig-{place}"}}
    return answer


def _unsigned(body: Body) -> str | None:
    for message in body["messages"]:
        for call in (message.get("tool_calls") or ())[:1]:
            if "thought_signature" not in json.dumps(call.get("extra_content", {})):
                return "Function call is missing a thought_signature"
    return None


def _in_parts(answer: Answer) -> Answer:
    message = _message_of(answer)
    text = message["content"]
    message["content"] = [] if text is None else [{"type": "text", "text": text}]
    return answer


def _objects(answer: Answer) -> Answer:
    for call in _message_of(answer).get("tool_calls", []):
        call["function"]["arguments"] = json.loads(call["function"]["arguments"] or "{}")
        call["id"] = None
    return answer


def _same_ids(answer: Answer) -> Answer:
    for call in _message_of(answer).get("tool_calls", []):
        call["id"] = "call_0"
    answer["choices"][0]["finish_reason"] = "stop"
    return answer


def _no_usage(answer: Answer) -> Answer:
    return {**answer, "usage": None}


def _without_usage(answer: Answer) -> Answer:
    return {name: value for name, value in answer.items() if name not in ("usage", "model")}


def _new_parameters(body: Body) -> str | None:
    for name in ("max_tokens", "temperature", "top_p"):
        if name in body:
            return f"Unsupported parameter: '{name}' is not supported with this model."
    return None


DIALECTS: tuple[Dialect, ...] = (
    Dialect(name="openai", fault=_nothing),
    Dialect(
        name="mistral-order",
        fault=_mistral,
        refusal=lambda fault: {"object": "error", "message": fault, "code": "3230"},
    ),
    Dialect(
        name="reasoning-comes-back",
        fault=lambda body: reasoning_fault(body["messages"], "reasoning_content"),
        shape=_reasons,
    ),
    Dialect(name="signatures-come-back", fault=_unsigned, shape=_signs),
    Dialect(
        name="nothing-blank",
        fault=lambda body: blank_fault(body["messages"]),
        refusal=lambda fault: [{"error": {"message": fault, "status": "INVALID_ARGUMENT"}}],
    ),
    Dialect(name="new-parameters-only", fault=_new_parameters, shape=_no_usage),
    Dialect(name="content-in-parts", fault=_nothing, shape=_in_parts),
    Dialect(
        name="arguments-as-objects",
        fault=_nothing,
        shape=_objects,
        refusal=lambda fault: fault,
    ),
    Dialect(name="repeated-ids", fault=_nothing, shape=_same_ids),
    Dialect(name="no-usage", fault=_nothing, shape=_without_usage),
    Dialect(name="responses", api="responses", fault=responses_fault),
)
