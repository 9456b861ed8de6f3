"""Decides which texts can be ids. Entry points: `parse_run_id`, `take_run_id`, `take_tool_call_id`,
`take_question_id`, `parse_traceparent`.

Ids become storage keys. An id that cannot exist is answered with 404, not 400.
"""

from __future__ import annotations

import re
import uuid

from aos.errors import Refused

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def parse_run_id(text: str) -> str | None:
    """Return the run id (a UUID) in its usual form, or None."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None


def take_run_id(text: str) -> str:
    """Return the run id. Raises Refused `run_not_found` for what cannot be one."""
    run_id = parse_run_id(text)
    if run_id is None:
        raise Refused("run_not_found", f"there is no run {text[:80]!r} of yours; see GET /api/runs")
    return run_id


def take_tool_call_id(text: str) -> str:
    """Return the id of a tool call. Raises Refused `tool_call_not_found` for what cannot be one."""
    if not is_tool_call_id(text):
        raise Refused(
            "tool_call_not_found",
            f"no tool call {text[:80]!r} waits for a decision; see GET /api/approvals",
        )
    return text


def take_question_id(text: str) -> str:
    """Return the id of a question. Raises Refused `question_not_found` for what cannot be one."""
    if not is_question_id(text):
        raise Refused(
            "question_not_found",
            f"no question {text[:80]!r} waits for an answer; see GET /api/questions",
        )
    return text


def is_tool_call_id(text: str) -> bool:
    """Whether this can be the id of a tool call."""
    return re.fullmatch(r"call_[0-9a-f]{8}_[0-9]{1,6}_[0-9]{1,6}", text, re.ASCII) is not None


def is_question_id(text: str) -> bool:
    """Whether this can be the id of a tool's question."""
    call, _, number = text.partition(".")
    return (
        is_tool_call_id(call)
        and re.fullmatch(r"([2-9]|[1-9][0-9])?", number) is not None
        and (bool(number) == ("." in text))
    )


def parse_traceparent(value: object) -> str | None:
    """Return the trace of a request, a W3C traceparent of version 00, or None."""
    if isinstance(value, str) and _TRACEPARENT.fullmatch(value.strip()):
        return value.strip()
    return None
