"""Gives a pump the channel to its entity, again after each lost connection. Entry point:
`BusEntity.wait_connected`."""

from __future__ import annotations

import asyncio

from devhost.amqp.session import Session
from devhost.functions.bus.claims import Claims
from devhost.functions.bus.errors import BusError, ConnectionLost
from devhost.functions.bus.requests import RequestLinks
from devhost.functions.log import describe_briefly, say

FIRST_BACK_OFF_SECONDS = 0.5
LONGEST_BACK_OFF_SECONDS = 5.0


class EntityChannel:
    """One entity on one connection: a session for its links, and its `$management`."""

    def __init__(self, session: Session, claims: Claims, entity: str) -> None:
        self.session = session
        self.management = RequestLinks(session, f"{entity}/$management")
        self._claims = claims
        self._entity = entity

    async def claim(self) -> None:
        """Get the right to use the entity. Raises BusError, TimeoutError."""
        await self._claims.ensure(self._entity)


class BusEntity:
    """A queue or subscription, and its channel on the current connection."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._channel: EntityChannel | None = None
        self._connected = asyncio.Event()
        self._refused: str | None = None

    def connect(self, channel: EntityChannel) -> None:
        """Take the channel of a new connection."""
        self._channel = channel
        self._connected.set()

    async def wait_connected(self) -> EntityChannel:
        """Wait for a channel that is not lost."""
        while True:
            channel = self._channel
            if channel is not None and channel.session.error is None:
                return channel
            self._connected.clear()
            await self._connected.wait()

    def note_accepted(self) -> None:
        """The entity has accepted us: the next refusal is logged again."""
        self._refused = None

    async def back_off(self, error: Exception, *, attempt: int) -> None:
        """Log once why the entity refused us, and wait before the next try."""
        if isinstance(error, ConnectionLost):
            return
        reason = error.condition if isinstance(error, BusError) else type(error).__name__
        if reason != self._refused:
            self._refused = reason
            say("warning", "bus.refused", entity=self.path, error=describe_briefly(error))
        delay = FIRST_BACK_OFF_SECONDS * 2 ** min(attempt, 10)
        await asyncio.sleep(min(delay, LONGEST_BACK_OFF_SECONDS))
