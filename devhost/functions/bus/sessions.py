"""Pumps messages of an entity with sessions into a function. Entry point: `SessionPump.start`.

There are as many slots as sessions may be open at once. Each slot accepts the next free session,
calls the function with its messages one by one, and leaves it when no more come. As in .NET's
session processor, only a few slots wait for a session at the same time.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, NamedTuple

from devhost.amqp.performatives import Attach, Source
from devhost.amqp.types import Described, Symbol, UInt
from devhost.functions.bus.entity import BusEntity, EntityChannel
from devhost.functions.bus.errors import BusError
from devhost.functions.bus.handler import MessageHandler
from devhost.functions.bus.links import BrokerReceiver, Delivery
from devhost.functions.bus.locks import LockKeeper, convert_ticks, make_session_renewal
from devhost.functions.bus.plain import DEFAULT_LOCK_SECONDS
from devhost.functions.log import watch_task

ACCEPT_SECONDS = 60.0
"""How long the broker may wait for a free session before it answers that there is none."""
DEFAULT_IDLE_SECONDS = 60.0
NO_SESSION = "com.microsoft:timeout"
SESSION_FILTER = Symbol("com.microsoft:session-filter")
_LOCKED_UNTIL = "com.microsoft:locked-until-utc"


class _Session(NamedTuple):
    """An accepted session; the broker's Attach names it."""

    channel: EntityChannel
    link: BrokerReceiver
    attach: Attach
    deliveries: asyncio.Queue[Delivery | None]


class SessionPump:
    """One function and its entity; `sessions` may be open and `accepts` waited for at once."""

    def __init__(
        self,
        handler: MessageHandler,
        entity: BusEntity,
        *,
        sessions: int,
        accepts: int,
        idle_seconds: float | None,
        lock_renewal_seconds: float,
    ) -> None:
        self._handler = handler
        self._entity = entity
        self._count = sessions
        self._accepting = asyncio.Semaphore(accepts)
        self._idle_seconds = DEFAULT_IDLE_SECONDS if idle_seconds is None else idle_seconds
        self._lock_renewal_seconds = lock_renewal_seconds
        self._stopping = False
        self._slots: list[asyncio.Task[None]] = []
        self._busy: set[asyncio.Task[Any] | None] = set()

    def start(self) -> None:
        """Begin to wait for a connection, then for sessions."""
        self._slots = [
            watch_task(
                asyncio.create_task(self._run_slot(), name=f"bus {self._entity.path} {number}")
            )
            for number in range(self._count)
        ]

    def stop_intake(self) -> None:
        """Accept no more sessions, and leave those whose function is not running."""
        self._stopping = True
        for slot in self._slots:
            if slot not in self._busy:
                slot.cancel()

    async def close(self) -> None:
        """Abandon the calls that still run and leave their sessions."""
        for slot in self._slots:
            slot.cancel()
        if self._slots:
            await asyncio.wait(self._slots, timeout=1)

    async def _run_slot(self) -> None:
        attempt = 0
        while not self._stopping:
            try:
                await self._serve(await self._accept())
                attempt = 0
            except (BusError, TimeoutError, OSError) as error:
                if isinstance(error, BusError) and error.condition == NO_SESSION:
                    self._entity.note_accepted()
                    continue
                await self._entity.back_off(error, attempt=attempt)
                attempt += 1

    async def _accept(self) -> _Session:
        """Accept the next free session. Raises BusError, TimeoutError."""
        async with self._accepting:
            channel = await self._entity.wait_connected()
            await channel.claim()
            deliveries: asyncio.Queue[Delivery | None] = asyncio.Queue()
            link = BrokerReceiver(
                channel.session,
                Source(self._entity.path, filter={SESSION_FILTER: None}),
                deliveries.put_nowait,
                properties={Symbol("com.microsoft:timeout"): UInt(int(ACCEPT_SECONDS * 1000))},
            )
            link.ended.add_done_callback(lambda _: deliveries.put_nowait(None))
            link.open()
            try:
                attach = await link.wait_attached()
            except BaseException:
                link.detach()
                raise
        self._entity.note_accepted()
        return _Session(channel, link, attach, deliveries)

    async def _serve(self, session: _Session) -> None:
        """Call the function with the session's messages until it has been idle."""
        keeper = self._keep_lock(session)
        try:
            while not self._stopping and (
                delivery := await self._wait_next(session.link, session.deliveries)
            ):
                await self._handle(delivery)
        finally:
            keeper.stop()
            session.link.detach()

    async def _wait_next(
        self, link: BrokerReceiver, deliveries: asyncio.Queue[Delivery | None]
    ) -> Delivery | None:
        """The session's next message; None if none came in time, or the session was lost."""
        if link.ended.done():
            return None
        link.grant(1)
        try:
            async with asyncio.timeout(self._idle_seconds):
                return await deliveries.get()
        except TimeoutError:
            return None if deliveries.empty() else deliveries.get_nowait()

    async def _handle(self, delivery: Delivery) -> None:
        task = asyncio.current_task()
        self._busy.add(task)
        try:
            await self._handler.handle(delivery)
        finally:
            self._busy.discard(task)

    def _keep_lock(self, session: _Session) -> LockKeeper:
        session_id = _read_session_id(session.attach)
        ticks = (session.attach.properties or {}).get(_LOCKED_UNTIL)
        until = convert_ticks(ticks) if ticks else time.time() + DEFAULT_LOCK_SECONDS
        return LockKeeper(
            make_session_renewal(session.channel.management, session.link.name, session_id),
            until=until,
            limit_seconds=self._lock_renewal_seconds,
            fields={"entity": self._entity.path, "session_id": session_id},
        )


def _read_session_id(attach: Attach) -> str:
    source = attach.source
    filters = source.filter if isinstance(source, Source) else None
    value = (filters or {}).get(SESSION_FILTER)
    return str(value.value if isinstance(value, Described) else value)
