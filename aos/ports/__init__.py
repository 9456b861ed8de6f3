"""What do the services need from the world?

Role-named Protocols of at most five methods. The real ones are in `aos.adapters`, wired by
`aos.bootstrap`; `aos.adapters.memory` has a fake of each, held to the same contract tests. Those of
the model and of tools are in `aos.ports.model`, `.tools` and `.servers`, and are found here too. A
method raises `TransientError` when the world is away, `OutcomeUnknown` when a write may or may
not have happened, and `StaleWrite` when a condition did not hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

from aos.domain.agent_card import AgentCard
from aos.domain.conversation import Conversation, Message, Step
from aos.domain.envelope import Event, Outgoing, Reply
from aos.domain.run import AdmittedRequest, Run
from aos.ports.model import ChatMessage as ChatMessage
from aos.ports.model import ChatModel as ChatModel
from aos.ports.model import ModelAnswer as ModelAnswer
from aos.ports.model import ModelCall as ModelCall
from aos.ports.paging import Page as Page
from aos.ports.servers import LiveServer as LiveServer
from aos.ports.servers import Secrets as Secrets
from aos.ports.servers import ServerCards as ServerCards
from aos.ports.servers import ToolLine as ToolLine
from aos.ports.servers import ToolServers as ToolServers
from aos.ports.tools import AskedApproval as AskedApproval
from aos.ports.tools import Decisions as Decisions
from aos.ports.tools import ToolCatalog as ToolCatalog
from aos.ports.tools import ToolLedger as ToolLedger


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobInfo:
    """One row of a listing: the name inside the container, its ETag, size in bytes, time."""

    name: str
    etag: str
    size: int
    last_modified: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A blob's body with the ETag it was read at."""

    name: str
    etag: str
    body: bytes


class BlobMissing(KeyError):
    """There is no blob of this name."""


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The blob still has the ETag that the caller knows."""


class BlobStore(Protocol):
    """One blob container."""

    async def list(self, prefix: str) -> list[BlobInfo]:
        """Every blob whose name begins with `prefix`, complete, by name."""
        ...

    async def read(self, name: str, *, max_bytes: int | None = None) -> Blob:
        """The blob; with `max_bytes` only that many leading bytes of it. Raises BlobMissing."""
        ...

    async def read_if_changed(self, name: str, *, etag: str) -> Blob | Unchanged:
        """The blob, or Unchanged while it is at `etag`. Raises BlobMissing."""
        ...

    async def write(
        self, name: str, body: bytes, *, if_match: str | None = None, create_only: bool = False
    ) -> str:
        """Write the whole blob and return its new ETag.

        Raises StaleWrite when `if_match` is not the current ETag, or when `create_only` and the
        blob exists.
        """
        ...

    async def delete(self, name: str, *, if_match: str | None = None) -> None:
        """Delete the blob; an absent one is no error."""
        ...


class Clock(Protocol):
    """Time, as a port so that tests and the simulation own it."""

    def now(self) -> datetime:
        """The time in UTC, timezone-aware, in whole milliseconds: what rows and wire can hold."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRequest:
    """A request row: the request as admitted, when its cancellation was asked for, and why
    (an error code; None: a caller wanted it)."""

    request: AdmittedRequest
    cancel_requested_at: datetime | None = None
    cancel_reason: str | None = None


class RequestStore(Protocol):
    """The request rows, table `aosruns`: what was accepted, inserted once, never changed."""

    async def find(self, run_id: str) -> StoredRequest | None:
        """The row, or None."""
        ...

    async def insert(self, request: AdmittedRequest) -> None:
        """Write the row; raises StaleWrite when it exists (also when an earlier try of this
        very call took effect: look it up)."""
        ...

    async def ask_cancel(self, run_id: str, *, at: datetime, reason: str | None = None) -> None:
        """Set `cancel_requested_at` and why; a later ask leaves the first one standing."""
        ...

    async def cancel_asked(self, run_id: str) -> bool:
        """True once cancellation was asked for; reads nothing but that."""
        ...

    async def join_tree(self, root_run_id: str, run_id: str) -> int:
        """Enter a delegated run in the tree of its root (again: no change); how many runs the
        tree has now, the root included."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingRun:
    """A pending row: an admitted run (or an admission under way) that the mender looks at.

    `checks` counts the mender's looks so far. `etag` is None on a row not read from the store.
    """

    run_id: str
    conversation_id: str
    created_at: datetime
    next_check: datetime
    checks: int = 0
    etag: str | None = None


class PendingStore(Protocol):
    """The pending rows, table `aospending`: what has not been fully delivered yet."""

    async def put(self, pending: PendingRun) -> None:
        """Write the row, whether or not it exists (a repeated admission makes it due anew)."""
        ...

    async def due(self, now: datetime, *, limit: int) -> list[PendingRun]:
        """At most `limit` rows with `next_check` <= now, with their ETags."""
        ...

    async def move(self, pending: PendingRun, *, next_check: datetime) -> None:
        """Look again at `next_check`, one more check counted; StaleWrite when the row changed."""
        ...

    async def drop(self, run_id: str, *, etag: str | None = None) -> None:
        """Delete the row; an absent one is no error; StaleWrite when `etag` is given and old."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A conversation's head with its ETag (both None: there is none), and one run's row."""

    conversation: Conversation | None = None
    etag: str | None = None
    run: Run | None = None


class ConversationStore(Protocol):
    """The conversations, table `aosconversations`. Realm alone writes."""

    async def load(self, conversation_id: str, *, run_id: str | None = None) -> Loaded:
        """The head and, when `run_id` is given, that run's row, as both stood at one moment.

        A row older than the head makes an ended run look new; a head older than the row makes a
        conversation look idle that owes the run's end. (Where the two are read one after the
        other: the head first, and again when there is a row, until its ETag stands still.)
        """
        ...

    async def save(self, step: Step, *, etag: str | None) -> str:
        """Write the step in one transaction, guarded by the head's ETag (None: no head yet).

        Returns the head's new ETag. Raises StaleWrite when the head is not at `etag`, and
        OutcomeUnknown when the answer was lost.
        """
        ...

    async def history(self, conversation_id: str, *, before: int, limit: int) -> list[Message]:
        """The messages with sequence in [before - limit, before), oldest first."""
        ...

    async def find_run(self, conversation_id: str, run_id: str) -> Run | None:
        """One run's row, or None while realm has not seen the run."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedRun:
    """What the lists know of a run: ids and when it was admitted."""

    run_id: str
    conversation_id: str
    agent_id: str
    owner: str
    created_at: datetime

    @classmethod
    def of(cls, run: AdmittedRequest | Run, *, owner: str) -> IndexedRun:
        """What the lists know of this run."""
        admitted = run.created_at if isinstance(run, Run) else run.admitted_at
        return cls(
            run_id=run.run_id,
            conversation_id=run.conversation_id,
            agent_id=run.agent_id,
            owner=owner,
            created_at=admitted,
        )


class RunIndex(Protocol):
    """The lists, table `aosindex`: runs by agent and by owner, newest first."""

    async def add(self, run: IndexedRun) -> None:
        """Enter an admitted run; entering it again changes nothing."""
        ...

    async def runs(
        self,
        *,
        agent_id: str | None,
        owner: str | None,
        since: datetime | None,
        after: str | None,
        limit: int,
    ) -> Page[IndexedRun]:
        """Runs of an agent, of an owner, of both, or (both None) of everybody, newest first."""
        ...

    async def conversations(
        self, *, owner: str | None, after: str | None, limit: int
    ) -> Page[IndexedRun]:
        """One item a conversation (its first run), newest first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """What `aosusage` knows about a run: has it been answered and counted, and the day's row
    that it would be added to (opaque to services)."""

    seen: bool
    day_row: object = None


class Ledger(Protocol):
    """Replies sent and usage counted, table `aosusage`: once a run, in one transaction."""

    async def look(self, run: Run) -> LedgerEntry:
        """Whether `seen:<run_id>` stands, and the usage row of the run's day and bucket."""
        ...

    async def record(self, run: Run, entry: LedgerEntry) -> None:
        """Write `seen:<run_id>` and add the usage, together; StaleWrite: look again."""
        ...


class Bus(Protocol):
    """The way out: commands between the apps, replies and events to the outside."""

    async def send(self, outgoing: Outgoing) -> None:
        """Send a command, scheduled when it says so; message_id = its command_id."""
        ...

    async def reply(self, reply: Reply) -> None:
        """Send a reply to its entity."""
        ...

    async def publish(self, event: Event) -> None:
        """Publish a CloudEvent, with the property `aos_app` set."""
        ...

    async def postpone(self, message: ReceivedMessage, *, at: datetime, attempt: int) -> None:
        """Send a copy of a received message, scheduled, with session, properties, its original
        key and expiry; the original is then completed by its handler."""
        ...

    async def whole_body(self, message: ReceivedMessage) -> bytes:
        """The body of a command as it was sent: one too large for the bus lies in storage."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedMessage:
    """A Service Bus message as a trigger got it: the body in bytes, properties from the broker.

    `key` is the idempotency key: the first message's id, kept across postponed copies, else
    `<entity>:<sequence_number>`. `attempt` counts postponed copies.
    """

    entity: str
    body: bytes
    message_id: str | None
    sequence_number: int
    delivery_count: int = 1
    correlation_id: str | None = None
    session_id: str | None = None
    reply_to: str | None = None
    reply_to_session_id: str | None = None
    content_type: str | None = None
    expires_at: datetime | None = None
    traceparent: str | None = None
    properties: Mapping[str, object] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What makes a repeat of this message the same request."""
        kept = self.properties.get("aos_key")
        if isinstance(kept, str) and kept:
            return kept
        return self.message_id or f"{self.entity}:{self.sequence_number}"

    @property
    def attempt(self) -> int:
        """How many postponed copies came before this one."""
        value = self.properties.get("attempt")
        return value if isinstance(value, int) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveAgent:
    """An agent as the catalog has it now: may it run, and on which card."""

    agent_id: str
    state: Literal["active", "disabled"]
    digest: str
    card: AgentCard


class Agents(Protocol):
    """The published catalog, as far as runs need it."""

    async def version(self) -> int:
        """The catalog version that `find` judges by (0: nothing published yet)."""
        ...

    async def find(self, agent_id: str, *, at_least: int = 0) -> LiveAgent:
        """The agent; an older catalog than `at_least` is re-read first.

        Raises Refused `agent_not_found` or `agent_removed`.
        """
        ...

    async def card(self, digest: str) -> AgentCard:
        """The card with this digest, published or not any more: what a run has pinned."""
        ...

    async def serves(self, server_id: str) -> bool:
        """Is there an MCP server of this id that is enabled?"""
        ...


class Ids(Protocol):
    """Randomness, as a port so that tests and the simulation own it."""

    def new_id(self) -> str:
        """A fresh UUID in its text form."""
        ...

    def jitter(self) -> float:
        """A number in [0, 1)."""
        ...


class Span(Protocol):
    """A unit of traced work."""

    @property
    def traceparent(self) -> str | None:
        """The W3C traceparent that work caused by this span carries on."""
        ...

    def set(self, **attributes: object) -> None:
        """Add attributes; `error.type` marks the work as failed."""
        ...


SpanKind: TypeAlias = Literal["internal", "server", "client", "producer", "consumer"]
"""OpenTelemetry's kinds: `server` and `consumer` answer a call and take a message, `client` and
`producer` make one, `internal` is what a process does within itself."""


class Telemetry(Protocol):
    """What operators see: log lines, custom events, spans (docs/contracts/telemetry.md)."""

    def log(
        self,
        event: str,
        *,
        level: Literal["debug", "info", "warning", "error"] = "info",
        **fields: object,
    ) -> None:
        """One JSON line: `event`, `timestamp`, and the fields (ids, never message content)."""
        ...

    def custom_event(self, name: str, **attributes: object) -> None:
        """A row of customEvents, under the plan's names, and a log line; a line alone where there
        is no such table, a row alone for what comes with every run."""
        ...

    def span(
        self, name: str, *, kind: SpanKind, traceparent: str | None = None, **attributes: object
    ) -> AbstractContextManager[Span]:
        """Trace a unit of work in the trace of `traceparent`."""
        ...
