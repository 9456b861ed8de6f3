"""Which tools may an agent have in this turn, as its servers are now?"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aos.domain.cards.agent_card import AgentCard
from aos.domain.tools.offer import NOTHING, Offer, leads, make_offer
from aos.domain.tools.tool import ServerTools
from aos.ports.agents import Agents
from aos.ports.system import Clock
from aos.ports.tools import ToolCatalog

LOOK_EVERY_SECONDS = 2.0
SERVERS_REMEMBERED = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class NotListed:
    """Servers that the agent is granted and that have not listed their tools yet."""

    servers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A server's row and when it was read (monotonic seconds)."""

    tools: ServerTools | None
    at: float


class Offering:
    """Makes the offers of turns. Rows are at most two seconds old."""

    def __init__(self, *, tools: ToolCatalog, agents: Agents, clock: Clock) -> None:
        self._tools = tools
        self._agents = agents
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    async def offer(self, card: AgentCard, *, depth: int) -> Offer | NotListed:
        """What the card grants. A server that does not exist, or is disabled, is passed over; one
        that failed is told to the model; for one that is still to list its tools the run waits.

        Raises TransientError when storage is away.
        """
        if not card.mcp_tools and not leads(card):
            return NOTHING
        wanted = sorted({grant.server_id for grant in card.mcp_tools})
        serving = [server_id for server_id in wanted if await self._agents.serves(server_id)]
        found = await asyncio.gather(*(self._look(server_id) for server_id in serving))
        rows = dict(zip(serving, found, strict=True))
        missing = tuple(server_id for server_id, row in rows.items() if not _listed(row))
        if missing:
            for server_id in missing:
                self._seen.pop(server_id, None)
            return NotListed(servers=missing)
        return make_offer(
            card, {name: row for name, row in rows.items() if row is not None}, depth=depth
        )

    async def _look(self, server_id: str) -> ServerTools | None:
        seen, now = self._seen.get(server_id), self._clock.monotonic()
        if seen is None or now - seen.at >= LOOK_EVERY_SECONDS:
            if len(self._seen) >= SERVERS_REMEMBERED:
                self._seen.clear()
            seen = self._seen[server_id] = _Seen(await self._tools.find(server_id), now)
        return seen.tools


def _listed(row: ServerTools | None) -> bool:
    """Is it known what the server offers, or that it cannot be had?"""
    return row is not None and (row.state == "failed" or row.listed_at is not None)
