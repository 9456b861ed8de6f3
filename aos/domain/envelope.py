"""What do the apps say to each other over the bus?

Commands travel on queues named after their receiver (docs/contracts/service-bus.md). Each is a
frozen value with a wire form; `read_command` is the only parser. Unknown fields are ignored, an
unknown type or version is an `EnvelopeError`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from aos.domain.json_writer import known_json
from aos.domain.runs.commands import CancelRun as CancelRun
from aos.domain.runs.commands import ContinueRun as ContinueRun
from aos.domain.runs.commands import RunEnded as RunEnded
from aos.domain.runs.commands import StartRun as StartRun
from aos.domain.runs.run import AdmittedRequest, ParentRun, ReplyAddress, Run
from aos.domain.tools.commands import Approve as Approve
from aos.domain.tools.commands import CallTool as CallTool
from aos.domain.tools.commands import CancelChild as CancelChild
from aos.domain.tools.commands import RequestRun as RequestRun
from aos.domain.tools.commands import ToolResult as ToolResult
from aos.domain.tools.commands import read_tool_command, required_text
from aos.domain.wire_time import from_wire_time, required_time, to_wire_time

VERSION = 1
REQUESTS_QUEUE = "aos-requests"
MAIN_QUEUE = "aos-main"
MCP_QUEUE = "aos-mcp"
REALM_QUEUE = "aos-realm"
RESPONSES_QUEUE = "businessinfinity-responses"
AGENT_EVENTS = "agent-events"
SYSTEM_EVENTS = "system-events"


class EnvelopeError(ValueError):
    """A bus message of ours that cannot be read: it is dead-lettered with this text."""


RealmCommand: TypeAlias = StartRun | CancelRun | ContinueRun | ToolResult | Approve
MainCommand: TypeAlias = RunEnded | RequestRun | CancelChild
Command: TypeAlias = RealmCommand | MainCommand | CallTool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A command on its way: the queue, the session (realm's only), and from when it is wanted."""

    queue: str
    command: Command
    session_id: str | None = None
    scheduled_at: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """The form it has in an outbox."""
        return {
            "queue": self.queue,
            "session_id": self.session_id,
            "scheduled_at": to_wire_time(self.scheduled_at),
            "command": to_dict(self.command),
        }

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Outgoing:
        """Read the outbox form back."""
        return cls(
            queue=raw["queue"],
            session_id=raw["session_id"],
            scheduled_at=from_wire_time(raw["scheduled_at"]),
            command=from_dict(raw["command"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A message for the outside: what the bus adapter puts on a reply entity."""

    entity: str
    message_id: str
    correlation_id: str | None
    session_id: str
    body: dict[str, Any]
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A CloudEvent that AOS publishes; `topic` is `agent-events` or `system-events`."""

    topic: str
    id: str
    type: str
    source: str
    time: datetime
    data: dict[str, Any] = field(default_factory=dict)
    traceparent: str | None = None


def to_realm(command: RealmCommand, *, scheduled_at: datetime | None = None) -> Outgoing:
    """Address a command to realm, on its conversation's session."""
    return Outgoing(
        queue=REALM_QUEUE,
        session_id=command.conversation_id,
        scheduled_at=scheduled_at,
        command=command,
    )


def to_main(command: MainCommand) -> Outgoing:
    """Address a command to main."""
    return Outgoing(queue=MAIN_QUEUE, command=command)


def to_mcp(command: CallTool) -> Outgoing:
    """Address a command to mcp."""
    return Outgoing(queue=MCP_QUEUE, command=command)


def to_dict(command: Command) -> dict[str, Any]:
    """The envelope: the common fields, then the command's own."""
    return {
        "version": VERSION,
        "type": command.type,
        "command_id": command.command_id,
        "run_id": command.run_id,
        "conversation_id": command.conversation_id,
        "attempt": command.attempt,
        **command.body,
    }


def from_dict(raw: dict[str, Any]) -> Command:
    """Read an envelope; raises EnvelopeError when it is not one of ours."""
    if raw.get("version", VERSION) != VERSION:
        raise EnvelopeError(f"envelope version {raw.get('version')!r} is not {VERSION}")
    try:
        return _read(raw)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise EnvelopeError(f"envelope of type {raw.get('type')!r}: {error!r}") from error


def read_command(body: bytes) -> Command:
    """Read a command from a message body; raises EnvelopeError."""
    try:
        raw = json.loads(body)
        known = known_json(raw) == raw
    except (ValueError, RecursionError) as error:
        raise EnvelopeError(f"not JSON: {error}") from error
    if not known:
        raise EnvelopeError("not JSON: it holds a number or half a character that JSON has not")
    if not isinstance(raw, dict):
        raise EnvelopeError("not a JSON object")
    return from_dict(raw)


def _read(raw: dict[str, Any]) -> Command:
    attempt = int(raw.get("attempt", 0))
    match raw.get("type"):
        case "StartRun":
            return StartRun(request=_request(raw), attempt=attempt)
        case "CancelRun":
            return CancelRun(request=_request(raw), reason=raw.get("reason"), attempt=attempt)
        case "ContinueRun":
            return ContinueRun(
                run_id=required_text(raw, "run_id"),
                conversation_id=required_text(raw, "conversation_id"),
                due=from_wire_time(raw.get("due")),
                attempt=attempt,
            )
        case "RunEnded":
            return RunEnded(
                run=Run.from_dict(raw["run"]),
                owner=raw["owner"],
                reply=ReplyAddress.from_dict(raw.get("reply")),
                parent=None if raw.get("parent") is None else ParentRun.from_dict(raw["parent"]),
                traceparent=raw.get("traceparent"),
                attempt=attempt,
            )
        case unknown:
            command = read_tool_command(raw, attempt=attempt)
            if command is None:
                raise EnvelopeError(f"unknown command type {unknown!r}")
            return command


def _request(raw: dict[str, Any]) -> AdmittedRequest:
    required_time(raw["admitted_at"])
    outside = {name: raw[name] for name in ("owner", "admitted_at", "catalog_version")}
    return AdmittedRequest.from_dict({**raw["request"], **outside})
