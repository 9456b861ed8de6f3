"""Defines runs and the requests that start them. Entry points: `AdmittedRequest`, `Run`.

`AdmittedRequest` is what main stored when it accepted a request. `Run` is the run object of
answers, replies and events (docs/contracts/requests-and-replies.md).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeAlias

from aos.domain.codec import KEPT, OMITTED, encode
from aos.domain.field_types import Digest
from aos.domain.json_writer import write_json
from aos.domain.notify import Notify
from aos.domain.runs.run_options import RunOptions
from aos.domain.runs.waiting import Turn, Waiting, wait_in_queue
from aos.errors import ErrorInfo

RUN_NAMESPACE = uuid.UUID("7b0c7f0e-54a2-5d0e-9d0e-a05a05a05a05")
MAX_METADATA_BYTES = 16 * 1024
Door: TypeAlias = Literal["http", "queue", "schedule", "event", "delegation"]


FinishReason: TypeAlias = Literal["length", "unparsed_tool_call"]
"""How an answer ended that did not end by itself: its token limit cut it."""


class RunStatus(StrEnum):
    """The status of a run, in its wire values."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    WAITING_APPROVAL = "waiting_approval"
    WAITING_INPUT = "waiting_input"
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
    message: str,
    conversation_id: str | None,
    metadata: dict[str, Any],
    parts: tuple[dict[str, Any], ...] = (),
    options: RunOptions | None = None,
) -> str:
    """The SHA-256 (hex) of the fields that two equal requests share; no headers, no waits.

    `parts` are the images and files of the message.
    """
    body = [agent_id, [message, *parts] if parts else message, conversation_id, metadata]
    if options is not None:
        body.append(encode(options))
    text = write_json(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def measure_metadata(metadata: dict[str, Any]) -> int:
    """The size of a request's metadata, as bytes of JSON."""
    return len(write_json(metadata, ensure_ascii=False).encode("utf-8", "replace"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens that a run's model calls took. Cached ones are part of the input, those spent on
    reasoning part of the output."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = field(init=False)
    cached_tokens: int = field(default=0, metadata=OMITTED)
    reasoning_tokens: int = field(default=0, metadata=OMITTED)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total_tokens", self.input_tokens + self.output_tokens)

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyAddress:
    """The queue or topic of a run's reply, and the reply's session and correlation id."""

    entity: str
    session_id: str | None = None
    correlation_id: str | None = None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmittedRequest:
    """A request as main accepted it, stored in `aosruns/<run_id>`. It never changes.

    `message` is the text for the model, `parts` the images and files, in the form of a history's
    messages. `conversation_id` is the run's id when the caller gave
    none. `as_admin` lets the run continue a conversation of another owner. `parent` is set on
    delegated runs, `refusal` on delegated runs that main refused: the stored refusal prevents a
    repeated command from starting the run later. `rejects_busy`: the agent's card said
    `on_busy: reject`, so the run does not wait behind another one. `notify` is the receiver of the
    run's events, from the request or from the agent's card. Turns that begin before `watched_until`
    are streamed, because somebody reads the run's events; realm moves it in its own copy. `options`
    are what the request asks of this run beside the message. `sent_by` is the service on the queue
    that sent it on behalf of the owner.
    """

    run_id: str
    conversation_id: str
    agent_id: str
    owner: str
    door: str  # a `Door`; nothing is decided by it, so that a newer version's is read too
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
    parts: tuple[dict[str, Any], ...] = field(default=(), metadata=OMITTED)
    rejects_busy: bool = field(default=False, metadata=OMITTED)
    notify: Notify | None = field(default=None, metadata=OMITTED)
    watched_until: datetime | None = field(default=None, metadata=OMITTED)
    options: RunOptions | None = field(default=None, metadata=OMITTED)
    sent_by: str | None = field(default=None, metadata=OMITTED)
    unknown: Mapping[str, Any] = field(default_factory=dict, metadata=KEPT)

    @property
    def is_scrubbed(self) -> bool:
        """Whether a deletion has removed what the caller wrote: every request says something."""
        return not self.message

    def scrub(self) -> AdmittedRequest:
        """This request without what its caller wrote, as a deletion leaves it."""
        return replace(
            self,
            message="",
            metadata={},
            parts=(),
            reply=None,
            notify=None,
            options=None,
            traceparent=None,
            refusal=scrub_error(self.refusal),
            unknown={},
        )


def brings_history(request: AdmittedRequest) -> bool:
    """Whether the request has messages that come before its own."""
    return request.options is not None and bool(request.options.history)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The run object: the same in HTTP answers, replies and events.

    `finish_reason` is `length` when the token limit cut the output, `unparsed_tool_call` when the
    output is a tool call that the endpoint passed on as text.
    `waiting` says why it is not done. `unavailable_servers` are the MCP servers whose tools the run
    had to do without. `turns` are its last turns. `parent_run_id` is the run that delegated it,
    `child_run_ids` are the runs that it delegated, `children_usage`
    is what those that have ended used, with all that they delegated. `sent_by` is the service on
    the queue that sent the request on behalf of its owner.
    """

    run_id: str
    agent_id: str
    card_digest: Digest | None = None
    conversation_id: str
    status: RunStatus
    output: Annotated[str, ("description", '"" when there is none')] = ""
    output_parts: tuple[dict[str, Any], ...] | None = None
    usage: Usage = field(default_factory=Usage)
    model: str | None = None
    error: ErrorInfo | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    replay_of: str | None = None
    finish_reason: FinishReason | None = field(default=None, metadata=OMITTED)
    waiting: Waiting | None = field(default=None, metadata=OMITTED)
    unavailable_servers: tuple[str, ...] = field(default=(), metadata=OMITTED)
    parent_run_id: str | None = field(default=None, metadata=OMITTED)
    child_run_ids: tuple[str, ...] = field(default=(), metadata=OMITTED)
    turns: tuple[Turn, ...] = field(default=(), metadata=OMITTED)
    children_usage: Usage | None = field(default=None, metadata=OMITTED)
    sent_by: str | None = field(default=None, metadata=OMITTED)
    unknown: Mapping[str, Any] = field(default_factory=dict, metadata=KEPT)

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
            parent_run_id=None if request.parent is None else request.parent.run_id,
            sent_by=request.sent_by,
            waiting=wait_in_queue(
                since=request.admitted_at, conversation_id=request.conversation_id
            ),
        )
        if request.refusal is None:
            return run
        return run.end(RunStatus.FAILED, at=request.admitted_at, error=request.refusal)

    @property
    def tree_usage(self) -> Usage:
        """What the run and all runs below it used."""
        return self.usage + (self.children_usage or Usage())

    def end(
        self, status: RunStatus, *, at: datetime, error: ErrorInfo | None = None, output: str = ""
    ) -> Run:
        """This run with its final status."""
        return replace(self, status=status, ended_at=at, error=error, output=output, waiting=None)

    def scrub(self) -> Run:
        """This run as a deletion leaves it: its ids, status, times, and the code of its error."""
        return Run(
            run_id=self.run_id,
            agent_id=self.agent_id,
            card_digest=self.card_digest,
            conversation_id=self.conversation_id,
            status=self.status,
            error=scrub_error(self.error),
            created_at=self.created_at,
            started_at=self.started_at,
            ended_at=self.ended_at,
            replay_of=self.replay_of,
        )


def scrub_error(error: ErrorInfo | None) -> ErrorInfo | None:
    """The error by its code alone: messages and details may repeat what a model said."""
    if error is None:
        return None
    return ErrorInfo(code=error.code, message="the conversation of this run was deleted")
