"""Shows a run as a task of MCP's extension for tasks, and reads the answers to what it asks. Entry
points: `write_task`, `AskedTask`, `read_responses`.

A run that waits for a person asks the client by elicitation: a form for a decision about a tool
call, and the tool's own form or address for its question.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from aos.domain.runs.asks import AskRequest
from aos.domain.runs.run import Run, RunStatus
from aos.domain.tools.questions import AnswerAction
from aos.domain.tools.tool import ApprovalRequest, Verdict
from aos.domain.wire_time import to_wire_time
from aos.entrypoints.http.agent_tools.tools import write_result

EXTENSION = "io.modelcontextprotocol/tasks"
POLL_MILLISECONDS = 2000
Kind: TypeAlias = Literal["approval", "question"]
_ACTIONS: Mapping[Any, AnswerAction] = {
    "accept": "accept",
    "decline": "decline",
    "cancel": "cancel",
}
_DECISION = {
    "type": "object",
    "properties": {
        "approved": {"type": "boolean", "title": "Approve the call"},
        "reason": {"type": "string", "title": "Why", "maxLength": 1024},
    },
    "required": ["approved"],
}


@dataclass(frozen=True, slots=True)
class Response:
    """A client's answer to one of the requests of a task."""

    kind: Kind
    ask_id: str
    action: AnswerAction
    content: Mapping[str, Any]

    @property
    def verdict(self) -> tuple[Verdict, str]:
        """The decision about a tool call, and its reason."""
        approved = self.action == "accept" and self.content.get("approved") is True
        reason = self.content.get("reason")
        return ("approve" if approved else "deny"), reason if isinstance(reason, str) else ""


def write_task(
    run: Run, *, now: datetime, asks: Sequence[AskRequest] = (), kinds: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the run as a task. `kinds`: the kinds of elicitation that the client can do."""
    task: dict[str, Any] = {
        "taskId": run.run_id,
        "status": "working",
        "createdAt": to_wire_time(run.created_at),
        "lastUpdatedAt": to_wire_time(run.ended_at or now),
        "ttlMs": None,
        "pollIntervalMs": POLL_MILLISECONDS,
    }
    if run.status is RunStatus.CANCELLED:
        return {**task, "status": "cancelled"}
    if run.status.has_ended:
        return {**task, "status": "completed", "result": write_result(run)}
    requests = dict(_write_requests(asks, frozenset(kinds)))
    if requests:
        return {**task, "status": "input_required", "inputRequests": requests}
    return task if run.waiting is None else {**task, "statusMessage": run.waiting.reason}


def read_responses(raw: Mapping[str, Any]) -> list[Response]:
    """Return the answers; those to requests that AOS cannot have made are ignored, as MCP says."""
    found = []
    for key, given in raw.items():
        kind, _, ask_id = key.partition(":")
        answer = given if isinstance(given, dict) else {}
        action = _ACTIONS.get(answer.get("action"))
        if kind not in ("approval", "question") or action is None:
            continue
        content = answer.get("content")
        known: Kind = "approval" if kind == "approval" else "question"
        found.append(Response(known, ask_id, action, content if isinstance(content, dict) else {}))
    return found


def _write_requests(
    asks: Sequence[AskRequest], kinds: frozenset[str]
) -> Iterable[tuple[str, dict[str, Any]]]:
    for ask in asks:
        if isinstance(ask, ApprovalRequest):
            key, mode = f"approval:{ask.tool_call_id}", "form"
            message = f"May the agent {ask.agent_id!r} call {ask.tool} with {ask.arguments}?"
            more: dict[str, Any] = {"requestedSchema": _DECISION}
        else:
            key, mode = f"question:{ask.question_id}", "form" if ask.url is None else "url"
            message = ask.message
            more = {"requestedSchema": dict(ask.requested_schema or {})}
            if ask.url is not None:
                more = {"url": ask.url, "elicitationId": ask.question_id}
        if mode in kinds:
            params = {"mode": mode, "message": message, **more}
            yield key, {"method": "elicitation/create", "params": params}
