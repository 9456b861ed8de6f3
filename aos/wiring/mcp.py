"""Wires mcp, which runs the MCP servers and alone calls tools. Entry point: `Mcp`."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from aos.entrypoints.routes import MCP_ROUTES
from aos.entrypoints.timers import Ticker, schedule_every
from aos.wiring.every_app import App

if TYPE_CHECKING:
    from aos.entrypoints.bus.tools import McpQueue, SystemEvents
    from aos.entrypoints.http.exposed_servers import McpRoutes
    from aos.wiring.mcp_services import McpServices


class Mcp(App):
    """The app mcp; the triggers of `mcp_app/function_app.py` call it."""

    name = "mcp"
    routes = MCP_ROUTES
    modules = (
        "aos.services.depths",
        "aos.wiring.mcp_services",
        "aos.entrypoints.bus.tools",
        "aos.entrypoints.http.exposed_servers",
    )

    @property
    def listing_schedule(self) -> str:
        """The schedule for listing the servers' tools, which finds changes without an event."""
        return schedule_every(self.settings.timers.listing_seconds)

    @property
    def _entities(self) -> tuple[str, ...]:
        return ("aos-mcp", "system-events/Subscriptions/mcp")

    @property
    def _grace_seconds(self) -> float:
        """A call that may not be repeated had better end than be cut off."""
        return 3.0 if self.settings.development else 20.0

    @cached_property
    def exposed(self) -> McpRoutes:
        """The MCP servers whose cards expose them."""
        from aos.entrypoints.http.exposed_servers import McpRoutes

        return McpRoutes(
            self._responder,
            exposed=self.services.exposed,
            max_body_bytes=self.settings.bounds.http_body_bytes,
        )

    @cached_property
    def commands(self) -> McpQueue:
        """Messages on `aos-mcp`."""
        from aos.entrypoints.bus.tools import McpQueue

        return McpQueue(
            self._settling,
            calls=self.services.calls,
            canceller=self.services.canceller,
            bus=self.world.bus,
        )

    @cached_property
    def events(self) -> SystemEvents:
        """Events on `system-events`."""
        from aos.entrypoints.bus.tools import SystemEvents

        return SystemEvents(
            self._settling, listing=self.services.listing, telemetry=self._telemetry
        )

    @cached_property
    def listing_timer(self) -> Ticker:
        """Lists the tools of servers that changed, or failed a while ago."""
        return Ticker(
            "list_tools",
            self.services.listing.follow,
            telemetry=self._telemetry,
            ready=self._ready,
        )

    @cached_property
    def services(self) -> McpServices:
        """The services of mcp."""
        from aos.wiring.mcp_services import McpServices

        return McpServices(self.settings, world=self.world, telemetry=self._telemetry)
