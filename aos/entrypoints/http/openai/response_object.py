"""Writes the response object of OpenAI's API. Entry points: `describe_response`, `find_status`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from aos.domain.json_writer import write_json
from aos.domain.runs.run import AdmittedRequest, Run, RunStatus, Usage
from aos.domain.runs.run_options import RunOptions
from aos.entrypoints.http.openai.names import ResponseId, name_conversation
from aos.errors import ErrorInfo

ResponseStatus: TypeAlias = Literal[
    "queued", "in_progress", "completed", "incomplete", "failed", "cancelled"
]
IncompleteReason: TypeAlias = Literal["max_output_tokens", "content_filter"]
_STATUSES: Mapping[RunStatus, ResponseStatus] = {
    RunStatus.QUEUED: "queued",
    RunStatus.IN_PROGRESS: "in_progress",
    RunStatus.WAITING_APPROVAL: "in_progress",
    RunStatus.WAITING_INPUT: "in_progress",
    RunStatus.COMPLETED: "completed",
    RunStatus.FAILED: "failed",
    RunStatus.CANCELLED: "cancelled",
    RunStatus.TIMED_OUT: "failed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request said that a run does not keep."""

    background: bool = False
    previous: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How far a response has come."""

    status: ResponseStatus
    output: Sequence[Mapping[str, Any]] = ()
    usage: Usage | None = None
    error: ErrorInfo | None = None
    incomplete: IncompleteReason | None = None
    """Why its output is not whole, in the API's words."""
    completed_at: datetime | None = None


def find_status(run: Run) -> ResponseStatus:
    """The status of a response whose run is not divided by approvals."""
    is_whole = find_incomplete(run.finish_reason, run.error) is None
    return _STATUSES[run.status] if is_whole else "incomplete"


def find_incomplete(finish_reason: Any, error: ErrorInfo | None) -> IncompleteReason | None:
    """Why the output of a run that has ended so is not whole, in the API's words."""
    if error is not None and error.code == "content_filtered":
        return "content_filter"
    return "max_output_tokens" if finish_reason == "length" else None


def describe_response(
    request: AdmittedRequest, outcome: Outcome, *, part: int = 0, asked: Asked | None = None
) -> dict[str, Any]:
    """The response object."""
    asked = asked or Asked()
    options = request.options or RunOptions()
    response_id = ResponseId(request.run_id, part)
    before = ResponseId(request.run_id, part - 1) if part else None
    return {
        "id": str(response_id),
        "object": "response",
        "created_at": int(request.admitted_at.timestamp()),
        "completed_at": _seconds(outcome.completed_at),
        "status": outcome.status,
        "background": asked.background,
        "error": None if outcome.error is None else describe_run_error(outcome.error),
        "incomplete_details": {"reason": outcome.incomplete} if outcome.incomplete else None,
        "instructions": options.instructions or None,
        "max_output_tokens": options.max_output_tokens,
        "max_tool_calls": None,
        "model": request.agent_id,
        "output": list(outcome.output),
        "parallel_tool_calls": True,
        "previous_response_id": asked.previous or (str(before) if before else None),
        "conversation": {"id": name_conversation(request.conversation_id)},
        "reasoning": {"effort": None, "summary": None},
        "store": True,
        "temperature": None,
        "text": {"format": _describe_format(options.output_schema)},
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "truncation": "auto",
        "usage": None if outcome.usage is None else describe_usage(outcome.usage),
        "user": None,
        "metadata": describe_metadata(request.metadata),
    }


def describe_usage(usage: Usage) -> dict[str, Any]:
    """The usage of a response."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def describe_run_error(error: ErrorInfo) -> dict[str, Any]:
    """Why a response failed. The message begins with the code of AOS, as the API's codes are
    few."""
    code = "rate_limit_exceeded" if error.code == "budget_spent" else "server_error"
    return {"code": code, "message": f"{error.code}: {error.message}"}


def describe_metadata(metadata: Mapping[str, Any]) -> dict[str, str]:
    """The metadata as the API has it: texts. Other values, which come by other doors, are JSON."""
    return {
        name: value if isinstance(value, str) else write_json(value, ensure_ascii=False)
        for name, value in metadata.items()
    }


def _describe_format(schema: Mapping[str, Any] | None) -> dict[str, Any]:
    if schema is None:
        return {"type": "text"}
    return {"type": "json_schema", "name": "output", "schema": dict(schema), "strict": True}


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())
