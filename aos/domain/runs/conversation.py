"""What is a conversation: its history, and the head that says what runs, waits and is owed?

A conversation has one active run and a queue behind it. The rules that move it are in
`aos.domain.runs.advance`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from aos.domain.envelope import Outgoing
from aos.domain.runs.active_run import ActiveRun as ActiveRun
from aos.domain.runs.run import AdmittedRequest, Run
from aos.domain.tools.tool import MessageCall
from aos.domain.wire_time import from_wire_time, required_time, to_wire_time

Role: TypeAlias = Literal["user", "assistant", "tool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One item of a conversation's history; sequences count from 0 without a gap.

    An assistant's `tool_calls` are answered by the tool messages that follow it, in their order;
    each has the `tool_call_id` that it answers, and what was no text in `parts`.
    """

    sequence: int
    role: Role
    content: str
    run_id: str
    created_at: datetime
    tool_calls: tuple[MessageCall, ...] = ()
    tool_call_id: str | None = None
    parts: tuple[dict[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The stored form; what has to do with tools only where there is something."""
        stored: dict[str, Any] = {
            "sequence": self.sequence,
            "role": self.role,
            "content": self.content,
            "run_id": self.run_id,
            "created_at": to_wire_time(self.created_at),
        }
        if self.tool_calls:
            stored["tool_calls"] = [call.to_dict() for call in self.tool_calls]
        if self.tool_call_id is not None:
            stored["tool_call_id"] = self.tool_call_id
        if self.parts:
            stored["parts"] = list(self.parts)
        return stored

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Message:
        """Read the stored form back."""
        return cls(
            sequence=raw["sequence"],
            role=raw["role"],
            content=raw["content"],
            run_id=raw["run_id"],
            created_at=required_time(raw["created_at"]),
            tool_calls=tuple(MessageCall.from_dict(call) for call in raw.get("tool_calls") or ()),
            tool_call_id=raw.get("tool_call_id"),
            parts=tuple(raw.get("parts") or ()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CardView:
    """What the rules need to know of an agent: may it run, and on which card."""

    state: Literal["active", "disabled", "removed"]
    digest: str = ""
    run_timeout_seconds: float = 1800.0
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """The head row: whose it is, what runs, what waits, what is still to be sent.

    `next_sequence` counts the history; `write_id` names the save that produced this state, so
    that a writer who lost the answer to a save can tell whether it happened.
    """

    conversation_id: str
    agent_id: str
    owner: str
    created_at: datetime
    next_sequence: int = 0
    active: ActiveRun | None = None
    queued: tuple[AdmittedRequest, ...] = ()
    outbox: tuple[Outgoing, ...] = ()
    retry_at: datetime | None = None
    retry_since: datetime | None = None
    retries: int = 0
    write_id: str = ""

    @classmethod
    def begun_by(cls, request: AdmittedRequest, *, now: datetime) -> Conversation:
        """A new conversation, owned by its first request's owner."""
        return cls(
            conversation_id=request.conversation_id,
            agent_id=request.agent_id,
            owner=request.owner,
            created_at=now,
        )

    def to_dict(self) -> dict[str, Any]:
        """The stored form."""
        return {
            "conversation_id": self.conversation_id,
            "agent_id": self.agent_id,
            "owner": self.owner,
            "created_at": to_wire_time(self.created_at),
            "next_sequence": self.next_sequence,
            "active": None if self.active is None else self.active.to_dict(),
            "queued": [request.to_dict() for request in self.queued],
            "outbox": [outgoing.to_dict() for outgoing in self.outbox],
            "retry_at": to_wire_time(self.retry_at),
            "retry_since": to_wire_time(self.retry_since),
            "retries": self.retries,
            "write_id": self.write_id,
        }

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Conversation:
        """Read the stored form back."""
        return cls(
            conversation_id=raw["conversation_id"],
            agent_id=raw["agent_id"],
            owner=raw["owner"],
            created_at=required_time(raw["created_at"]),
            next_sequence=raw["next_sequence"],
            active=None if raw["active"] is None else ActiveRun.from_dict(raw["active"]),
            queued=tuple(AdmittedRequest.from_dict(item) for item in raw["queued"]),
            outbox=tuple(Outgoing.from_dict(item) for item in raw["outbox"]),
            retry_at=from_wire_time(raw["retry_at"]),
            retry_since=from_wire_time(raw["retry_since"]),
            retries=raw["retries"],
            write_id=raw["write_id"],
        )

    @property
    def owes(self) -> bool:
        """True while a run has not ended or something is still to be sent."""
        return bool(self.active or self.queued or self.outbox)

    def knows(self, run_id: str) -> bool:
        """True when the run is active or queued here (ended ones are known by their run row)."""
        active = self.active is not None and self.active.request.run_id == run_id
        return active or any(request.run_id == run_id for request in self.queued)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one transaction writes: the head, and the message and run rows that go with it."""

    conversation: Conversation
    messages: tuple[Message, ...] = ()
    runs: tuple[Run, ...] = ()

    def then(self, later: Step) -> Step:
        """Both steps in one transaction: the later head, all rows, the last word on each run."""
        runs = {run.run_id: run for run in (*self.runs, *later.runs)}
        return Step(
            conversation=later.conversation,
            messages=(*self.messages, *later.messages),
            runs=tuple(runs.values()),
        )
