"""Makes the services of mcp from its world. Entry point: `McpServices`."""

from __future__ import annotations

from functools import cached_property

from aos.ports.servers import ServerChange, ToolServers
from aos.services.tool_calls import (
    CallCanceller,
    CallLimits,
    ExposedTools,
    TaskCanceller,
    ToolCalls,
    ToolListing,
)
from aos.wiring.app_services import AppServices


class McpServices(AppServices):
    """The services of mcp, each made when it is first used."""

    @cached_property
    def calls(self) -> ToolCalls:
        """Makes tool calls."""
        world = self._world
        return ToolCalls(
            ledger=world.tool_calls,
            catalog=world.tools,
            cards=self.catalog,
            servers=self._servers,
            bus=world.bus,
            clock=world.clock,
            ids=world.ids,
            telemetry=self._telemetry,
            limits=CallLimits(timeout_seconds=self._settings.bounds.tool_timeout_seconds),
            tasks=self.tasks,
        )

    @cached_property
    def tasks(self) -> TaskCanceller:
        """Cancels the tasks that calls have become."""
        return TaskCanceller(
            cards=self.catalog,
            servers=self._servers,
            bus=self._world.bus,
            clock=self._world.clock,
            telemetry=self._telemetry,
        )

    @cached_property
    def canceller(self) -> CallCanceller:
        """Cancels tool calls of runs that have ended."""
        world = self._world
        return CallCanceller(
            ledger=world.tool_calls, tasks=self.tasks, clock=world.clock, ids=world.ids
        )

    @cached_property
    def exposed(self) -> ExposedTools:
        """Lets outsiders call the tools of servers whose cards expose them."""
        world = self._world
        return ExposedTools(
            cards=self.catalog,
            catalog=world.tools,
            calls=self.calls,
            clock=world.clock,
            ids=world.ids,
        )

    @cached_property
    def listing(self) -> ToolListing:
        """Writes down which tools the servers have."""
        world = self._world
        return ToolListing(
            cards=self.catalog,
            catalog=world.tools,
            servers=self._servers,
            clock=world.clock,
            telemetry=self._telemetry,
            instance=world.ids.new_id(),
            max_description=self._settings.bounds.tool_description_characters,
        )

    @cached_property
    def _servers(self) -> ToolServers:
        servers = self._world.servers
        assert servers is not None, "the world of mcp has no MCP servers"

        def note(server_id: str, change: ServerChange, detail: str) -> None:
            self.listing.note(server_id, change, detail)  # made later: it needs the servers

        servers.watch(note)
        return servers
