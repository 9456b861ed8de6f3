"""How are messages of a queue or subscription without sessions pumped into a function?

One link with as much credit as calls may run, so that each message that comes is called at once.
"""

from __future__ import annotations

import asyncio

from devhost.amqp.performatives import Source
from devhost.functions.bus.errors import BusError
from devhost.functions.bus.line import EntityChannel, Line
from devhost.functions.bus.links import Delivery, Receiver
from devhost.functions.bus.locks import LockKeeper, message_lock, seconds_of
from devhost.functions.bus.message import BusMessage
from devhost.functions.bus.work import Work
from devhost.functions.log import watched

DEFAULT_LOCK_SECONDS = 60.0


class PlainPump:
    """One function and its entity."""

    def __init__(self, work: Work, line: Line, *, calls: int, lock_renewal_seconds: float) -> None:
        self._work = work
        self._line = line
        self._limit = calls
        self._lock_renewal_seconds = lock_renewal_seconds
        self._calls: set[asyncio.Task[None]] = set()
        self._link: Receiver | None = None
        self._channel: EntityChannel | None = None
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to wait for a connection."""
        self._task = watched(asyncio.create_task(self._run(), name=f"bus {self._work.entity}"))

    def stop_intake(self) -> None:
        """Take no more messages."""
        self._stopping = True
        if self._task is not None:
            self._task.cancel()
        if self._link is not None:
            self._link.revoke()

    async def close(self) -> None:
        """Abandon what is still running."""
        tasks = {*self._calls, *([self._task] if self._task else [])}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1)

    async def _run(self) -> None:
        attempt = 0
        while True:
            self._channel = channel = await self._line.connected()
            try:
                await channel.claim()
                link = Receiver(channel.session, Source(self._work.entity), self._on_delivery)
                channel.session.attach(link)
                await link.wait_attached()
                self._line.welcomed()
                attempt = 0
                self._link = link
                self._top_up()
                await link.ended.wait()
                raise link.error or BusError("amqp:link:detach-forced", self._work.entity)
            except (BusError, TimeoutError, OSError) as error:
                await self._line.after_refusal(error, attempt=attempt)
                attempt += 1

    def _top_up(self) -> None:
        """Calls that began on an earlier connection count, too."""
        link = self._link
        if link is None or self._stopping:
            return
        room = self._limit - len(self._calls) - link.credit
        if room > 0:
            link.grant(room)

    def _on_delivery(self, delivery: Delivery) -> None:
        if self._stopping:
            self._work.give_back(delivery)
            return
        call = asyncio.create_task(self._work.handle(delivery, self._keep_lock))
        self._calls.add(call)
        call.add_done_callback(self._ended)

    def _ended(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._top_up()

    def _keep_lock(self, delivery: Delivery, message: BusMessage) -> LockKeeper:
        assert self._channel is not None
        return LockKeeper(
            message_lock(self._channel.management, delivery.link.name, delivery.tag),
            until=seconds_of(message.locked_until, otherwise=DEFAULT_LOCK_SECONDS),
            limit_seconds=self._lock_renewal_seconds,
            fields={"entity": self._work.entity, "message_id": message.message_id},
        )
