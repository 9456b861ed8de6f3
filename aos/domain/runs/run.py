"""Defines runs and the requests that start them. Entry points: `AdmittedRequest`, `Run`.

`AdmittedRequest` is what main stored when it accepted a request. `Run` is the run object of
answers, replies and events (docs/contracts/requests-and-replies.md).
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, TypeAlias

from aos.domain.json_writer import write_json
from aos.domain.wire_time import from_wire_time, required_time, to_wire_time
from aos.errors import ErrorInfo

RUN_NAMESPACE = uuid.UUID("7b0c7f0e-54a2-5d0e-9d0e-a05a05a05a05")
Door: TypeAlias = Literal["http", "queue", "schedule", "event", "delegation"]


class RunStatus(StrEnum):
    """The status of a run, in its wire values."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    WAITING_APPROVAL = "waiting_approval"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"

    @property
    def has_ended(self) -> bool:
        """True when the run does not change any more."""
        return self in _ENDED


_ENDED = frozenset(
    {RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.TIMED_OUT}
)


def run_id_for(*, scope: str, key: str) -> str:
    """The run id of an idempotency key: uuid5 over the scope (door and owner) and the key."""
    return str(uuid.uuid5(RUN_NAMESPACE, f"{scope}\n{key}"))


def request_digest(
    *,
    agent_id: str,
    message: str | list[Any],
    conversation_id: str | None,
    metadata: dict[str, Any],
) -> str:
    """The SHA-256 (hex) of the fields that two equal requests share; no headers, no waits."""
    body = [agent_id, message, conversation_id, metadata]
    text = write_json(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens that a run's model calls took. Cached ones are part of the input, those spent on
    reasoning part of the output."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
        )

    def to_dict(self) -> dict[str, int]:
        """The wire form; cached and reasoning tokens where the endpoint counted some."""
        wire = {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
        }
        counted = {
            "cached_tokens": self.cached_tokens,
            "reasoning_tokens": self.reasoning_tokens,
        }
        return wire | {name: count for name, count in counted.items() if count}

    @classmethod
    def from_dict(cls, raw: dict[str, int] | None) -> Usage:
        """Read the wire form back; None is no usage."""
        raw = raw or {}
        return cls(
            input_tokens=raw.get("input_tokens", 0),
            output_tokens=raw.get("output_tokens", 0),
            cached_tokens=raw.get("cached_tokens", 0),
            reasoning_tokens=raw.get("reasoning_tokens", 0),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyAddress:
    """The queue or topic of a run's reply, and the reply's session and correlation id."""

    entity: str
    session_id: str | None = None
    correlation_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The stored and enveloped form."""
        return {
            "entity": self.entity,
            "session_id": self.session_id,
            "correlation_id": self.correlation_id,
        }

    @classmethod
    def from_dict(cls, raw: dict[str, Any] | None) -> ReplyAddress | None:
        """Read the stored form back."""
        return None if raw is None else cls(**raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentRun:
    """The tool call that a delegated run answers, and the limits that its parent sets.

    `depth` is the delegated run's: 1 for the child of a run that was not delegated. The parent
    waits until `deadline`. `tokens_left` None means no limit.
    """

    run_id: str
    conversation_id: str
    tool_call_id: str
    root_run_id: str
    depth: int
    deadline: datetime
    tokens_left: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The stored and enveloped form."""
        return {
            "run_id": self.run_id,
            "conversation_id": self.conversation_id,
            "tool_call_id": self.tool_call_id,
            "root_run_id": self.root_run_id,
            "depth": self.depth,
            "deadline": to_wire_time(self.deadline),
            "tokens_left": self.tokens_left,
        }

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> ParentRun:
        """Read the stored form back."""
        return cls(
            run_id=raw["run_id"],
            conversation_id=raw["conversation_id"],
            tool_call_id=raw["tool_call_id"],
            root_run_id=raw["root_run_id"],
            depth=raw["depth"],
            deadline=required_time(raw["deadline"]),
            tokens_left=raw.get("tokens_left"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmittedRequest:
    """A request as main accepted it, stored in `aosruns/<run_id>`. It never changes.

    `message` is the text for the model. `conversation_id` is the run's id when the caller gave
    none. `as_admin` lets the run continue a conversation of another owner. `parent` is set on
    delegated runs, `refusal` on delegated runs that main refused: the stored refusal prevents a
    repeated command from starting the run later.
    """

    run_id: str
    conversation_id: str
    agent_id: str
    owner: str
    door: Door
    message: str
    digest: str
    admitted_at: datetime
    catalog_version: int
    metadata: dict[str, Any] = field(default_factory=dict)
    reply: ReplyAddress | None = None
    as_admin: bool = False
    traceparent: str | None = None
    replay_of: str | None = None
    parent: ParentRun | None = None
    refusal: ErrorInfo | None = None

    def to_dict(self) -> dict[str, Any]:
        """The stored and enveloped form."""
        return {
            "run_id": self.run_id,
            "conversation_id": self.conversation_id,
            "agent_id": self.agent_id,
            "owner": self.owner,
            "door": self.door,
            "message": self.message,
            "digest": self.digest,
            "admitted_at": to_wire_time(self.admitted_at),
            "catalog_version": self.catalog_version,
            "metadata": self.metadata,
            "reply": None if self.reply is None else self.reply.to_dict(),
            "as_admin": self.as_admin,
            "traceparent": self.traceparent,
            "replay_of": self.replay_of,
            "parent": None if self.parent is None else self.parent.to_dict(),
            "refusal": None if self.refusal is None else self.refusal.to_dict(),
        }

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> AdmittedRequest:
        """Read the stored form back; unknown fields are ignored (a newer version wrote them)."""
        return cls(
            run_id=raw["run_id"],
            conversation_id=raw["conversation_id"],
            agent_id=raw["agent_id"],
            owner=raw["owner"],
            door=raw["door"],
            message=raw["message"],
            digest=raw["digest"],
            admitted_at=required_time(raw["admitted_at"]),
            catalog_version=raw["catalog_version"],
            metadata=raw.get("metadata") or {},
            reply=ReplyAddress.from_dict(raw.get("reply")),
            as_admin=raw.get("as_admin", False),
            traceparent=raw.get("traceparent"),
            replay_of=raw.get("replay_of"),
            parent=None if raw.get("parent") is None else ParentRun.from_dict(raw["parent"]),
            refusal=None if raw.get("refusal") is None else ErrorInfo.from_dict(raw["refusal"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The run object: the same in HTTP answers, GET, replies and events."""

    run_id: str
    agent_id: str
    conversation_id: str
    status: RunStatus
    created_at: datetime
    card_digest: str | None = None
    output: str = ""
    output_parts: tuple[dict[str, Any], ...] | None = None
    usage: Usage = field(default_factory=Usage)
    model: str | None = None
    error: ErrorInfo | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    started_at: datetime | None = None
    ended_at: datetime | None = None
    replay_of: str | None = None

    @classmethod
    def from_request(cls, request: AdmittedRequest) -> Run:
        """The run before realm has written its row: queued, or failed when main refused it."""
        run = cls(
            run_id=request.run_id,
            agent_id=request.agent_id,
            conversation_id=request.conversation_id,
            status=RunStatus.QUEUED,
            created_at=request.admitted_at,
            metadata=request.metadata,
            replay_of=request.replay_of,
        )

        if request.refusal is None:
            return run
        return run.end(RunStatus.FAILED, at=request.admitted_at, error=request.refusal)

    def end(
        self, status: RunStatus, *, at: datetime, error: ErrorInfo | None = None, output: str = ""
    ) -> Run:
        """This run with its final status."""
        return replace(self, status=status, ended_at=at, error=error, output=output)

    def to_dict(self) -> dict[str, Any]:
        """The wire form, fields in the contract's order."""
        return {
            "run_id": self.run_id,
            "agent_id": self.agent_id,
            "card_digest": self.card_digest,
            "conversation_id": self.conversation_id,
            "status": self.status.value,
            "output": self.output,
            "output_parts": None if self.output_parts is None else list(self.output_parts),
            "usage": self.usage.to_dict(),
            "model": self.model,
            "error": None if self.error is None else self.error.to_dict(),
            "metadata": self.metadata,
            "created_at": to_wire_time(self.created_at),
            "started_at": to_wire_time(self.started_at),
            "ended_at": to_wire_time(self.ended_at),
            "replay_of": self.replay_of,
        }

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Run:
        """Read the wire form back (stored rows, RunEnded)."""
        parts = raw.get("output_parts")
        return cls(
            run_id=raw["run_id"],
            agent_id=raw["agent_id"],
            conversation_id=raw["conversation_id"],
            status=RunStatus(raw["status"]),
            created_at=required_time(raw["created_at"]),
            card_digest=raw.get("card_digest"),
            output=raw.get("output") or "",
            output_parts=None if parts is None else tuple(parts),
            usage=Usage.from_dict(raw.get("usage")),
            model=raw.get("model"),
            error=None if raw.get("error") is None else ErrorInfo.from_dict(raw["error"]),
            metadata=raw.get("metadata") or {},
            started_at=from_wire_time(raw.get("started_at")),
            ended_at=from_wire_time(raw.get("ended_at")),
            replay_of=raw.get("replay_of"),
        )
