"""Gets the right to an entity by tokens put to `$cbs`, and renews them. Entry point:
`Claims.ensure`."""

from __future__ import annotations

import asyncio
import time

from devhost.amqp.session import Session
from devhost.amqp.types import Timestamp
from devhost.functions.bus.address import BusAddress
from devhost.functions.bus.errors import BusError
from devhost.functions.bus.requests import RequestLinks
from devhost.functions.log import describe_briefly, say

_RENEW_BEFORE_SECONDS = 600.0
_CHECK_SECONDS = 30.0


class Claims:
    """The claims of one connection."""

    def __init__(self, session: Session, address: BusAddress) -> None:
        self._links = RequestLinks(session, "$cbs")
        self._address = address
        self._expiries: dict[str, float] = {}
        self._one_at_a_time = asyncio.Lock()

    async def ensure(self, entity: str) -> None:
        """Put a token unless one was put before. Raises as `put` does."""
        if entity not in self._expiries:
            async with self._one_at_a_time:
                if entity not in self._expiries:
                    await self.put(entity)

    async def put(self, entity: str) -> None:
        """Put a token for the entity. Raises BusError if the broker refuses it, TimeoutError."""
        token = await self._address.make_token(entity)
        answer = await self._links.ask(
            {
                "operation": "put-token",
                "type": token.kind,
                "name": self._address.audience(entity),
                "expiration": Timestamp(token.expires * 1000),
            },
            token.text,
        )
        if not 200 <= answer.status < 300:
            raise BusError(
                answer.condition or "amqp:unauthorized-access",
                f"{answer.status} {answer.description} for {entity}",
            )
        self._expiries[entity] = token.expires

    async def renew_forever(self) -> None:
        """Put new tokens before the old ones end, until cancelled or the connection is lost."""
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            for entity, expires in list(self._expiries.items()):
                if expires - time.time() > _RENEW_BEFORE_SECONDS:
                    continue
                try:
                    await self.put(entity)
                except (BusError, TimeoutError, OSError) as error:
                    say(
                        "warning",
                        "bus.claim_not_renewed",
                        entity=entity,
                        error=describe_briefly(error),
                    )
