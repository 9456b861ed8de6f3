"""mcp: owns the MCP servers; the only one that calls tools."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from aos.bootstrap.app import App
from aos.entrypoints.routes import MCP_ROUTES
from aos.entrypoints.timers import schedule_every

if TYPE_CHECKING:
    from aos.bootstrap.mcp_services import McpServices
    from aos.entrypoints.bus.tools import McpQueue, SystemEvents
    from aos.entrypoints.http.mcp_door import McpRoutes
    from aos.entrypoints.timers import Ticker


class McpApp(App):
    """What `mcp_app/function_app.py` calls."""

    routes = MCP_ROUTES

    @property
    def listing_schedule(self) -> str:
        """When the servers are looked at that no event told of."""
        return schedule_every(self.settings.timers.listing_seconds)

    @property
    def exposed(self) -> McpRoutes:
        """The MCP servers whose cards expose them."""
        return self._services.exposed

    @property
    def commands(self) -> McpQueue:
        """Messages on `aos-mcp`."""
        return self._services.commands

    @property
    def events(self) -> SystemEvents:
        """Events on `system-events`."""
        return self._services.events

    @property
    def listing_timer(self) -> Ticker:
        """Lists the tools of servers that changed, or failed a while ago."""
        return self._services.listing_timer

    @cached_property
    def _services(self) -> McpServices:
        from aos.bootstrap.mcp_services import McpServices

        return McpServices(
            self.settings,
            world=self._world,
            telemetry=self._telemetry,
            door=self._door,
            ready=self._warmup.ready,
        )
