"""Reads runs and conversations, and waits for the end of a run. Entry point: `RunReader`.

A RunEnded that arrives in this process wakes its waiters at once. Another instance may get it, so
`wait` also reads the run's row, first after 250 ms, then at intervals that grow by half to 1 s. One
task reads the row for all waiters of a run.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from aos.domain.json_writer import write_json
from aos.domain.row_kinds import REQUEST_RETENTION
from aos.domain.runs.advance import MAX_QUEUED_RUNS
from aos.domain.runs.conversation import Conversation, Message
from aos.domain.runs.deletion import is_before_deletion
from aos.domain.runs.run import AdmittedRequest, Run, RunStatus
from aos.domain.wire_time import to_wire_time
from aos.errors import Refused, TransientError
from aos.ports.conversations import ConversationStore
from aos.ports.index import IndexedRun, RunIndex
from aos.ports.paging import Page
from aos.ports.requests import RequestStore
from aos.ports.system import Clock

PAGES_SEARCHED = 10
"""Index pages that one answer reads at most when the list is filtered by status."""
RUNS_A_SEARCH = 100
LISTED_AT_MOST = 2 * MAX_QUEUED_RUNS
PAGE_BYTES = 4 * 1024 * 1024
"""A page of messages ends before it is larger, unless its first message alone is."""
FIRST_POLL_SECONDS = 0.25
LONGEST_POLL_SECONDS = 1.0
RECENT_RUNS = 128
"""Ended runs that are remembered: a fast run ends before its caller begins to wait."""


@dataclass(slots=True)
class _Wait:
    """One run that callers of this process wait for."""

    ended: asyncio.Future[Run]
    poller: asyncio.Task[None] | None = None
    seen: Run | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)
    waiters: int = 0

    def see(self, run: Run) -> None:
        """Take a state of the run that was read, and wake the waiters."""
        self.seen = run
        self.news.set()
        self.news = asyncio.Event()

    def end(self, run: Run) -> None:
        """Take the ended run, and wake the waiters."""
        if not self.ended.done():
            self.ended.set_result(run)
        self.see(run)


class RunReader:
    """Runs and conversations as they are now. `owner` None means an admin, who sees all.

    `write_lists` writes what this process has not added to the lists yet. `see` hears of each
    state of a run that was read.
    """

    def __init__(
        self,
        *,
        requests: RequestStore,
        conversations: ConversationStore,
        index: RunIndex,
        write_lists: Callable[[], Awaitable[None]],
        clock: Clock,
        see: Callable[[Run], None] = lambda run: None,
    ) -> None:
        self._see = see
        self._requests = requests
        self._conversations = conversations
        self._index = index
        self._write_lists = write_lists
        self._clock = clock
        self._waits: dict[str, _Wait] = {}
        self._recent: OrderedDict[str, Run] = OrderedDict()

    async def find(self, run_id: str, *, owner: str | None) -> tuple[AdmittedRequest, Run]:
        """One run and its request; raises Refused `run_not_found`."""
        request = await self.find_request(run_id, owner=owner)
        return request, await self.read(request)

    async def find_request(self, run_id: str, *, owner: str | None) -> AdmittedRequest:
        """What main admitted; raises Refused `run_not_found`."""
        stored = await self._requests.find(run_id)
        if stored is None or owner not in (None, stored.request.owner):
            raise Refused(
                "run_not_found", f"there is no run {run_id!r} of yours; see GET /api/runs"
            )
        return stored.request

    async def read(self, request: AdmittedRequest) -> Run:
        """The run's row, or the run as admitted while realm has not seen it."""
        return await self._find_row(request) or Run.from_request(request)

    async def _find_row(self, run: AdmittedRequest | IndexedRun) -> Run | None:
        row = await self._conversations.find_run(run.conversation_id, run.run_id)
        if row is not None:
            self._see(row)
        return row

    async def find_head(self, conversation_id: str) -> Conversation | None:
        """The conversation as realm saved it last; None while realm has not seen it."""
        return (await self._conversations.load(conversation_id)).conversation

    async def was_deleted(self, request: AdmittedRequest) -> bool:
        """True when the request's conversation was deleted after its admission."""
        head = await self.find_head(request.conversation_id)
        return head is not None and is_before_deletion(head, request)

    async def has_ended(self, conversation_id: str, run_id: str) -> bool:
        """True when the run's row says so."""
        row = await self._conversations.find_run(conversation_id, run_id)
        return row is not None and row.status.has_ended

    async def list_runs(
        self,
        *,
        owner: str | None,
        agent_id: str | None = None,
        status: RunStatus | None = None,
        since: datetime | None = None,
        after: str | None = None,
        limit: int = 20,
        is_wanted: Callable[[Run], bool] = lambda run: True,
    ) -> Page[Run]:
        """Runs of the last 30 days, newest first. A page may be shorter than `limit`."""
        found: list[Run] = []
        kept = self._clock.now() - REQUEST_RETENTION
        since = kept if since is None else max(since, kept)
        await self._write_lists()
        for _ in range(PAGES_SEARCHED):
            page = await self._index.list_runs(
                agent_id=agent_id, owner=owner, since=since, after=after, limit=limit - len(found)
            )
            runs = await asyncio.gather(*(self._read_listed(item) for item in page.items))
            found += [
                run for run in runs if run and status in (None, run.status) and is_wanted(run)
            ]
            after = page.next
            if after is None or len(found) >= limit:
                break
        return Page(items=found, next=after)

    async def list_conversations(
        self, *, owner: str | None, after: str | None = None, limit: int = 20
    ) -> Page[Conversation]:
        """Conversations, newest first. A page may be shorter than `limit`.

        When two owners raced for one id, the index may hold it for both; the head decides.
        """
        await self._write_lists()
        page = await self._index.list_conversations(owner=owner, after=after, limit=limit)
        heads = await asyncio.gather(
            *(self._find_or_begin(item.conversation_id) for item in page.items)
        )
        mine = [h for h in heads if h and owner in (None, h.owner) and not h.is_deleted]
        return Page(items=mine, next=page.next)

    async def find_unseen(self, conversation_id: str) -> AdmittedRequest | None:
        """The first request of a conversation that realm has not seen; None if it has."""
        if await self.find_head(conversation_id) is not None:
            return None
        return await self._find_first(conversation_id)

    async def find_conversation(self, conversation_id: str, *, owner: str | None) -> Conversation:
        """One conversation; raises Refused `conversation_not_found`."""
        head = await self._find_or_begin(conversation_id)
        if head is not None and head.is_deleted and owner in (None, head.owner):
            again = await self._find_begun_again(head)
            if again is not None:
                return again
            raise Refused(
                "conversation_deleted",
                f"conversation {conversation_id!r} was deleted at"
                f" {to_wire_time(head.deleted_at)}; a new request with this id begins another",
            )
        if head is None or owner not in (None, head.owner):
            raise Refused(
                "conversation_not_found",
                f"there is no conversation {conversation_id!r} of yours;"
                " see GET /api/conversations",
            )
        return head

    async def list_queued(self, head: Conversation) -> tuple[str, ...]:
        """The runs that wait in the conversation, the first one first.

        While realm asks the model, later starts wait in its session, and the head does not show
        them: they are in the list of runs, and have no row yet.
        """
        known = tuple(request.run_id for request in head.queued)
        if head.active is None:
            return known
        active = head.active.request
        listed = await self._list_since(head, active.admitted_at)
        unseen = [run.run_id for run in listed if run.run_id not in (active.run_id, *known)]
        rows = await asyncio.gather(
            *(self._conversations.find_run(head.conversation_id, run_id) for run_id in unseen)
        )
        waiting = [run_id for run_id, row in zip(unseen, rows, strict=True) if row is None]
        return (*known, *reversed(waiting))

    async def _list_since(self, head: Conversation, since: datetime) -> list[IndexedRun]:
        """The listed runs of a conversation that were admitted since then, newest first."""
        await self._write_lists()
        found: list[IndexedRun] = []
        after: str | None = None
        for _ in range(PAGES_SEARCHED):
            page = await self._index.list_runs(
                agent_id=head.agent_id,
                owner=None,
                since=since,
                after=after,
                limit=RUNS_A_SEARCH,
            )
            found += [item for item in page.items if item.conversation_id == head.conversation_id]
            after = page.next
            if after is None or len(found) > LISTED_AT_MOST:
                break
        return found[:LISTED_AT_MOST]

    async def list_messages(
        self, conversation_id: str, *, owner: str | None, start: int = 0, limit: int = 100
    ) -> Page[Message]:
        """A conversation's messages from sequence `start` on, oldest first."""
        head = await self.find_conversation(conversation_id, owner=owner)
        return await self.read_messages(head, start=start, limit=limit)

    async def read_messages(self, head: Conversation, *, start: int, limit: int) -> Page[Message]:
        """The messages of a conversation that was found before."""
        end = min(start + limit, head.next_sequence)
        if end <= start:
            return Page(items=[])
        read = await self._conversations.read_history(
            head.conversation_id, before=end, limit=end - start
        )
        items = _cut_to_size(read, PAGE_BYTES)
        end = start + len(items)
        return Page(items=items, next=str(end) if end < head.next_sequence else None)

    async def wait(
        self,
        request: AdmittedRequest,
        *,
        seconds: float,
        until: Callable[[Run], bool] = lambda run: run.status.has_ended,
    ) -> Run | None:
        """The ended run, or an earlier state that is enough for `until`; after `seconds` the run as
        last seen, None if it was not seen."""
        if request.run_id in self._recent:
            return self._recent[request.run_id]
        wait = self._waits.get(request.run_id)
        if wait is None:
            wait = self._waits[request.run_id] = self._start_wait(request)
        wait.waiters += 1
        try:
            async with asyncio.timeout(seconds):
                while not wait.ended.done() and (wait.seen is None or not until(wait.seen)):
                    await wait.news.wait()
            return wait.ended.result() if wait.ended.done() else wait.seen
        except TimeoutError:
            return wait.ended.result() if wait.ended.done() else wait.seen
        finally:
            wait.waiters -= 1
            if not wait.waiters and wait.poller is not None:
                wait.poller.cancel()
                self._waits.pop(request.run_id, None)

    def notify(self, run: Run) -> None:
        """Wake the callers that wait for this ended run, or are about to."""
        self._see(run)
        self._recent[run.run_id] = run
        if len(self._recent) > RECENT_RUNS:
            self._recent.popitem(last=False)
        wait = self._waits.get(run.run_id)
        if wait is not None:
            wait.end(run)

    async def _find_or_begin(self, conversation_id: str) -> Conversation | None:
        """The conversation; while realm has not seen its first run, one in which that run waits."""
        head = await self.find_head(conversation_id)
        first = None if head is not None else await self._find_first(conversation_id)
        if first is None:
            return head
        return replace(Conversation.create(first, now=first.admitted_at), queued=(first,))

    async def _find_begun_again(self, head: Conversation) -> Conversation | None:
        """The conversation that began after its deletion, while realm has not seen its first run;
        None if none did."""
        assert head.deleted_at is not None
        listed = await self._list_since(head, head.deleted_at)
        found = await asyncio.gather(*(self._requests.find(run.run_id) for run in listed))
        waiting = [
            stored.request
            for stored in reversed(found)
            if stored is not None
            and not stored.scrubbed
            and stored.request.refusal is None
            and not is_before_deletion(head, stored.request)
        ]
        if not waiting:
            return None
        begun = Conversation.create(waiting[0], now=waiting[0].admitted_at)
        return replace(begun, owner=head.owner, queued=tuple(waiting[:MAX_QUEUED_RUNS]))

    async def _find_first(self, conversation_id: str) -> AdmittedRequest | None:
        """The request that begins a conversation, while its rows are whole."""
        stored = await self._requests.find(conversation_id)
        if stored is None or stored.request.conversation_id != conversation_id:
            await self._write_lists()
            first = await self._index.find_first(conversation_id)
            stored = None if first is None else await self._requests.find(first.run_id)
        if stored is None or stored.scrubbed or stored.request.refusal is not None:
            return None
        return stored.request

    async def _read_listed(self, item: IndexedRun) -> Run | None:
        row = await self._find_row(item)
        if row is not None:
            return row
        stored = await self._requests.find(item.run_id)
        return None if stored is None else Run.from_request(stored.request)

    def _start_wait(self, request: AdmittedRequest) -> _Wait:
        wait = _Wait(ended=asyncio.get_running_loop().create_future())
        wait.poller = asyncio.create_task(self._poll(request, wait))
        return wait

    async def _poll(self, request: AdmittedRequest, wait: _Wait) -> None:
        pause = FIRST_POLL_SECONDS
        while not wait.ended.done():
            await self._clock.sleep(pause)
            pause = min(pause * 1.5, LONGEST_POLL_SECONDS)
            with contextlib.suppress(TransientError):
                run = await self._find_row(request)
                if run is not None and run.status.has_ended:
                    wait.end(run)
                elif run is not None:
                    wait.see(run)


def _cut_to_size(messages: list[Message], limit: int) -> list[Message]:
    """The first messages that are together at most `limit` bytes, and at least one."""
    size = 0
    for place, message in enumerate(messages):
        size += len(message.content) + sum(len(write_json(part)) for part in message.parts)
        if place and size > limit:
            return messages[:place]
    return messages
