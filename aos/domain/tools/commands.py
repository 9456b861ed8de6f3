"""What do the apps say to each other about tools, approvals and delegated runs?

The commands beside those of `aos.domain.envelope`, which reads and addresses them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias, get_args

from aos.domain.runs.run import ParentRun, run_id_for
from aos.domain.tools.tool import Outcome, ToolOutcome
from aos.domain.wire_time import required_time, to_wire_time


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTool:
    """Realm to mcp: call this tool, unless a result stands; past `deadline` call nothing.

    The digests are those of the tool that a person approved: another tool is not called.
    """

    type: Literal["CallTool"] = "CallTool"
    run_id: str
    conversation_id: str
    tool_call_id: str
    agent_id: str
    server_id: str
    tool: str
    arguments: Mapping[str, Any]
    deadline: datetime
    server_digest: str | None = None
    schema_digest: str | None = None
    traceparent: str | None = None
    attempt: int = 0

    @property
    def command_id(self) -> str:
        """Deterministic."""
        return f"{self.run_id}:{self.tool_call_id}:call"

    @property
    def body(self) -> dict[str, Any]:
        """What it carries beyond the common fields."""
        return {
            "tool_call_id": self.tool_call_id,
            "agent_id": self.agent_id,
            "server_id": self.server_id,
            "tool": self.tool,
            "arguments": dict(self.arguments),
            "deadline": to_wire_time(self.deadline),
            "server_digest": self.server_digest,
            "schema_digest": self.schema_digest,
            "traceparent": self.traceparent,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """Mcp (of a delegated run: main) to realm: what the call came to.

    `tokens`: what a delegated run spent, which counts against its parent's budget.
    """

    type: Literal["ToolResult"] = "ToolResult"
    run_id: str
    conversation_id: str
    tool_call_id: str
    outcome: Outcome
    content: str
    parts: tuple[dict[str, Any], ...] = ()
    tokens: int = 0
    traceparent: str | None = None
    attempt: int = 0

    @property
    def command_id(self) -> str:
        """Deterministic."""
        return f"{self.run_id}:{self.tool_call_id}:result"

    @property
    def result(self) -> ToolOutcome:
        """The outcome as state keeps it."""
        return ToolOutcome(outcome=self.outcome, content=self.content, parts=self.parts)

    @property
    def body(self) -> dict[str, Any]:
        """What it carries beyond the common fields."""
        return {
            "tool_call_id": self.tool_call_id,
            "outcome": self.outcome,
            "content": self.content,
            "parts": list(self.parts),
            "tokens": self.tokens,
            "traceparent": self.traceparent,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Approve:
    """Main to realm: a decision about this call stands. It only wakes: the row is what counts."""

    type: Literal["Approve"] = "Approve"
    run_id: str
    conversation_id: str
    tool_call_id: str
    attempt: int = 0

    @property
    def command_id(self) -> str:
        """Deterministic."""
        return f"{self.run_id}:{self.tool_call_id}:approve"

    @property
    def body(self) -> dict[str, Any]:
        """What it carries beyond the common fields."""
        return {"tool_call_id": self.tool_call_id}


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRun:
    """Realm to main: admit a delegated run, whose end is the result of the parent's call."""

    type: Literal["RequestRun"] = "RequestRun"
    parent: ParentRun
    owner: str
    agent_id: str
    message: str
    as_admin: bool = False
    traceparent: str | None = None
    attempt: int = 0

    @property
    def command_id(self) -> str:
        """Deterministic."""
        return f"{self.parent.run_id}:{self.parent.tool_call_id}:delegate"

    @property
    def run_id(self) -> str:
        """The delegated run's id."""
        return run_id_for(scope=delegation_scope(self.owner), key=delegation_key(self.parent))

    @property
    def conversation_id(self) -> str:
        """The delegated run's conversation: one of its own."""
        return self.run_id

    @property
    def body(self) -> dict[str, Any]:
        """What it carries beyond the common fields."""
        return {
            "parent": self.parent.to_dict(),
            "owner": self.owner,
            "agent_id": self.agent_id,
            "message": self.message,
            "as_admin": self.as_admin,
            "traceparent": self.traceparent,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelChild:
    """Realm to main: the parent has ended; so must the run that it delegated with this call."""

    type: Literal["CancelChild"] = "CancelChild"
    run_id: str
    conversation_id: str
    owner: str
    tool_call_id: str
    attempt: int = 0

    @property
    def command_id(self) -> str:
        """Deterministic; `run_id` is the parent's."""
        return f"{self.run_id}:{self.tool_call_id}:cancel-child"

    @property
    def child_run_id(self) -> str:
        """The delegated run's id."""
        key = f"{self.run_id}:{self.tool_call_id}"
        return run_id_for(scope=delegation_scope(self.owner), key=key)

    @property
    def body(self) -> dict[str, Any]:
        """What it carries beyond the common fields."""
        return {
            "owner": self.owner,
            "tool_call_id": self.tool_call_id,
            "child_run_id": self.child_run_id,
        }


ToolCommand: TypeAlias = CallTool | ToolResult | Approve | RequestRun | CancelChild


def delegation_scope(owner: str) -> str:
    """The idempotency scope of the door `delegation`."""
    return f"delegation:{owner}"


def delegation_key(parent: ParentRun) -> str:
    """The idempotency key of a delegated run."""
    return f"{parent.run_id}:{parent.tool_call_id}"


def read_tool_command(raw: Mapping[str, Any], *, attempt: int) -> ToolCommand | None:
    """The command that an envelope holds, or None when it is none of these."""
    common: dict[str, Any] = {"attempt": attempt}
    match raw.get("type"):
        case "RequestRun":
            return RequestRun(
                parent=ParentRun.from_dict(raw["parent"]),
                owner=raw["owner"],
                agent_id=raw["agent_id"],
                message=raw["message"],
                as_admin=raw.get("as_admin", False),
                traceparent=raw.get("traceparent"),
                **common,
            )
        case "CallTool" | "ToolResult" | "Approve" | "CancelChild":
            for name in ("run_id", "conversation_id", "tool_call_id"):
                common[name] = required_text(raw, name)
            return _about_a_call(raw, common)
        case _:
            return None


def _about_a_call(raw: Mapping[str, Any], common: dict[str, Any]) -> ToolCommand:
    match raw["type"]:
        case "CallTool":
            return CallTool(
                agent_id=required_text(raw, "agent_id"),
                server_id=required_text(raw, "server_id"),
                tool=required_text(raw, "tool"),
                arguments=dict(raw["arguments"]),
                deadline=required_time(raw["deadline"]),
                server_digest=raw.get("server_digest"),
                schema_digest=raw.get("schema_digest"),
                traceparent=raw.get("traceparent"),
                **common,
            )
        case "ToolResult":
            return ToolResult(
                outcome=_outcome(raw["outcome"]),
                content=required_text(raw, "content"),
                parts=_parts(raw.get("parts")),
                tokens=_tokens(raw.get("tokens")),
                traceparent=raw.get("traceparent"),
                **common,
            )
        case "CancelChild":
            return CancelChild(owner=required_text(raw, "owner"), **common)
        case _:
            return Approve(**common)


def required_text(raw: Mapping[str, Any], name: str) -> str:
    """A field that must be a text; raises ValueError, and KeyError where it is missing."""
    value = raw[name]
    if not isinstance(value, str):
        raise ValueError(f"{name} is not a text")
    return value


def _outcome(value: Any) -> Outcome:
    if value not in get_args(Outcome):
        raise ValueError("outcome is not one that a call can have")
    known: Outcome = value
    return known


def _parts(value: Any) -> tuple[dict[str, Any], ...]:
    parts = tuple(value or ())
    if not all(isinstance(part, dict) for part in parts):
        raise ValueError("parts is not a list of objects")
    return parts


def _tokens(value: Any) -> int:
    """What was spent; a negative number would give budget back."""
    tokens = int(value or 0)
    if tokens < 0:
        raise ValueError("tokens is negative")
    return tokens
