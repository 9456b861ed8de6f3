"""How does a pump reach its entity, now and after the connection was lost?"""

from __future__ import annotations

import asyncio

from devhost.functions.bus.claims import Claims
from devhost.functions.bus.errors import BusError, ConnectionLost
from devhost.functions.bus.requests import RequestLinks
from devhost.functions.bus.session import AmqpSession
from devhost.functions.log import brief, say

FIRST_BACK_OFF_SECONDS = 0.5
LONGEST_BACK_OFF_SECONDS = 5.0


class EntityChannel:
    """One entity on one connection: a session for its links, and its `$management`."""

    def __init__(self, session: AmqpSession, claims: Claims, entity: str) -> None:
        self.session = session
        self.management = RequestLinks(session, f"{entity}/$management")
        self._claims = claims
        self._entity = entity

    async def claim(self) -> None:
        """Make sure that we may use the entity. Raises BusError, TimeoutError."""
        await self._claims.ensure(self._entity)


class Line:
    """The channel of the connection that stands now; pumps wait here for the next one."""

    def __init__(self, entity: str) -> None:
        self.entity = entity
        self._channel: EntityChannel | None = None
        self._connected = asyncio.Event()
        self._refused: str | None = None

    def connect(self, channel: EntityChannel) -> None:
        """A connection stands."""
        self._channel = channel
        self._connected.set()

    async def connected(self) -> EntityChannel:
        """The channel, once there is one that is not lost."""
        while True:
            channel = self._channel
            if channel is not None and channel.session.lost is None:
                return channel
            self._connected.clear()
            await self._connected.wait()

    def welcomed(self) -> None:
        """The entity let us in: the next refusal is worth a line again."""
        self._refused = None

    async def after_refusal(self, error: Exception, *, attempt: int) -> None:
        """Say once why the entity refused us, and wait before the next try."""
        if isinstance(error, ConnectionLost):
            return
        reason = error.condition if isinstance(error, BusError) else type(error).__name__
        if reason != self._refused:
            self._refused = reason
            say("warning", "bus.refused", entity=self.entity, error=brief(error))
        delay = FIRST_BACK_OFF_SECONDS * 2 ** min(attempt, 10)
        await asyncio.sleep(min(delay, LONGEST_BACK_OFF_SECONDS))
