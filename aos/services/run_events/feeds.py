"""Reads the new events of a run once for all its readers in this process. Entry point:
`Feeds.open`.

Realm writes events from another process, so a feed asks storage for them. Text comes in batches of
a known rhythm, and each says when it was written, so a feed that has read one looks again just
after the next was written. It reads every 100 ms while the model may begin to write, but not before
the agent's models usually do, and less often while the run waits for something else. An end that
this process is told of is read at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from aos.domain.envelope import WatchRun, to_realm
from aos.domain.runs.run import AdmittedRequest, Run
from aos.domain.runs.run_events import EventId, EventRow, RunEvent, RunEventType
from aos.domain.runs.watching import BATCH_SECONDS, RENEW, WATCH, count_batch_seconds
from aos.errors import TransientError
from aos.ports.bus import Bus
from aos.ports.run_events import RunEventStore
from aos.ports.system import Clock
from aos.services.run_events.beginnings import Beginning, Beginnings

FAST_SECONDS = 0.1
"""Between two reads while the model may begin to write."""
BEGIN_SECONDS = 0.2
"""From the admission of a run to the first read: no model answers sooner."""
CLOSE_SECONDS = 0.025
"""Between two reads for a batch of text that is due."""
USUAL_LAG_SECONDS = 0.02
"""From the time that a batch carries to a read that finds it: a write takes a while."""
LAG_DECAY_SECONDS = 0.002
"""Each batch that is there at the first read lets a feed read the next one so much earlier."""
LEAST_SECONDS = 0.01
"""Between the end of a read and the next, however long the read took."""
LATE_READS = 4
"""Reads for a batch that is due, before a feed reads as if the model had not begun."""
SLOWEST_SECONDS = 1.0
PATIENCE_READS = 350
"""Fast reads without news before a feed reads less often: more than half a minute."""
MOST_READERS = 1000
ROWS_A_READ = 100
ROWS_KEPT = 300
CHARACTERS_KEPT = 1_000_000
"""Rows, and characters of text in them, that readers of a feed share; a reader that is further
behind reads storage itself."""
_SLOW_AFTER: frozenset[RunEventType] = frozenset(
    {
        "tool.called",
        "approval.requested",
        "input.requested",
        "run.waiting",
        "run.retrying",
    }
)
"""After these the run waits for something other than the model."""


Complete: TypeAlias = Callable[[AdmittedRequest, list[EventRow]], Awaitable[list[EventRow]]]
"""Adds to rows the texts that messages hold, once for all readers."""


@dataclass(slots=True)
class Feed:
    """The new events of one run: rows after `start`, up to `position`."""

    request: AdmittedRequest
    beginning: Beginning
    start: EventId
    position: EventId
    rows: list[EventRow] = field(default_factory=list)
    readers: int = 0
    quiet_reads: int = 0
    slow: bool = False
    in_text: bool = False
    lag: float = USUAL_LAG_SECONDS
    ahead: float = 0.0
    between: float = BATCH_SECONDS
    ended: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)
    is_nudged: bool = False
    pausing: asyncio.Future[None] | None = None
    reading: asyncio.Task[None] | None = None
    watching: asyncio.Task[None] | None = None

    def has(self, position: EventId) -> bool:
        """Whether the rows after `position` are here."""
        return position >= self.start

    def list_after(self, position: EventId) -> list[EventRow]:
        """The rows here that end after `position`."""
        return [row for row in self.rows if row.last_id > position]

    def take(self, rows: list[EventRow], *, began: datetime) -> None:
        """Add rows that a read which began then has found, and wake the readers."""
        if rows and rows[-1].events[-1].type == "message.delta":
            self._follow_rhythm(rows[-1].events[-1], began)
        for row in rows:
            self.position = max(self.position, row.last_id)
            self.slow = row.events[-1].type in _SLOW_AFTER
            self.in_text = row.events[-1].type == "message.delta"
            self.ended = self.ended or row.events[-1].is_end
        self.beginning.take((event for row in rows for event in row.events), began=began)
        self.rows.extend(rows)
        self.quiet_reads = 0 if rows else self.quiet_reads + 1
        self._drop_old()
        if rows:
            self.news.set()
            self.news = asyncio.Event()

    def _follow_rhythm(self, batch: RunEvent, began: datetime) -> None:
        """Learn how soon after its time a batch can be read, and how late this one was read.

        The times are of two processes. If their clocks differ, the difference is a part of the lag.
        """
        lag = (began - batch.time).total_seconds()
        if self.in_text and self.quiet_reads:  # it was not there at the read before
            least = lag if self.quiet_reads <= LATE_READS else lag - FAST_SECONDS
            self.lag = max(self.lag, least)
        else:
            self.lag = max(min(self.lag - LAG_DECAY_SECONDS, lag), USUAL_LAG_SECONDS)
        self.between = count_batch_seconds(batch.event_id.part)
        self.ahead = min(max(lag - self.lag, 0.0), self.between)

    def _drop_old(self) -> None:
        """Keep the newest rows, within the bounds; always the last one."""
        kept = characters = 0
        for row in reversed(self.rows[-ROWS_KEPT:]):
            characters += sum(_count_characters(event) for event in row.events)
            if kept and characters > CHARACTERS_KEPT:
                break
            kept += 1
        if kept < len(self.rows):
            self.start = self.rows[-kept - 1].last_id
            del self.rows[:-kept]

    @property
    def is_lost(self) -> bool:
        """Whether its task failed, so that it finds nothing more."""
        return self.reading is not None and self.reading.done() and not self.ended

    @property
    def pause(self) -> float:
        """The seconds from the beginning of the last read to the next."""
        if self.in_text and self.quiet_reads <= LATE_READS:
            return CLOSE_SECONDS if self.quiet_reads else self.between - self.ahead
        quiet = self.quiet_reads if self.slow else self.quiet_reads - PATIENCE_READS
        usual = FAST_SECONDS * 1.5 ** max(0, quiet)
        until_text = self.beginning.seconds
        if until_text:
            usual = max(usual, until_text + self.lag)
        return min(usual, SLOWEST_SECONDS)


class Feeds:
    """The feeds of this process, one for each run that somebody reads."""

    def __init__(self, *, store: RunEventStore, bus: Bus, clock: Clock, complete: Complete) -> None:
        self._store = store
        self._complete = complete
        self._bus = bus
        self._clock = clock
        self._feeds: dict[str, Feed] = {}
        self._beginnings = Beginnings()

    @contextlib.asynccontextmanager
    async def open(
        self, request: AdmittedRequest, *, after: EventId, pause: float
    ) -> AsyncIterator[Feed]:
        """The feed of a run, read while somebody is inside, for the first time in `pause` seconds.

        Raises TransientError `unavailable` when too many read.
        """
        if sum(feed.readers for feed in self._feeds.values()) >= MOST_READERS:
            raise TransientError(
                f"{MOST_READERS} readers follow runs here; try again, or read the events as JSON",
                retry_after_seconds=5.0,
            )
        feed = self._feeds.get(request.run_id)
        if feed is None:
            beginning = self._beginnings.follow(request.agent_id, since=request.admitted_at)
            feed = Feed(request=request, beginning=beginning, start=after, position=after)
            self._feeds[request.run_id] = feed
            feed.reading = asyncio.create_task(self._read(feed, pause))
            feed.watching = asyncio.create_task(self._watch(feed))
        feed.readers += 1
        try:
            yield feed
        finally:
            feed.readers -= 1
            if not feed.readers:
                self._feeds.pop(request.run_id, None)
                for task in (feed.reading, feed.watching):
                    if task is not None:
                        task.cancel()

    def notify(self, run: Run) -> None:
        """Read the events of this ended run at once, if somebody reads them."""
        feed = self._feeds.get(run.run_id)
        if feed is not None:
            feed.is_nudged = True
            if feed.pausing is not None:
                feed.pausing.cancel()

    async def _read(self, feed: Feed, pause: float) -> None:
        request = feed.request
        await self._pause(feed, pause)
        while not feed.ended:
            began, now = self._clock.monotonic(), self._clock.now()
            try:
                rows = await self._store.read(
                    request.conversation_id,
                    request.run_id,
                    after=feed.position,
                    limit=ROWS_A_READ,
                )
                rows = await self._complete(request, rows)
            except TransientError:
                feed.quiet_reads += PATIENCE_READS // 4
                rows = []
            feed.take(rows, began=now)
            if len(rows) < ROWS_A_READ and not feed.ended:
                await self._pause(feed, feed.pause - (self._clock.monotonic() - began))

    async def _watch(self, feed: Feed) -> None:
        """Have realm stream the run's turns while somebody reads. A command that is not sent costs
        the readers the text's pieces, not the text."""
        request = feed.request
        watched = request.watched_until
        if watched is not None:
            left = watched - self._clock.now() - RENEW
            await self._clock.sleep(max(0.0, left.total_seconds()))
        while not feed.ended:
            until = self._clock.now() + WATCH
            command = WatchRun(
                run_id=request.run_id, conversation_id=request.conversation_id, until=until
            )
            with contextlib.suppress(TransientError):
                await self._bus.send(to_realm(command))
            await self._clock.sleep(RENEW.total_seconds())

    async def _pause(self, feed: Feed, seconds: float) -> None:
        """Wait until the next read is due, or until the end of the run is known."""
        if not feed.is_nudged:
            pausing = self._clock.sleep(max(seconds, LEAST_SECONDS))
            feed.pausing = asyncio.ensure_future(pausing)
            try:
                await asyncio.wait({feed.pausing})
            finally:
                feed.pausing.cancel()
        feed.is_nudged = False


def _count_characters(event: RunEvent) -> int:
    """The characters of the event's longest texts."""
    texts = (event.data.get(name) for name in ("text", "content", "arguments"))
    return sum(len(text) for text in texts if isinstance(text, str))
