"""Makes the offer of tools for a turn from the rows of the agent's servers. Entry point:
`ToolOffers.make`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aos.domain.cards.agent_card import AgentCard
from aos.domain.tools.offer import NOTHING, Offer, can_delegate, make_offer
from aos.domain.tools.tool import ServerTools
from aos.ports.agents import Agents
from aos.ports.system import Clock
from aos.ports.tools import ToolCatalog
from aos.services.execution.turn_outcome import ToolsAway

READ_EVERY_SECONDS = 2.0
SERVERS_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class _CachedRow:
    """A server's row and when it was read (monotonic seconds)."""

    tools: ServerTools | None
    at: float


class ToolOffers:
    """Makes the offers of turns. It reads a server's row again after two seconds."""

    def __init__(self, *, tools: ToolCatalog, agents: Agents, clock: Clock) -> None:
        self._tools = tools
        self._agents = agents
        self._clock = clock
        self._rows: dict[str, _CachedRow] = {}

    async def make(self, card: AgentCard, *, depth: int) -> Offer | ToolsAway:
        """The tools that the card grants, or the servers that have not listed theirs.

        Leaves out servers that do not exist or are disabled. The offer names servers that failed,
        so that the model knows. Raises TransientError when storage is away.
        """
        if not card.mcp_tools and not can_delegate(card):
            return NOTHING
        wanted = sorted({grant.server_id for grant in card.mcp_tools})
        serving = [server_id for server_id in wanted if await self._agents.serves(server_id)]
        found = await asyncio.gather(*(self._read_row(server_id) for server_id in serving))
        rows = dict(zip(serving, found, strict=True))
        missing = tuple(server_id for server_id, row in rows.items() if not _is_known(row))
        if missing:
            for server_id in missing:
                self._rows.pop(server_id, None)
            return ToolsAway(servers=missing)
        purposes = await self._agents.list_purposes(card.team) if can_delegate(card) else {}
        return make_offer(
            card,
            {name: row for name, row in rows.items() if row is not None},
            depth=depth,
            purposes=purposes,
        )

    async def _read_row(self, server_id: str) -> ServerTools | None:
        row, now = self._rows.get(server_id), self._clock.monotonic()
        if row is None or now - row.at >= READ_EVERY_SECONDS:
            if len(self._rows) >= SERVERS_REMEMBERED:
                self._rows.clear()
            row = self._rows[server_id] = _CachedRow(await self._tools.find(server_id), now)
        return row.tools


def _is_known(row: ServerTools | None) -> bool:
    """True when the server has listed its tools, or has failed."""
    return row is not None and (row.state == "failed" or row.listed_at is not None)
