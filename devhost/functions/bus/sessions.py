"""Pumps messages of an entity with sessions into a function. Entry point: `SessionPump.start`.

As many slots as sessions may be open at once. Each asks for the next session that is free, has
its messages one by one, and lets it go when no more come: then it asks again. As .NET's session
processor, only a few slots ask at the same time.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, NamedTuple

from devhost.amqp.performatives import Attach, Source
from devhost.amqp.types import Described, Symbol, UInt
from devhost.functions.bus.errors import BusError
from devhost.functions.bus.line import EntityChannel, Line
from devhost.functions.bus.links import Delivery, Receiver
from devhost.functions.bus.locks import LockKeeper, session_lock, ticks_to_seconds
from devhost.functions.bus.plain import DEFAULT_LOCK_SECONDS
from devhost.functions.bus.work import Work
from devhost.functions.log import watched

ACCEPT_SECONDS = 60.0
"""How long the broker may look for a free session before it says that there is none."""
DEFAULT_IDLE_SECONDS = 60.0
NO_SESSION = "com.microsoft:timeout"
SESSION_FILTER = Symbol("com.microsoft:session-filter")
_LOCKED_UNTIL = "com.microsoft:locked-until-utc"


class _Session(NamedTuple):
    """A session that was accepted: the broker's Attach names it."""

    channel: EntityChannel
    link: Receiver
    attach: Attach
    deliveries: asyncio.Queue[Delivery | None]


class SessionPump:
    """One function and its entity: `sessions` may be open, `accepts` asked for, at once."""

    def __init__(
        self,
        work: Work,
        line: Line,
        *,
        sessions: int,
        accepts: int,
        idle_seconds: float | None,
        lock_renewal_seconds: float,
    ) -> None:
        self._work = work
        self._line = line
        self._count = sessions
        self._accepting = asyncio.Semaphore(accepts)
        self._idle_seconds = DEFAULT_IDLE_SECONDS if idle_seconds is None else idle_seconds
        self._lock_renewal_seconds = lock_renewal_seconds
        self._stopping = False
        self._slots: list[asyncio.Task[None]] = []
        self._working: set[asyncio.Task[Any] | None] = set()

    def start(self) -> None:
        """Begin to wait for a connection, then for sessions."""
        self._slots = [
            watched(asyncio.create_task(self._slot(), name=f"bus {self._work.entity} {number}"))
            for number in range(self._count)
        ]

    def stop_intake(self) -> None:
        """Ask for no more sessions, and leave those whose function is not running."""
        self._stopping = True
        for slot in self._slots:
            if slot not in self._working:
                slot.cancel()

    async def close(self) -> None:
        """Abandon what is still running and leave its session."""
        for slot in self._slots:
            slot.cancel()
        if self._slots:
            await asyncio.wait(self._slots, timeout=1)

    async def _slot(self) -> None:
        attempt = 0
        while not self._stopping:
            try:
                await self._serve(await self._accept())
                attempt = 0
            except (BusError, TimeoutError, OSError) as error:
                if isinstance(error, BusError) and error.condition == NO_SESSION:
                    self._line.welcomed()
                    continue
                await self._line.after_refusal(error, attempt=attempt)
                attempt += 1

    async def _accept(self) -> _Session:
        """Get hold of the next session that is free. Raises BusError, TimeoutError."""
        async with self._accepting:
            channel = await self._line.connected()
            await channel.claim()
            deliveries: asyncio.Queue[Delivery | None] = asyncio.Queue()
            link = Receiver(
                channel.session,
                Source(self._work.entity, filter={SESSION_FILTER: None}),
                deliveries.put_nowait,
                properties={Symbol("com.microsoft:timeout"): UInt(int(ACCEPT_SECONDS * 1000))},
            )
            link.when_ended(lambda _: deliveries.put_nowait(None))
            channel.session.attach(link)
            try:
                attach = await link.wait_attached()
            except BaseException:
                link.detach()
                raise
        self._line.welcomed()
        return _Session(channel, link, attach, deliveries)

    async def _serve(self, session: _Session) -> None:
        """Call the function with the session's messages until it has been idle."""
        keeper = self._keep_lock(session.channel, session.link, session.attach)
        try:
            while not self._stopping and (
                delivery := await self._next(session.link, session.deliveries)
            ):
                await self._work_on(delivery)
        finally:
            keeper.stop()
            session.link.detach()

    async def _next(
        self, link: Receiver, deliveries: asyncio.Queue[Delivery | None]
    ) -> Delivery | None:
        """The session's next message; None if none came in time, or the session was lost."""
        if link.ended.is_set():
            return None
        link.grant(1)
        try:
            async with asyncio.timeout(self._idle_seconds):
                return await deliveries.get()
        except TimeoutError:
            return None if deliveries.empty() else deliveries.get_nowait()

    async def _work_on(self, delivery: Delivery) -> None:
        task = asyncio.current_task()
        self._working.add(task)
        try:
            await self._work.handle(delivery)
        finally:
            self._working.discard(task)

    def _keep_lock(self, channel: EntityChannel, link: Receiver, attach: Attach) -> LockKeeper:
        session_id = _session_id(attach)
        ticks = (attach.properties or {}).get(_LOCKED_UNTIL)
        until = ticks_to_seconds(ticks) if ticks else time.time() + DEFAULT_LOCK_SECONDS
        return LockKeeper(
            session_lock(channel.management, link.name, session_id),
            until=until,
            limit_seconds=self._lock_renewal_seconds,
            fields={"entity": self._work.entity, "session_id": session_id},
        )


def _session_id(attach: Attach) -> str:
    source = attach.source
    filters = source.filter if isinstance(source, Source) else None
    value = (filters or {}).get(SESSION_FILTER)
    return str(value.value if isinstance(value, Described) else value)
