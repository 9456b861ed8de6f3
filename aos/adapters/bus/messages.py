"""What does each thing that we send look like as a Service Bus message?

Pure: values of the domain in, `BusMessage` out;
`aos.adapters.bus.service_bus` hands them to the SDK.
Bodies are JSON in UTF-8. The trace context travels as `traceparent` (W3C) and as `Diagnostic-Id`
(what Azure's own tools read).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import assert_never

from aos.domain.codec import encode
from aos.domain.envelope import (
    Approve,
    CallTool,
    CancelChild,
    CancelRun,
    Command,
    ContinueRun,
    Event,
    Outgoing,
    Reply,
    RequestRun,
    RunEnded,
    StartRun,
    ToolResult,
)
from aos.domain.json_writer import write_json
from aos.domain.wire_time import to_wire_time
from aos.ports.bus import ReceivedMessage

SHORTEST_TTL = timedelta(seconds=1)
JSON_TYPE = "application/json"
CLOUD_EVENT_TYPE = "application/cloudevents+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class BusMessage:
    """A message for the queue or topic `entity`, in the words of Service Bus."""

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


def command_message(outgoing: Outgoing) -> BusMessage:
    """A command to one of our queues; message_id = its command_id."""
    command = outgoing.command
    agent_id, traceparent = agent_and_trace(command)
    return BusMessage(
        entity=outgoing.queue,
        body=_json(encode(command)),
        message_id=command.command_id,
        subject=command.type,
        session_id=outgoing.session_id,
        scheduled_at=outgoing.scheduled_at,
        properties=_present(run_id=command.run_id, agent_id=agent_id) | _trace(traceparent),
    )


def agent_and_trace(command: Command) -> tuple[str | None, str | None]:
    """The agent that a command is about, and the traceparent that its message carries."""
    match command:
        case StartRun() | CancelRun():
            return command.request.agent_id, command.request.traceparent
        case RunEnded():
            return command.run.agent_id, command.traceparent
        case CallTool() | RequestRun():
            return command.agent_id, command.traceparent
        case ToolResult():
            return None, command.traceparent
        case ContinueRun() | Approve() | CancelChild():
            return None, None
        case _:
            assert_never(command)


def reply_message(reply: Reply) -> BusMessage:
    """A reply to the outside."""
    kind = reply.body.get("type")
    return BusMessage(
        entity=reply.entity,
        body=_json(reply.body),
        message_id=reply.message_id,
        subject=kind if isinstance(kind, str) else None,
        correlation_id=reply.correlation_id,
        session_id=reply.session_id,
        properties=_trace(reply.traceparent),
    )


def event_message(event: Event) -> BusMessage:
    """A CloudEvent in structured mode; `aos_app` tells our own wake subscription to leave it."""
    cloud_event = {
        "specversion": "1.0",
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "time": to_wire_time(event.time),
        "datacontenttype": JSON_TYPE,
        "data": event.data,
    }
    return BusMessage(
        entity=event.topic,
        body=_json(cloud_event),
        message_id=event.id,
        content_type=CLOUD_EVENT_TYPE,
        subject=event.type,
        properties={"aos_app": "aos"} | _trace(event.traceparent),
    )


def postponed_message(message: ReceivedMessage, *, at: datetime, attempt: int) -> BusMessage:
    """A copy of what was received, for `at`, with the original's key and expiry.

    A message's time to live counts from `at` on, so only what is left of it is given; one that
    has expired meanwhile still comes once more (a second later it may be refused as expired).
    """
    left = None if message.expires_at is None else max(message.expires_at - at, SHORTEST_TTL)
    kept = {name: value for name, value in message.properties.items() if _sendable(value)}
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
        properties=_trace(message.traceparent)
        | kept
        | {"attempt": attempt, "aos_key": message.key},
    )


def _json(value: Mapping[str, object]) -> bytes:
    return write_json(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _present(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _trace(traceparent: str | None) -> dict[str, object]:
    return _present(**{"traceparent": traceparent, "Diagnostic-Id": traceparent})


def _sendable(value: object) -> bool:
    """Whether AMQP has a simple type for it (a host may hand out more than it was sent)."""
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return isinstance(value, str | bytes | float | uuid.UUID | datetime)
