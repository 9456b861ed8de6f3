"""Pumps messages of an entity without sessions into a function. Entry point: `PlainPump.start`.

One link has as much credit as calls may run, so that the function is called with each message at
once.
"""

from __future__ import annotations

import asyncio

from devhost.amqp.performatives import Source
from devhost.functions.bus.entity import BusEntity, EntityChannel
from devhost.functions.bus.errors import BusError
from devhost.functions.bus.handler import MessageHandler
from devhost.functions.bus.links import BrokerReceiver, Delivery
from devhost.functions.bus.locks import LockKeeper, make_message_renewal, to_seconds
from devhost.functions.bus.message import BusMessage
from devhost.functions.log import watch_task

DEFAULT_LOCK_SECONDS = 60.0


class PlainPump:
    """One function and its entity."""

    def __init__(
        self,
        handler: MessageHandler,
        entity: BusEntity,
        *,
        calls: int,
        lock_renewal_seconds: float,
    ) -> None:
        self._handler = handler
        self._entity = entity
        self._limit = calls
        self._lock_renewal_seconds = lock_renewal_seconds
        self._calls: set[asyncio.Task[None]] = set()
        self._link: BrokerReceiver | None = None
        self._channel: EntityChannel | None = None
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to wait for a connection."""
        self._task = watch_task(asyncio.create_task(self._run(), name=f"bus {self._entity.path}"))

    def stop_intake(self) -> None:
        """Take no more messages."""
        self._stopping = True
        if self._task is not None:
            self._task.cancel()
        if self._link is not None:
            self._link.grant(0)

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
            self._channel = channel = await self._entity.wait_connected()
            try:
                await channel.claim()
                source = Source(self._entity.path)
                link = BrokerReceiver(channel.session, source, self._on_delivery)
                link.open()
                await link.wait_attached()
                self._entity.note_accepted()
                attempt = 0
                self._link = link
                self._grant_room()
                raise await asyncio.shield(link.ended)
            except (BusError, TimeoutError, OSError) as error:
                await self._entity.back_off(error, attempt=attempt)
                attempt += 1

    def _grant_room(self) -> None:
        """Grant credit for the calls that may still begin; those of lost connections count too."""
        link = self._link
        if link is None or self._stopping:
            return
        room = self._limit - len(self._calls) - link.credit
        if room > 0:
            link.grant(link.credit + room)

    def _on_delivery(self, delivery: Delivery) -> None:
        if self._stopping:
            self._handler.release(delivery)
            return
        call = asyncio.create_task(self._handler.handle(delivery, self._keep_lock))
        self._calls.add(call)
        call.add_done_callback(self._on_call_ended)

    def _on_call_ended(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._grant_room()

    def _keep_lock(self, delivery: Delivery, message: BusMessage) -> LockKeeper:
        assert self._channel is not None
        return LockKeeper(
            make_message_renewal(self._channel.management, delivery.link.name, delivery.tag),
            until=to_seconds(message.locked_until, otherwise=DEFAULT_LOCK_SECONDS),
            limit_seconds=self._lock_renewal_seconds,
            fields={"entity": self._entity.path, "message_id": message.message_id},
        )
