"""Keeps the tables of runs and conversations in memory. Entry points: `MemoryTables`,
`MemoryConversationStore`.

The stores implement `RequestStore`, `PendingStore` and `ConversationStore`. Any number of stores
share the rows of one `MemoryTables`, like the instances of an app share a storage account.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from functools import partial
from itertools import count
from typing import TypeAlias

from aos.adapters.memory.interception import Interceptor, pass_through
from aos.domain.dead_letters import Failure
from aos.domain.pushes import PushConfig
from aos.domain.row_kinds import check_declared
from aos.domain.runs.conversation import Conversation, Message, Step
from aos.domain.runs.run import AdmittedRequest, Run, Usage
from aos.domain.runs.run_events import EventRow
from aos.domain.tools.questions import QuestionAnswer, QuestionRequest
from aos.domain.tools.tool import ApprovalRequest, Decision, ServerTools, ToolCallRow
from aos.errors import StaleWrite
from aos.ports.cleaning import Due, Window
from aos.ports.conversations import Loaded
from aos.ports.index import IndexedRun
from aos.ports.requests import PendingRun, StoredRequest
from aos.ports.schedules import Watermark
from aos.ports.slots import Slot
from aos.ports.spending import StoredSpending

PENDING_BUCKETS = 16
Watcher: TypeAlias = Callable[[str, str], None]


def of(*names: str) -> Mapping[str, tuple[str, ...]]:
    """Make the metadata of a field that keeps rows of these kinds of `aos.domain.row_kinds`."""
    return {"rows": names}


@dataclass(slots=True)
class ConversationRows:
    """One partition of `aosconversations`."""

    head: Conversation
    etag: str
    messages: dict[int, Message] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    events: dict[tuple[str, str], EventRow] = field(default_factory=dict)


@dataclass(slots=True)
class MemoryTables:
    """All rows of the storage account in memory. `watchers` are called after each write.

    Each field but the last two keeps rows of declared kinds.
    """

    requests: dict[str, StoredRequest] = field(default_factory=dict, metadata=of("aosruns/request"))
    trees: dict[str, set[str]] = field(default_factory=dict, metadata=of("aosruns/child"))
    pushes: dict[tuple[str, str], PushConfig] = field(
        default_factory=dict, metadata=of("aosruns/push")
    )
    slots: dict[str, Slot] = field(default_factory=dict, metadata=of("aosruns/slot"))
    pending: dict[str, PendingRun] = field(default_factory=dict, metadata=of("aospending/pending"))
    conversations: dict[str, ConversationRows] = field(
        default_factory=dict,
        metadata=of(
            "aosconversations/head",
            "aosconversations/run",
            "aosconversations/message",
            "aosconversations/event",
        ),
    )
    index: dict[str, IndexedRun] = field(
        default_factory=dict,
        metadata=of(
            "aosindex/everybody",
            "aosindex/agent",
            "aosindex/owner",
            "aosindex/first",
            "aosindex/first-of-owner",
        ),
    )
    seen: dict[str, Run] = field(default_factory=dict, metadata=of("aosusage/seen"))
    untold: set[str] = field(default_factory=set)
    """The runs whose row `seen` does not say that all was sent."""
    uncounted: set[str] = field(default_factory=set)
    """The runs whose row `seen` says that their usage is not counted."""
    approvals: dict[tuple[str, str], ApprovalRequest] = field(
        default_factory=dict, metadata=of("aostoolcalls/approval")
    )
    open_approvals: set[tuple[str, str]] = field(
        default_factory=set, metadata=of("aostoolcalls/waiting")
    )
    decisions: dict[tuple[str, str], Decision] = field(
        default_factory=dict, metadata=of("aostoolcalls/decision")
    )
    questions: dict[tuple[str, str], QuestionRequest] = field(
        default_factory=dict, metadata=of("aostoolcalls/question")
    )
    open_questions: set[tuple[str, str]] = field(
        default_factory=set, metadata=of("aostoolcalls/unanswered")
    )
    answers: dict[tuple[str, str], QuestionAnswer] = field(
        default_factory=dict, metadata=of("aostoolcalls/answer")
    )
    tool_calls: dict[tuple[str, str], ToolCallRow] = field(
        default_factory=dict, metadata=of("aostoolcalls/call")
    )
    tools: dict[str, ServerTools] = field(default_factory=dict, metadata=of("aostools/server"))
    usage: dict[tuple[str, str, int, str, str], DayUsage] = field(
        default_factory=dict, metadata=of("aosusage/day")
    )
    spending: dict[tuple[str, str], StoredSpending] = field(
        default_factory=dict, metadata=of("aosusage/spent", "aosusage/spent-by-owner")
    )
    watermarks: dict[tuple[str, str], Watermark] = field(
        default_factory=dict, metadata=of("aosschedules/watermark")
    )
    failures: dict[tuple[str, int], Failure] = field(
        default_factory=dict, metadata=of("aosfailures/failure")
    )
    due: dict[str, Due] = field(default_factory=dict, metadata=of("aosindex/due"))
    windows: dict[str, Window] = field(default_factory=dict, metadata=of("aosindex/window"))
    watchers: list[Watcher] = field(default_factory=list)
    _etags: count[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        """Raise KeyError if a field keeps rows of a kind that is not declared."""
        for item in fields(self):
            if item.name not in ("untold", "uncounted", "watchers", "_etags"):
                check_declared(item.metadata.get("rows") or (item.name,))

    def new_etag(self) -> str:
        """Return an ETag that no row has had before."""
        return f'W/"{next(self._etags)}"'

    def tell_watchers(self, operation: str, key: str) -> None:
        """Call the watchers."""
        for watcher in self.watchers:
            watcher(operation, key)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayUsage:
    """One usage row of a day, agent, owner and model; `unknown` are a newer version's columns."""

    etag: str
    runs: int = 0
    usage: Usage = field(default_factory=Usage)
    unknown: Mapping[str, int] = field(default_factory=dict)


class MemoryRequestStore:
    """The request rows."""

    def __init__(self, tables: MemoryTables, *, intercept: Interceptor = pass_through) -> None:
        self._tables = tables
        self._intercept = intercept

    async def find(self, run_id: str) -> StoredRequest | None:
        """Return the row, or None."""
        rows = self._tables.requests
        return await self._intercept("requests.find", run_id, lambda: rows.get(run_id))

    async def insert(self, request: AdmittedRequest) -> None:
        """Write the row. Raises StaleWrite if it exists."""

        def act() -> None:
            if request.run_id in self._tables.requests:
                raise StaleWrite(f"request row {request.run_id!r} exists already")
            self._tables.requests[request.run_id] = StoredRequest(request=request)
            self._tables.tell_watchers("requests.insert", request.run_id)

        await self._intercept("requests.insert", request.run_id, act)

    async def ask_cancel(self, run_id: str, *, at: datetime, reason: str | None = None) -> None:
        """Set `cancel_requested_at` and the reason. The first request stays; later ones change
        nothing."""

        def act() -> None:
            row = self._tables.requests.get(run_id)
            if row is not None and row.cancel_requested_at is None:
                asked = replace(row, cancel_requested_at=at, cancel_reason=reason)
                self._tables.requests[run_id] = asked
                self._tables.tell_watchers("requests.ask_cancel", run_id)

        await self._intercept("requests.ask_cancel", run_id, act)

    async def is_cancel_requested(self, run_id: str) -> bool:
        """Return whether cancellation was requested."""

        def act() -> bool:
            row = self._tables.requests.get(run_id)
            return row is not None and row.cancel_requested_at is not None

        return await self._intercept("requests.is_cancel_requested", run_id, act)

    async def join_tree(self, root_run_id: str, run_id: str) -> int:
        """Add a delegated run to its tree; return the number of its runs, the root included."""

        def act() -> int:
            tree = self._tables.trees.setdefault(root_run_id, set())
            tree.add(run_id)
            return len(tree) + 1

        return await self._intercept("requests.join_tree", run_id, act)


class MemoryPendingStore:
    """The pending rows."""

    def __init__(self, tables: MemoryTables, *, intercept: Interceptor = pass_through) -> None:
        self._tables = tables
        self._intercept = intercept

    async def put(self, pending: PendingRun) -> None:
        """Write the row, whether or not it exists."""
        await self._intercept("pending.put", pending.run_id, lambda: self._write("put", pending))

    async def list_due(self, now: datetime, *, limit: int) -> list[PendingRun]:
        """Return at most `limit` rows with `next_check` <= now, the longest overdue first."""

        def act() -> list[PendingRun]:
            rows = [row for row in self._tables.pending.values() if row.next_check <= now]
            return sorted(rows, key=lambda row: (row.next_check, row.run_id))[:limit]

        return await self._intercept("pending.list_due", "", act)

    async def move(self, pending: PendingRun, *, next_check: datetime) -> None:
        """Set the next check to `next_check`. Raises StaleWrite if the row changed."""

        def act() -> None:
            self._check(pending.run_id, pending.etag)
            moved = replace(pending, next_check=next_check, checks=pending.checks + 1)
            self._write("move", moved)

        await self._intercept("pending.move", pending.run_id, act)

    async def drop(self, run_id: str, *, etag: str | None = None) -> None:
        """Delete the row if it exists. Raises StaleWrite if its ETag is not `etag`."""

        def act() -> None:
            if run_id not in self._tables.pending:
                return
            if etag is not None:
                self._check(run_id, etag)
            del self._tables.pending[run_id]
            self._tables.tell_watchers("pending.drop", run_id)

        await self._intercept("pending.drop", run_id, act)

    async def drop_all(self, run_ids: Sequence[str]) -> None:
        """Delete these rows, as far as they exist: those of one partition at once."""
        partitions: dict[int, list[str]] = {}
        for run_id in run_ids:
            bucket = hashlib.sha256(run_id.encode()).digest()[0] % PENDING_BUCKETS
            partitions.setdefault(bucket, []).append(run_id)
        for found in partitions.values():
            await self._intercept("pending.drop_all", found[0], partial(self._delete, found))

    def _delete(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            if self._tables.pending.pop(run_id, None) is not None:
                self._tables.tell_watchers("pending.drop", run_id)

    def _write(self, method: str, pending: PendingRun) -> None:
        row = replace(pending, etag=self._tables.new_etag())
        self._tables.pending[pending.run_id] = row
        self._tables.tell_watchers(f"pending.{method}", pending.run_id)

    def _check(self, run_id: str, etag: str | None) -> None:
        row = self._tables.pending.get(run_id)
        if row is None or row.etag != etag:
            raise StaleWrite(f"pending row {run_id!r} no longer has the ETag {etag}")


class MemoryConversationStore:
    """Keeps the conversations. A save is one transaction, guarded by the head's ETag."""

    def __init__(self, tables: MemoryTables, *, intercept: Interceptor = pass_through) -> None:
        self._tables = tables
        self._intercept = intercept

    async def load(self, conversation_id: str, *, run_id: str | None = None) -> Loaded:
        """Return the head with its ETag and, if `run_id` is given, the row of that run.

        Like the real store it reads both at the same time, and the head again if there is a row.
        """
        if run_id is None:
            return await self._load_head(conversation_id)
        loaded, run = await asyncio.gather(
            self._load_head(conversation_id), self.find_run(conversation_id, run_id)
        )
        if run is None:
            return loaded
        return replace(await self._load_head(conversation_id), run=run)

    async def save(self, step: Step, *, etag: str | None, new_run_id: str | None = None) -> str:
        """Write the step in one transaction. Raises StaleWrite if the head's ETag is not `etag`, or
        the run `new_run_id` has a row."""
        key = step.conversation.conversation_id

        def act() -> str:
            return self._save(step, etag, new_run_id)

        return await self._intercept("conversations.save", key, act)

    async def read_history(self, conversation_id: str, *, before: int, limit: int) -> list[Message]:
        """Return the messages with sequence in [before - limit, before), oldest first."""

        def act() -> list[Message]:
            rows = self._tables.conversations.get(conversation_id)
            kept = {} if rows is None else rows.messages
            wanted = range(max(0, before - limit), before)
            return [kept[sequence] for sequence in wanted if sequence in kept]

        return await self._intercept("conversations.read_history", conversation_id, act)

    async def find_run(self, conversation_id: str, run_id: str) -> Run | None:
        """Return the row of one run, or None."""

        def act() -> Run | None:
            rows = self._tables.conversations.get(conversation_id)
            return None if rows is None else rows.runs.get(run_id)

        return await self._intercept("conversations.find_run", run_id, act)

    async def _load_head(self, conversation_id: str) -> Loaded:
        def act() -> Loaded:
            rows = self._tables.conversations.get(conversation_id)
            return Loaded() if rows is None else Loaded(conversation=rows.head, etag=rows.etag)

        return await self._intercept("conversations.load", conversation_id, act)

    def _save(self, step: Step, etag: str | None, new_run_id: str | None) -> str:
        key = step.conversation.conversation_id
        rows = self._tables.conversations.get(key)
        if (None if rows is None else rows.etag) != etag:
            raise StaleWrite(f"conversation {key!r} no longer has the ETag {etag}")
        written = any(run.run_id == new_run_id for run in step.runs)
        if rows is not None and written and new_run_id in rows.runs:
            raise StaleWrite(f"run {new_run_id!r} of conversation {key!r} has a row")
        return self.write(step)

    def write(self, step: Step) -> str:
        """Write the step without checking the ETag, as a broken store would."""
        key, tables = step.conversation.conversation_id, self._tables
        new = tables.new_etag()
        rows = tables.conversations.get(key)
        if rows is None:
            rows = tables.conversations[key] = ConversationRows(head=step.conversation, etag=new)
        rows.head, rows.etag = step.conversation, new
        rows.messages.update((message.sequence, message) for message in step.messages)
        rows.runs.update((run.run_id, run) for run in step.runs)
        for sequence in step.removed_messages:
            rows.messages.pop(sequence, None)
        for run_id in step.removed_runs:
            rows.runs.pop(run_id, None)
        told = (*step.events, *step.provisional)
        rows.events.update(((row.run_id, row.last_id.key), row) for row in told)
        tables.tell_watchers("conversations.save", key)
        return new
