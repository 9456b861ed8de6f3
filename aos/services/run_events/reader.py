"""Reads a run's events, as a page or as they happen. Entry points: `RunEvents.page`,
`RunEvents.follow`.

Saved events do not copy what messages hold, but the short texts of watched turns: the text of any
other `message.completed` is read from its message.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable
from dataclasses import replace

from aos.domain.codec import encode
from aos.domain.runs.conversation import Message
from aos.domain.runs.run import AdmittedRequest, Run
from aos.domain.runs.run_events import (
    ENDS,
    QUEUED_ID,
    EventId,
    EventRow,
    RunEvent,
    make_queued_event,
)
from aos.errors import TransientError
from aos.ports.bus import Bus
from aos.ports.conversations import ConversationStore
from aos.ports.paging import Page
from aos.ports.run_events import RunEventStore
from aos.ports.system import Clock
from aos.services.run_events.feeds import (
    BEGIN_SECONDS,
    FAST_SECONDS,
    ROWS_A_READ,
    Feed,
    Feeds,
)

QUIET_SECONDS = 15.0
"""After so long without an event `follow` yields None: something has to be sent, or proxies cut."""
QUIET_LOOKS = 4
"""After so many times a reader asks whether the run has ended."""
EVENTS_A_PAGE = 1000
MOST_JOINED = 100
"""Messages that are read together for one batch of events."""


class RunEvents:
    """The events of runs."""

    def __init__(
        self, *, store: RunEventStore, conversations: ConversationStore, bus: Bus, clock: Clock
    ) -> None:
        self._store = store
        self._conversations = conversations
        self._feeds = Feeds(store=store, bus=bus, clock=clock, complete=self._complete)

    def notify(self, run: Run) -> None:
        """Tell the readers of this run, which has ended."""
        self._feeds.notify(run)

    def begin(self, request: AdmittedRequest) -> Page[RunEvent]:
        """The first page of a run that was admitted just now. No call."""
        queued = make_queued_event(request)
        return Page(items=[queued], next=queued.id)

    async def page(self, request: AdmittedRequest, *, after: EventId, limit: int) -> Page[RunEvent]:
        """The events after `after` that are there now; `next` None when the run has ended there.

        Raises TransientError.
        """
        events = [make_queued_event(request)] if after.saved < QUEUED_ID else []
        rows = await self._read(request, after=after)
        ended = None
        if not rows:  # the run has ended, or it tells more later
            ended = await self._find_end(request)
            rows = [] if ended is None else await self._read(request, after=after)
        events += _list_events(await self._complete(request, rows), after=after)
        if ended is not None and not rows and after.saved <= QUEUED_ID:
            events.append(_recall_end(ended))
        events = events[:limit]
        if events[-1].is_end if events else ended is not None:
            return Page(items=events)
        return Page(items=events, next=events[-1].id if events else str(after))

    async def pages(
        self, request: AdmittedRequest, *, after: EventId
    ) -> AsyncGenerator[list[RunEvent], None]:
        """Yield all events after `after` that are there now, page by page.

        One page has the events of at most 100 rows, whatever is asked for. Raises TransientError.
        """
        while True:
            page = await self.page(request, after=after, limit=EVENTS_A_PAGE)
            if page.items:
                after = page.items[-1].event_id
                yield page.items
            if page.next is None or len(page.items) < ROWS_A_READ:
                return

    async def follow(
        self, request: AdmittedRequest, *, after: EventId, first: Page[RunEvent] | None = None
    ) -> AsyncGenerator[list[RunEvent], None]:
        """Yield the events after `after` until the run's end, those together that come together; no
        event when none came for a while.

        `first` is the page after `after`, if it was read just now. A reader that is slow holds few
        events: it reads what it missed from storage.
        """
        position, page = after, first
        while True:  # what is there already
            page = page or await self.page(request, after=position, limit=EVENTS_A_PAGE)
            if page.items:
                position = page.items[-1].event_id
                yield page.items
            if page.next is None:
                return
            if len(page.items) < ROWS_A_READ:
                break
            page = None
        pause = BEGIN_SECONDS if first is page and position.saved <= QUEUED_ID else FAST_SECONDS
        async with self._feeds.open(request, after=position, pause=pause) as feed:
            quiet = 0
            while True:
                news = feed.news
                events = _list_events(await self._read_feed(feed, position), after=position)
                if not events and not await _wait(news, QUIET_SECONDS):
                    yield []
                    quiet += 1
                    page = await self._look_again(feed, position, quiet=quiet)
                    if page is not None and page.next is None and not page.items:
                        return
                    events = [] if page is None else page.items
                if events:
                    position = events[-1].event_id
                    yield events
                    if events[-1].is_end:
                        return

    async def _look_again(
        self, feed: Feed, position: EventId, *, quiet: int
    ) -> Page[RunEvent] | None:
        """What a quiet feed may have missed, read now and then: the events of a run that was
        deleted go soon after its end, and a feed whose task failed reads nothing more."""
        if quiet % QUIET_LOOKS and not feed.is_lost:
            return None
        with contextlib.suppress(TransientError):
            return await self.page(feed.request, after=position, limit=EVENTS_A_PAGE)
        return None

    async def _read_feed(self, feed: Feed, position: EventId) -> list[EventRow]:
        if feed.has(position):
            return feed.list_after(position)
        rows = await self._read(feed.request, after=position)
        return await self._complete(feed.request, rows)

    async def _read(self, request: AdmittedRequest, *, after: EventId) -> list[EventRow]:
        return await self._store.read(
            request.conversation_id, request.run_id, after=after, limit=ROWS_A_READ
        )

    async def _complete(self, request: AdmittedRequest, rows: list[EventRow]) -> list[EventRow]:
        """The rows with the texts of their messages."""
        sequences = [
            event.data["sequence"] for row in rows for event in row.events if _lacks_text(event)
        ]
        if not sequences:
            return rows
        messages = await self._read_messages(request, sequences)
        return [
            replace(row, events=tuple(_add_text(event, messages) for event in row.events))
            for row in rows
        ]

    async def _read_messages(
        self, request: AdmittedRequest, sequences: list[int]
    ) -> dict[int, Message]:
        found: dict[int, Message] = {}
        for sequence in sequences:
            if sequence in found:
                continue
            end = min(max(sequences) + 1, sequence + MOST_JOINED)
            read = await self._conversations.read_history(
                request.conversation_id, before=end, limit=end - sequence
            )
            found |= {message.sequence: message for message in read}
        return found

    async def _find_end(self, request: AdmittedRequest) -> Run | None:
        """The run, if it has ended."""
        run = await self._conversations.find_run(request.conversation_id, request.run_id)
        if run is None and request.refusal is not None:
            run = Run.from_request(request)
        return run if run is not None and run.status.has_ended else None


def _recall_end(run: Run) -> RunEvent:
    """The end of a run that has no events: an earlier version of AOS ran it, or main refused it."""
    data = {"usage": encode(run.usage), "output": run.output}
    if run.error is not None:
        data["error"] = encode(run.error)
    time = run.ended_at or run.created_at
    return RunEvent(id=str(QUEUED_ID + 1), type=ENDS[run.status], time=time, data=data)


def _list_events(rows: Iterable[EventRow], *, after: EventId) -> list[RunEvent]:
    """The events of the rows that come after `after`."""
    return [event for row in rows for event in row.events if event.event_id > after]


def _lacks_text(event: RunEvent) -> bool:
    return event.type == "message.completed" and "content" not in event.data


def _add_text(event: RunEvent, messages: dict[int, Message]) -> RunEvent:
    if not _lacks_text(event):
        return event
    message = messages.get(event.data["sequence"])
    if message is None:  # the conversation was deleted
        return event
    data = {**event.data, "content": message.content}
    if message.tool_calls:
        data["tool_calls"] = [encode(call) for call in message.tool_calls]
    return replace(event, data=data)


async def _wait(news: asyncio.Event, seconds: float) -> bool:
    """Whether there were news within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await news.wait()
    except TimeoutError:
        return False
    return True
