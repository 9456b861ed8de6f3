"""Turns commands, replies and events into Service Bus messages. Entry points: `BusMessage`,
`build_command_message`, `fit_message`.

The functions are pure; `aos.adapters.bus.service_bus` passes the result to the SDK. Bodies are JSON
in UTF-8. The trace context travels as `traceparent` (W3C) and as `Diagnostic-Id`, which Azure's own
tools read.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import assert_never

from aos.domain.bus_limits import fit_properties, shorten_id
from aos.domain.codec import encode
from aos.domain.envelope import (
    Approve,
    CallTool,
    CancelCall,
    CancelChild,
    CancelRun,
    Command,
    ContinueRun,
    DeleteConversation,
    DeliverNotification,
    Event,
    Outgoing,
    RemoveDeltas,
    Reply,
    RequestRun,
    RunEnded,
    StartRun,
    ToolResult,
    WatchRun,
)
from aos.domain.json_writer import write_json
from aos.domain.wire_time import to_wire_time
from aos.ports.bus import EXPIRY, ReceivedMessage
from aos.ports.dead_letters import DeadMessage

SHORTEST_TTL = timedelta(minutes=1)
"""The time that a copy of an expired message has to arrive; then its expiry is answered."""
LONGEST_TTL = timedelta(milliseconds=2**32 - 1)
"""AMQP's header has 32 bits for it, about 50 days."""
JSON_TYPE = "application/json"
CLOUD_EVENT_TYPE = "application/cloudevents+json"
_OF_A_DEAD_LETTER = ("DeadLetterReason", "DeadLetterErrorDescription", "attempt", EXPIRY)
"""Properties that a replay leaves out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BusMessage:
    """A message for the queue or topic `entity`, with the properties of Service Bus."""

    entity: str
    body: bytes
    message_id: str | None
    content_type: str | None = JSON_TYPE
    subject: str | None = None
    correlation_id: str | None = None
    session_id: str | None = None
    reply_to: str | None = None
    reply_to_session_id: str | None = None
    scheduled_at: datetime | None = None
    time_to_live: timedelta | None = None
    properties: Mapping[str, object] = field(default_factory=dict)


def build_command_message(outgoing: Outgoing) -> BusMessage:
    """Build the message of a command to one of AOS's queues. Its `message_id` is the
    `command_id`."""
    command = outgoing.command
    agent_id, traceparent = read_agent_and_trace(command)
    return BusMessage(
        entity=outgoing.queue,
        body=_write_body(encode(command)),
        message_id=command.command_id,
        subject=command.type,
        session_id=outgoing.session_id,
        scheduled_at=outgoing.scheduled_at,
        properties=_drop_none(run_id=command.run_id, agent_id=agent_id)
        | _trace_properties(traceparent),
    )


def read_agent_and_trace(command: Command) -> tuple[str | None, str | None]:
    """Return the agent that a command is about, and the command's traceparent."""
    match command:
        case StartRun() | CancelRun():
            return command.request.agent_id, command.request.traceparent
        case RunEnded():
            return command.run.agent_id, command.traceparent
        case CallTool() | RequestRun() | DeliverNotification():
            return command.agent_id, command.traceparent
        case ToolResult():
            return None, command.traceparent
        case ContinueRun() | Approve() | WatchRun() | CancelChild() | CancelCall():
            return None, None
        case RemoveDeltas() | DeleteConversation():
            return None, None
        case _:
            assert_never(command)


def build_reply_message(reply: Reply) -> BusMessage:
    """Build the message of a reply."""
    kind = reply.body.get("type")
    return BusMessage(
        entity=reply.entity,
        body=_write_body(reply.body),
        message_id=reply.message_id,
        subject=kind if isinstance(kind, str) else None,
        correlation_id=reply.correlation_id,
        session_id=reply.session_id,
        properties=_trace_properties(reply.traceparent),
    )


def build_event_message(event: Event) -> BusMessage:
    """Build the message of a CloudEvent in structured mode.

    The property `aos_app` tells AOS's own wake subscription to ignore it.
    """
    return BusMessage(
        entity=event.topic,
        body=_write_body(event.to_cloud_event()),
        message_id=event.id,
        content_type=CLOUD_EVENT_TYPE,
        subject=event.type,
        properties={"aos_app": "aos"} | _trace_properties(event.traceparent),
    )


def build_postponed_message(message: ReceivedMessage, *, at: datetime, attempt: int) -> BusMessage:
    """Build a copy of a received message for the time `at`, with the original's key and expiry.

    The time to live of a scheduled message counts from `at`, so the copy gets only the time that is
    left, but enough to arrive. The property `aos_expires_at` keeps the original's expiry, which the
    copy is judged by.
    """
    expires_at = _find_finite_expiry(message, at)
    left = None if expires_at is None else max(expires_at - at, SHORTEST_TTL)
    kept = {name: value for name, value in message.properties.items() if _is_simple(value)}
    return BusMessage(
        entity=message.entity,
        body=message.body,
        message_id=message.message_id,
        content_type=message.content_type,
        correlation_id=message.correlation_id,
        session_id=message.session_id,
        reply_to=message.reply_to,
        reply_to_session_id=message.reply_to_session_id,
        scheduled_at=at,
        time_to_live=left,
        properties=_trace_properties(message.traceparent)
        | kept
        | {"attempt": attempt, "aos_key": message.key}
        | _drop_none(**{EXPIRY: expires_at and to_wire_time(expires_at)}),
    )


def build_replayed_message(dead: DeadMessage, *, message_id: str) -> BusMessage:
    """Build a copy of a dead letter for its entity, as new: without expiry, attempts and reasons.

    It keeps the key, so that it is the same request. A subscription's copy goes to the topic.
    """
    message = dead.message
    kept = {name: value for name, value in message.properties.items() if _is_simple(value)}
    for name in _OF_A_DEAD_LETTER:
        kept.pop(name, None)
    return BusMessage(
        entity=message.entity.partition("/")[0],
        body=message.body,
        message_id=message_id,
        content_type=message.content_type,
        subject=dead.subject,
        correlation_id=message.correlation_id,
        session_id=message.session_id,
        reply_to=message.reply_to,
        reply_to_session_id=message.reply_to_session_id,
        properties=kept | {"aos_key": message.key},
    )


def _find_finite_expiry(message: ReceivedMessage, at: datetime) -> datetime | None:
    """Return the message's expiry; None if it has none, which .NET tells as the end of time."""
    expires_at = message.expires_at
    return None if expires_at is None or expires_at - at > LONGEST_TTL else expires_at


def fit_message(message: BusMessage) -> BusMessage:
    """Return the message as Service Bus takes it, whatever a caller had put into it.

    Ids that are too long become their SHA-256. Properties that are too large together are left out.
    """
    return replace(
        message,
        message_id=_shorten(message.message_id),
        correlation_id=_shorten(message.correlation_id),
        session_id=_shorten(message.session_id),
        reply_to_session_id=_shorten(message.reply_to_session_id),
        properties=fit_properties(message.properties),
    )


def _shorten(text: str | None) -> str | None:
    return shorten_id(text) if text else None


def _write_body(value: Mapping[str, object]) -> bytes:
    return write_json(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _drop_none(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _trace_properties(traceparent: str | None) -> dict[str, object]:
    return _drop_none(**{"traceparent": traceparent, "Diagnostic-Id": traceparent})


def _is_simple(value: object) -> bool:
    """Whether AMQP has a simple type for the value. A host may add properties that were not
    sent."""
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return isinstance(value, str | bytes | float | uuid.UUID | datetime)
