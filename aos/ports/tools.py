"""Keeps the tools and the tool calls for runs. Entry points: `ToolCatalog`, `ToolLedger`."""

from __future__ import annotations

from typing import Protocol

from aos.domain.tools.tool import ServerTools, ToolCallRow, ToolOutcome


class ToolCatalog(Protocol):
    """The MCP servers as last seen, table `aostools`. mcp writes them; main and realm read them."""

    async def list_servers(self) -> list[ServerTools]:
        """List all servers, ordered by id."""
        ...

    async def find(self, server_id: str) -> ServerTools | None:
        """Return one server, or None while mcp has not seen it."""
        ...

    async def put(self, tools: ServerTools) -> None:
        """Write the server's state over the one before."""
        ...

    async def drop(self, server_id: str) -> None:
        """Remove a server if it exists."""
        ...


class ToolLedger(Protocol):
    """The tool calls, table `aostoolcalls`: what was begun, who holds it until when, and its
    result."""

    async def find(self, run_id: str, tool_call_id: str) -> ToolCallRow | None:
        """Return the row, or None."""
        ...

    async def start(self, row: ToolCallRow) -> ToolCallRow:
        """Insert the row if its `etag` is None; else hold a repeated call until the row's new
        `until`.

        Returns the row with its new `etag`. Raises StaleWrite if another row exists.
        """
        ...

    async def finish(self, row: ToolCallRow, outcome: ToolOutcome) -> ToolOutcome:
        """Write the result of a call unless it has one; return the call's result.

        `etag` None means that the call was never begun. Raises StaleWrite if it was meanwhile.
        """
        ...
