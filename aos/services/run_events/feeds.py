"""Reads the new events of a run once for all its readers in this process. Entry point:
`Feeds.open`.

Realm writes events from another process, so a feed asks storage for them: every 75 ms while the
model may be writing, and less often while the run waits for something else. An end that this
process is told of is read at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aos.domain.envelope import WatchRun, to_realm
from aos.domain.runs.run import AdmittedRequest, Run
from aos.domain.runs.run_events import EventId, EventRow, RunEventType
from aos.domain.runs.watching import RENEW, WATCH
from aos.errors import TransientError
from aos.ports.bus import Bus
from aos.ports.run_events import RunEventStore
from aos.ports.system import Clock

FAST_SECONDS = 0.075
"""Between two reads while the model may be writing."""
SLOWEST_SECONDS = 1.0
PATIENCE_READS = 400
"""Fast reads without news before a feed reads less often: half a minute."""
MOST_READERS = 1000
ROWS_A_READ = 100
ROWS_KEPT = 300
"""Rows that readers of a feed share; a reader that is further behind reads storage itself."""
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


@dataclass(slots=True)
class Feed:
    """The new events of one run: rows after `start`, up to `position`."""

    request: AdmittedRequest
    start: EventId
    position: EventId
    rows: list[EventRow] = field(default_factory=list)
    readers: int = 0
    quiet_reads: int = 0
    slow: bool = False
    ended: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)
    nudge: asyncio.Event = field(default_factory=asyncio.Event)
    reading: asyncio.Task[None] | None = None
    watching: asyncio.Task[None] | None = None

    def has(self, position: EventId) -> bool:
        """Whether the rows after `position` are here."""
        return position >= self.start

    def list_after(self, position: EventId) -> list[EventRow]:
        """The rows here that end after `position`."""
        return [row for row in self.rows if row.last_id > position]

    def take(self, rows: list[EventRow]) -> None:
        """Add rows that were read, and wake the readers."""
        for row in rows:
            self.position = max(self.position, row.last_id)
            self.slow = row.events[-1].type in _SLOW_AFTER
            self.ended = self.ended or row.events[-1].is_end
        self.rows.extend(rows)
        self.quiet_reads = 0 if rows else self.quiet_reads + 1
        if len(self.rows) > ROWS_KEPT:
            self.start = self.rows[-ROWS_KEPT - 1].last_id
            del self.rows[:-ROWS_KEPT]
        if rows:
            self.news.set()
            self.news = asyncio.Event()

    @property
    def pause(self) -> float:
        """The seconds until the next read."""
        quiet = self.quiet_reads if self.slow else self.quiet_reads - PATIENCE_READS
        return min(FAST_SECONDS * 1.5 ** max(0, quiet), SLOWEST_SECONDS)


class Feeds:
    """The feeds of this process, one for each run that somebody reads."""

    def __init__(self, *, store: RunEventStore, bus: Bus, clock: Clock) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        self._feeds: dict[str, Feed] = {}

    @contextlib.asynccontextmanager
    async def open(self, request: AdmittedRequest, *, after: EventId) -> AsyncIterator[Feed]:
        """The feed of a run, read while somebody is inside. Raises TransientError `unavailable`
        when too many read."""
        if sum(feed.readers for feed in self._feeds.values()) >= MOST_READERS:
            raise TransientError(
                f"{MOST_READERS} readers follow runs here; try again, or read the events as JSON",
                retry_after_seconds=5.0,
            )
        feed = self._feeds.get(request.run_id)
        if feed is None:
            feed = self._feeds[request.run_id] = Feed(request=request, start=after, position=after)
            feed.reading = asyncio.create_task(self._read(feed))
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
            feed.nudge.set()

    async def _read(self, feed: Feed) -> None:
        request = feed.request
        while not feed.ended:
            try:
                rows = await self._store.read(
                    request.conversation_id,
                    request.run_id,
                    after=feed.position,
                    limit=ROWS_A_READ,
                )
            except TransientError:
                feed.quiet_reads += PATIENCE_READS // 4
                rows = []
            feed.take(rows)
            if len(rows) < ROWS_A_READ and not feed.ended:
                await self._pause(feed)

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

    async def _pause(self, feed: Feed) -> None:
        """Wait until the next read is due, or until the end of the run is known."""
        nudged = asyncio.ensure_future(feed.nudge.wait())
        slept = asyncio.ensure_future(self._clock.sleep(feed.pause))
        try:
            await asyncio.wait({nudged, slept}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            nudged.cancel()
            slept.cancel()
        feed.nudge.clear()
