"""Says what changed since a person was asked about a call. Entry point:
`ApprovedCalls.find_change`."""

from __future__ import annotations

from dataclasses import replace

from aos.domain.envelope import CallTool
from aos.domain.tools.tool import ToolSchema
from aos.errors import ServerFailed
from aos.ports.servers import LiveServer, ToolServers
from aos.ports.system import Clock
from aos.ports.tools import ToolCatalog
from aos.services.tool_calls.outcomes import describe_absence

_CHANGED = (
    "changed since a person was asked about this call; if it is still needed, call the tool again,"
    " and a person is asked about it as it is now"
)


class ApprovedCalls:
    """Compares approved calls with their server's card and tools as they are now."""

    def __init__(self, *, catalog: ToolCatalog, servers: ToolServers, clock: Clock) -> None:
        self._catalog = catalog
        self._servers = servers
        self._clock = clock

    async def find_change(self, live: LiveServer, command: CallTool) -> str | None:
        """What changed since a person was asked about this call; None when nothing changed.

        The tools are listed again: the stored list may be older than the tool.
        """
        if command.server_digest is None:
            return None
        if live.digest != command.server_digest:
            return f"the card of the MCP server {live.server_id!r} has {_CHANGED}"
        try:
            listed = await self._servers.list_tools(live.card, live.digest)
        except ServerFailed:
            return describe_absence(command)
        if command.schema_digest in {t.digest for t in listed if t.name == command.tool}:
            return None
        await self._save_tools(live, tuple(t for t in listed if live.card.can_offer(t.name)))
        return f"the tool {command.tool!r} has {_CHANGED}"

    async def _save_tools(self, live: LiveServer, tools: tuple[ToolSchema, ...]) -> None:
        """Save the tools as they are now, so that the next approval is about them."""
        seen = await self._catalog.find(live.server_id)
        if seen is not None and seen.card_digest == live.digest:
            now = self._clock.now()
            await self._catalog.put(replace(seen, tools=tools, listed_at=now, seen_at=now))
