"""Writes the events of a run as lines for people. Entry point: `describe_event`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aos.client.terminal import shorten

HIDDEN = frozenset({"message.delta"})
"""Events that are no line of their own."""


def describe_event(event: Mapping[str, Any]) -> str:
    """Write an event as one line: time, type, and what matters of its data."""
    time = str(event.get("time"))[11:23]
    kind = str(event.get("type"))
    turn = f"turn {event['turn']}" if "turn" in event else ""
    return f"{time:<12}  {kind:<18}  {turn:<7}  {describe_data(event)}".rstrip()


def describe_data(event: Mapping[str, Any]) -> str:
    """Write what matters of an event's data."""
    data = event.get("data") or {}
    describe = _DESCRIBE.get(str(event.get("type")), _describe_end)
    return describe(data, event.get("run_id"))


def _describe_start(data: Mapping[str, Any], run_id: Any) -> str:
    return f"card {str(data.get('card_digest'))[:12]}"


def _describe_attempt(data: Mapping[str, Any], run_id: Any) -> str:
    again = f"again: {_show(data, 'reason')}" if data.get("reason") else ""
    return " ".join(filter(None, (f"attempt {data.get('attempt')}", again)))


def _describe_call(data: Mapping[str, Any], run_id: Any) -> str:
    return f"{data.get('name')} {_show(data, 'arguments')}"


def _describe_result(data: Mapping[str, Any], run_id: Any) -> str:
    took = "" if data.get("milliseconds") is None else f" in {data['milliseconds']} ms"
    return f"{data.get('name')}: {data.get('outcome')}{took}: {_show(data, 'content')}"


def _describe_approval(data: Mapping[str, Any], run_id: Any) -> str:
    decide = f"decide: aos approve {run_id} {data.get('tool_call_id')}"
    return f"{_describe_call(data, run_id)} ({decide})"


def _describe_decision(data: Mapping[str, Any], run_id: Any) -> str:
    return f"{data.get('name')}: {data.get('decision')}"


def _describe_question(data: Mapping[str, Any], run_id: Any) -> str:
    answer = f"answer: aos answer {run_id} {data.get('question_id')} …"
    return f"{data.get('name')}: {_show(data, 'message')} ({answer})"


def _describe_answer(data: Mapping[str, Any], run_id: Any) -> str:
    return str(data.get("name"))


def _describe_wait(data: Mapping[str, Any], run_id: Any) -> str:
    return f"{_show(data, 'reason')} (until {data.get('until')})"


def _describe_retry(data: Mapping[str, Any], run_id: Any) -> str:
    when = f"try {data.get('attempt')}, again at {data.get('until')}"
    return f"{_show(data, 'reason')} ({when})"


def _describe_message(data: Mapping[str, Any], run_id: Any) -> str:
    usage = data.get("usage") or {}
    facts = [str(data.get("model"))]
    if data.get("milliseconds") is not None:
        facts.append(f"{data['milliseconds']} ms")
    if usage:
        facts.append(f"{usage.get('input_tokens')} + {usage.get('output_tokens')} tokens")
    content = _show(data, "content")
    return f"{content} ({', '.join(facts)})".strip()


def _describe_end(data: Mapping[str, Any], run_id: Any) -> str:
    error = data.get("error")
    if isinstance(error, Mapping):
        return f"{error.get('code')}: {shorten(str(error.get('message')))}"
    usage = data.get("usage")
    if isinstance(usage, Mapping):
        return f"{usage.get('total_tokens')} tokens"
    return ""


def _show(data: Mapping[str, Any], name: str) -> str:
    return shorten(str(data.get(name) or ""))


_DESCRIBE: Mapping[str, Callable[[Mapping[str, Any], Any], str]] = {
    "run.started": _describe_start,
    "attempt.started": _describe_attempt,
    "message.completed": _describe_message,
    "tool.called": _describe_call,
    "tool.completed": _describe_result,
    "approval.requested": _describe_approval,
    "approval.decided": _describe_decision,
    "input.requested": _describe_question,
    "input.answered": _describe_answer,
    "run.waiting": _describe_wait,
    "run.retrying": _describe_retry,
}
