"""Says where dead letters lie, why messages are given up, and what to do about each. Entry points:
`DeadLetter`, `Failure`, `explain`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from aos.domain.envelope import (
    MAIN_QUEUE,
    MCP_QUEUE,
    REALM_QUEUE,
    REQUESTS_QUEUE,
    RESPONSES_QUEUE,
    SYSTEM_EVENTS,
    WAKE_SUBSCRIPTION,
    Approve,
    CallTool,
    Command,
    ContinueRun,
    EnvelopeError,
    StartRun,
    ToolResult,
    is_about_blobs,
    read_command,
)
from aos.errors import ErrorInfo

JOBS_QUEUE = "aos-jobs"
POISON_QUEUE = "aos-jobs-poison"
"""The storage queue to which the Functions host moves messages of `aos-jobs` that failed five
times."""
MCP_SUBSCRIPTION = f"{SYSTEM_EVENTS}/Subscriptions/mcp"
BUS_ENTITIES = (
    REQUESTS_QUEUE,
    RESPONSES_QUEUE,
    MAIN_QUEUE,
    MCP_QUEUE,
    REALM_QUEUE,
    WAKE_SUBSCRIPTION,
    MCP_SUBSCRIPTION,
)
"""The queues and subscriptions of infra/servicebus.json."""
ENTITIES = (*BUS_ENTITIES, POISON_QUEUE)
ADDED = "dead_letter.added"
"""The type of the event about a new dead letter."""
_COMMAND_QUEUES = (MAIN_QUEUE, MCP_QUEUE, REALM_QUEUE)
_EXPIRED, _EXHAUSTED = "TTLExpiredException", "MaxDeliveryCountExceeded"

Reason: TypeAlias = Literal[
    "expired",
    "unreadable",
    "handler_failed",
    "dependency_away",
    "given_up",
    "deliveries_exhausted",
    "moved",
]
"""Why a message was given up; ours, never the broker's text."""

ADVICE: Mapping[Reason, str] = {
    "expired": "it was not handled within its time to live; replay it if it is still wanted, else"
    " purge it",
    "unreadable": "AOS cannot read it; mend its sender and purge it, or replay it after an update"
    " that reads it",
    "handler_failed": "a fault of AOS; the log line message_broken with this sequence number has"
    " the traceback. Replay it after the update that mends it",
    "dependency_away": "a dependency was away for too long; replay it when GET /api/health says"
    " that all are back",
    "given_up": "the receiver of a notification did not take it for a day, or is gone; make it"
    " ready and replay it, or purge it",
    "deliveries_exhausted": "the app that handled it ended, or lost its lock, at every delivery;"
    " look at the app's restarts and memory, mend that, then replay it",
    "moved": "the broker or a person moved it here; the portal shows their reason. Replay or purge"
    " it",
}
"""What to do about a dead letter, by its reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A row of `aosfailures`: why a message was given up, as the app that gave it up knows.

    `announced` says that the dead letter was seen and its event sent.
    """

    entity: str
    sequence_number: int
    reason: Reason
    error: ErrorInfo | None = None
    run_id: str | None = None
    failed_at: datetime
    announced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A dead letter, with why it died and what to do."""

    entity: str
    sequence_number: int
    message_id: str | None
    run_id: str | None
    enqueued_at: datetime
    delivery_count: int
    reason: Reason
    error: ErrorInfo | None
    advice: str


def find_entity(name: str) -> str | None:
    """Return the entity in our spelling, or None if it is not one of ours."""
    return next((entity for entity in ENTITIES if entity.lower() == name.lower()), None)


def explain(
    entity: str, body: bytes | None, broker_reason: str | None
) -> tuple[Reason, ErrorInfo | None]:
    """Return why a message died whose failure no app has written down.

    Apps that died write nothing, messages that expire are handled by nobody, and mcp may not write
    the table. `body` None: it is in storage and cannot be read.
    """
    if broker_reason == _EXPIRED:
        return "expired", ErrorInfo(
            code="request_expired", message="its time to live was over before it was handled"
        )
    problem = None if body is None else find_problem(entity, body)
    if problem is not None:
        return "unreadable", ErrorInfo(code="invalid_request", message=problem)
    if broker_reason == _EXHAUSTED:
        return "deliveries_exhausted", ErrorInfo(
            code="internal_error", message="no delivery of it came to an end"
        )
    return "moved", None


def find_problem(entity: str, body: bytes) -> str | None:
    """Return why AOS cannot read a message on this entity, or None."""
    if entity == REQUESTS_QUEUE:
        return None if parse_object(body) is not None else "the body is not a JSON object in UTF-8"
    if entity not in _COMMAND_QUEUES or (entity == MAIN_QUEUE and is_about_blobs(body)):
        return None
    try:
        read_command(body)
    except EnvelopeError as error:
        return str(error)
    return None


def read_work(entity: str, body: bytes) -> Command | None:
    """Return the command that a run goes on with, or None for every other message.

    Such a command is of no use to a run that has ended: its replay asks the run again.
    """
    if entity not in (MCP_QUEUE, REALM_QUEUE):
        return None
    try:
        command = read_command(body)
    except EnvelopeError:
        return None
    if isinstance(command, StartRun | ContinueRun | CallTool | ToolResult | Approve):
        return command
    return None


def read_names(body: bytes) -> tuple[str | None, str | None]:
    """Return the run and the conversation that a command, a reply or a request names."""
    value = parse_object(body) or {}
    run_id, conversation_id = value.get("run_id"), value.get("conversation_id")
    return (
        run_id if isinstance(run_id, str) else None,
        conversation_id if isinstance(conversation_id, str) else None,
    )


def parse_object(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object in a body, or None."""
    try:
        value = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
