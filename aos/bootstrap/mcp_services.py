"""Which services and entry points make mcp?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cached_property

from aos.adapters.mcp.launching import Launcher, LaunchPlace
from aos.adapters.mcp.process import ServerLimits
from aos.adapters.mcp.servers import McpServers
from aos.adapters.secrets import FileSecrets, ServerSecrets, VaultSecrets
from aos.bootstrap.parts import card_policy, catalog_reader, settling
from aos.bootstrap.world import World
from aos.entrypoints.bus.settling import Settling
from aos.entrypoints.bus.tools import McpQueue, SystemEvents
from aos.entrypoints.http.calls import Door
from aos.entrypoints.http.mcp_door import McpRoutes
from aos.entrypoints.timers import Ticker
from aos.ports.telemetry import Telemetry
from aos.services.catalog.reader import CatalogReader
from aos.services.tool_calls import CallLimits, ExposedTools, ToolCalls, ToolListing
from aos.settings import Settings


class McpServices:
    """The parts of mcp, each made when it is first used."""

    def __init__(
        self,
        settings: Settings,
        *,
        world: World,
        telemetry: Telemetry,
        door: Door,
        ready: Callable[[], Awaitable[None]],
    ) -> None:
        self._door = door
        self._settings = settings
        self._world = world
        self._telemetry = telemetry
        self._ready = ready

    @cached_property
    def exposed(self) -> McpRoutes:
        """The MCP servers whose cards expose them."""
        world = self._world
        tools = ExposedTools(
            cards=self._cards,
            catalog=world.tools,
            calls=self.calls,
            clock=world.clock,
            ids=world.ids,
        )
        return McpRoutes(
            self._door, exposed=tools, max_body_bytes=self._settings.bounds.http_body_bytes
        )

    @cached_property
    def commands(self) -> McpQueue:
        """Messages on `aos-mcp`."""
        return McpQueue(self._settling, calls=self.calls, bus=self._world.bus)

    @cached_property
    def events(self) -> SystemEvents:
        """Events on `system-events`."""
        return SystemEvents(self._settling, listing=self._listing, telemetry=self._telemetry)

    @cached_property
    def listing_timer(self) -> Ticker:
        """Lists the tools of servers that changed, or failed a while ago."""
        return Ticker(
            "list_tools", self._listing.follow, telemetry=self._telemetry, ready=self._ready
        )

    @cached_property
    def calls(self) -> ToolCalls:
        """Makes tool calls."""
        world = self._world
        return ToolCalls(
            ledger=world.tool_calls,
            catalog=world.tools,
            cards=self._cards,
            servers=self._servers,
            bus=world.bus,
            clock=world.clock,
            ids=world.ids,
            telemetry=self._telemetry,
            limits=CallLimits(timeout_seconds=self._settings.bounds.tool_timeout_seconds),
        )

    @cached_property
    def _listing(self) -> ToolListing:
        world = self._world
        return ToolListing(
            cards=self._cards,
            catalog=world.tools,
            servers=self._servers,
            clock=world.clock,
            telemetry=self._telemetry,
            instance=world.ids.new_id(),
        )

    @cached_property
    def _servers(self) -> McpServers:
        said = self._settings.servers
        place = LaunchPlace(
            path=said.path,
            home=said.home,
            temp=said.temp,
            lang=said.lang,
            folder=said.folder,
            hidden=said.hidden,
            isolation=said.isolation,
            limits=ServerLimits(
                memory_mb=said.memory_mb,
                processes=said.processes,
                files=said.open_files,
                file_mb=said.file_mb,
                home_mb=said.home_mb,
            ),
        )
        launcher = Launcher(place, policy=card_policy(self._settings), secrets=self._secrets)
        servers = McpServers(launcher)

        def hear(server_id: str, change: str, said: str) -> None:
            self._listing.hear(server_id, change, said)  # made later: it needs the servers

        servers.watch(hear)
        return servers

    @cached_property
    def _secrets(self) -> ServerSecrets:
        settings = self._settings
        uri, path = settings.servers.key_vault_uri, settings.servers.secrets_file
        return ServerSecrets(
            vault=None if uri is None else VaultSecrets(uri, client_id=settings.storage.client_id),
            file=None if path is None else FileSecrets(path),
        )

    @cached_property
    def _cards(self) -> CatalogReader:
        return catalog_reader(self._settings, self._world)

    @cached_property
    def _settling(self) -> Settling:
        return settling(self._world, telemetry=self._telemetry, ready=self._ready)
