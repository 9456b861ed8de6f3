"""What can a caller read of MCP servers and their tools, as they were last seen?"""

from __future__ import annotations

from aos.domain.tools.tool import ServerTools
from aos.ports.paging import Page
from aos.ports.tools import ToolCatalog


class ListedTools:
    """Main's use case: the tools that exist."""

    def __init__(self, tools: ToolCatalog) -> None:
        self._tools = tools

    async def servers(self, *, after: str | None, limit: int) -> Page[ServerTools]:
        """Servers with their state and tools, by id; raises TransientError."""
        rows = [row for row in await self._tools.servers() if row.server_id > (after or "")]
        items = rows[:limit]
        return Page(items=items, next=items[-1].server_id if len(rows) > limit else None)
