"""Reads why a call has not ended from what a server answers. Entry points: `read_pause`,
`read_question`, `read_links`.

The answer may ask a person (`input_required`), or be a task (MCP's extension for tasks).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from aos.adapters.mcp.masking import Masker
from aos.adapters.mcp.results import AsksFirst, show
from aos.domain.json_writer import known_json
from aos.domain.tools.answer_rules import find_form_fault
from aos.domain.tools.questions import (
    LONGEST_POLL_SECONDS,
    MAX_MESSAGE_CHARACTERS,
    MAX_QUESTIONS,
    MAX_STATE_BYTES,
    MAX_TASK_ID,
    MAX_URL_CHARACTERS,
    SHORTEST_POLL_SECONDS,
    USUAL_POLL_SECONDS,
    CallPause,
    ToolQuestion,
)

ELICITATION = "elicitation/create"


def read_pause(raw: Mapping[str, Any], masker: Masker) -> CallPause | None:
    """Why the call goes on; None for a result. Raises AsksFirst for what AOS cannot answer."""
    kind = raw.get("resultType", "complete")
    if kind == "input_required":
        return CallPause(
            kind="retry",
            questions=read_questions(raw.get("inputRequests"), masker),
            request_state=_read_state(raw.get("requestState")),
        )
    if kind == "task":
        return read_task(raw)
    return None


def read_task(raw: Mapping[str, Any]) -> CallPause | None:
    """The task that a call has become; None where it cannot be asked for."""
    task_id = raw.get("taskId")
    if not isinstance(task_id, str) or not 1 <= len(task_id) <= MAX_TASK_ID:
        return None
    return CallPause(kind="task", task_id=task_id, poll_seconds=read_poll_seconds(raw))


def read_poll_seconds(raw: Mapping[str, Any]) -> float:
    """How long to wait before the next question after a task, within bounds."""
    wanted = raw.get("pollIntervalMs")
    if isinstance(wanted, bool) or not isinstance(wanted, int | float):
        return USUAL_POLL_SECONDS
    return max(SHORTEST_POLL_SECONDS, min(LONGEST_POLL_SECONDS, wanted / 1000))


def read_questions(raw: Any, masker: Masker) -> tuple[ToolQuestion, ...]:
    """The questions of `inputRequests`. Raises AsksFirst."""
    requests = raw if isinstance(raw, dict) else {}
    methods = {str(_as_object(request).get("method")) for request in requests.values()}
    others = sorted(methods - {ELICITATION})
    if others:
        raise AsksFirst(f"asks for {', '.join(others)} before it goes on, which AOS does not offer")
    if len(requests) > MAX_QUESTIONS:
        raise AsksFirst(
            f"asks a person {len(requests)} questions at once, the limit is {MAX_QUESTIONS}"
        )
    return tuple(
        read_question(str(key), _as_object(request).get("params"), masker)
        for key, request in requests.items()
    )


def read_question(key: str, params: Any, masker: Masker) -> ToolQuestion:
    """One question to a person, without the server's secrets. Raises AsksFirst."""
    told = masker.value(known_json(_as_object(params)))
    message = told.get("message")
    if not isinstance(message, str):
        raise AsksFirst("asks a person a question without a message")
    message = message[:MAX_MESSAGE_CHARACTERS]
    if told.get("mode") == "url":
        return ToolQuestion(key=key, message=message, url=_read_url(told.get("url"), message))
    schema = told.get("requestedSchema", {"type": "object", "properties": {}})
    fault = find_form_fault(schema) if isinstance(schema, dict) else "its schema is not an object"
    if fault is not None:
        raise AsksFirst(f"asks a person a question that AOS cannot ask ({fault}): {show(message)}")
    return ToolQuestion(key=key, message=message, requested_schema=schema)


def read_links(data: Any, masker: Masker) -> tuple[ToolQuestion, ...]:
    """The questions of an error that says which addresses a person must visit first.

    Raises AsksFirst.
    """
    listed = _as_object(data).get("elicitations")
    items = listed if isinstance(listed, list) else []
    return tuple(
        read_question("", {**item, "mode": "url"}, masker)
        for item in items[:MAX_QUESTIONS]
        if isinstance(item, dict)
    )


def is_same_question(one: ToolQuestion, other: ToolQuestion) -> bool:
    """Whether the answer to one is the answer to the other: an address may have a new id in it."""
    if one.message != other.message or one.requested_schema != other.requested_schema:
        return False
    return _find_host(one.url) == _find_host(other.url)


def _read_state(state: Any) -> str | None:
    if state is None:
        return None
    if not isinstance(state, str) or len(state.encode("utf-8", "replace")) > MAX_STATE_BYTES:
        raise AsksFirst(
            f"asks a person a question with a state that is no text of up to {MAX_STATE_BYTES:,}"
            " bytes"
        )
    return state


def _read_url(url: Any, message: str) -> str:
    if isinstance(url, str) and len(url) <= MAX_URL_CHARACTERS:
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme in ("https", "http") and parts.hostname:
            return url
    raise AsksFirst(f"asks a person to visit an address that is not a web address: {show(message)}")


def _find_host(url: str | None) -> str | None:
    return None if url is None else urlsplit(url).netloc


def _as_object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
