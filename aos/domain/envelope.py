"""Reads, writes and addresses the messages between the apps. Entry points: `read_command`,
`to_realm`, `Outgoing`.

Commands travel on queues named after their receiver (docs/contracts/service-bus.md). Each is a
frozen value; `encode` of `aos.domain.codec` makes its envelope, `read_command` is the only parser.
Unknown fields are ignored; an unknown type or version, and a field of a wrong type, is an
`EnvelopeError`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias, get_args

from aos.domain.codec import ShapeError, decode
from aos.domain.command_fields import VERSION as VERSION
from aos.domain.json_writer import known_json
from aos.domain.runs.commands import CancelRun as CancelRun
from aos.domain.runs.commands import ContinueRun as ContinueRun
from aos.domain.runs.commands import DeleteConversation as DeleteConversation
from aos.domain.runs.commands import DeliverNotification as DeliverNotification
from aos.domain.runs.commands import RemoveDeltas as RemoveDeltas
from aos.domain.runs.commands import RunEnded as RunEnded
from aos.domain.runs.commands import StartRun as StartRun
from aos.domain.runs.commands import WatchRun as WatchRun
from aos.domain.tools.commands import Approve as Approve
from aos.domain.tools.commands import CallTool as CallTool
from aos.domain.tools.commands import CancelCall as CancelCall
from aos.domain.tools.commands import CancelChild as CancelChild
from aos.domain.tools.commands import RequestRun as RequestRun
from aos.domain.tools.commands import ToolResult as ToolResult
from aos.domain.wire_time import to_wire_time

REQUESTS_QUEUE = "aos-requests"
MAIN_QUEUE = "aos-main"
MCP_QUEUE = "aos-mcp"
REALM_QUEUE = "aos-realm"
RESPONSES_QUEUE = "businessinfinity-responses"
AGENT_EVENTS = "agent-events"
WAKE_SUBSCRIPTION = f"{AGENT_EVENTS}/Subscriptions/wake"
SYSTEM_EVENTS = "system-events"


class EnvelopeError(ValueError):
    """A message of our queues that cannot be read; it is dead-lettered with this text."""


class GivenUp(Exception):
    """A message whose work AOS has given up. It becomes a dead letter, which may be replayed."""


RealmCommand: TypeAlias = (
    StartRun
    | CancelRun
    | ContinueRun
    | ToolResult
    | Approve
    | WatchRun
    | RemoveDeltas
    | DeleteConversation
)
MainCommand: TypeAlias = RunEnded | RequestRun | CancelChild | DeliverNotification
McpCommand: TypeAlias = CallTool | CancelCall
Command: TypeAlias = RealmCommand | MainCommand | McpCommand
COMMANDS: Mapping[str, type[Command]] = {kind.__name__: kind for kind in get_args(Command)}
"""The commands by their `type`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A command to send: its queue, its session (realm only), and when to deliver it."""

    queue: str
    session_id: str | None = None
    scheduled_at: datetime | None = None
    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A reply to a caller, for a queue or topic."""

    entity: str
    message_id: str
    correlation_id: str | None
    session_id: str
    body: dict[str, Any]
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A CloudEvent that AOS publishes on the topic `agent-events` or `system-events`."""

    topic: str
    id: str
    type: str
    source: str
    time: datetime
    data: dict[str, Any] = field(default_factory=dict)
    traceparent: str | None = None

    def to_cloud_event(self) -> dict[str, Any]:
        """Return the event as the JSON object that is published."""
        return {
            "specversion": "1.0",
            "id": self.id,
            "type": self.type,
            "source": self.source,
            "time": to_wire_time(self.time),
            "datacontenttype": "application/json",
            "data": self.data,
        }


def to_realm(command: RealmCommand, *, scheduled_at: datetime | None = None) -> Outgoing:
    """Address a command to realm, in its conversation's session."""
    return Outgoing(
        queue=REALM_QUEUE,
        session_id=command.conversation_id,
        scheduled_at=scheduled_at,
        command=command,
    )


def to_main(command: MainCommand, *, scheduled_at: datetime | None = None) -> Outgoing:
    """Address a command to main."""
    return Outgoing(queue=MAIN_QUEUE, scheduled_at=scheduled_at, command=command)


def to_mcp(command: McpCommand) -> Outgoing:
    """Address a command to mcp."""
    return Outgoing(queue=MCP_QUEUE, command=command)


def is_about_blobs(body: bytes) -> bool:
    """Whether this is an event about blobs (Event Grid's or CloudEvents' schema, one or a list).

    Any such event means "list the cards now".
    """
    try:
        value: Any = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return False
    events = value if isinstance(value, list) else [value]
    return bool(events) and all(isinstance(e, dict) and _is_event(e) for e in events)


def read_command(body: bytes) -> Command:
    """Read a command from a message body. Raises EnvelopeError."""
    try:
        raw = json.loads(body)
        known = known_json(raw) == raw
    except (ValueError, RecursionError) as error:
        raise EnvelopeError(f"not JSON: {error}") from error
    if not known:
        raise EnvelopeError("not JSON: it has a number or a lone surrogate that JSON lacks")
    if not isinstance(raw, dict):
        raise EnvelopeError("not a JSON object")
    name = raw.get("type")
    kind: Any = COMMANDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise EnvelopeError(f"unknown command type {repr(name)[:80]}")
    try:
        command: Command = decode(kind, raw)
    except ShapeError as error:
        raise EnvelopeError(str(error)) from error
    return command


def _is_event(event: dict[str, Any]) -> bool:
    return "specversion" in event or "eventType" in event
