"""How are the three apps put together?

The only place that wires adapters to services and services to entry points. An app object is made
when `function_app.py` is imported: it reads the settings and refuses to start when one is wrong.
Everything else is imported and made on first use.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aos.adapters.mcp.walls import hide
from aos.adapters.telemetry.reporting import make_telemetry
from aos.bootstrap.app import AppName
from aos.bootstrap.main import MainApp
from aos.bootstrap.mcp import McpApp
from aos.bootstrap.realm import RealmApp
from aos.bootstrap.warmup import Warmup
from aos.settings import Settings

if TYPE_CHECKING:
    from aos.bootstrap.world import World
    from aos.ports.telemetry import Telemetry

SDKS = ("azure.storage.blob.aio", "azure.data.tables.aio", "azure.servicebus.aio")
MODULES: Mapping[AppName, tuple[str, ...]] = {
    "main": (
        "aos.bootstrap.main_services",
        *SDKS,
        "aos.entrypoints.requests",  # ours, but pydantic stands behind them
        "aos.domain.cards.error_texts",
    ),
    "realm": ("aos.bootstrap.realm_services", *SDKS, "openai"),
    "mcp": ("aos.bootstrap.mcp_services", *SDKS, "mcp.client.session"),
}
"""What each app imports soon after its start."""


def main_app(environ: Mapping[str, str] | None = None) -> MainApp:
    """main; raises ConfigurationError when a setting is missing or wrong."""
    start = _Start("main", environ)
    return MainApp(
        "main",
        start.settings,
        telemetry=start.telemetry,
        world=start.world,
        warmup=start.warmup,
    )


def realm_app(environ: Mapping[str, str] | None = None) -> RealmApp:
    """realm; raises ConfigurationError when a setting is missing or wrong."""
    start = _Start("realm", environ)
    return RealmApp(
        "realm",
        start.settings,
        telemetry=start.telemetry,
        world=start.world,
        warmup=start.warmup,
    )


def mcp_app(environ: Mapping[str, str] | None = None) -> McpApp:
    """mcp; raises ConfigurationError when a setting is missing or wrong."""
    start = _Start("mcp", environ)
    return McpApp(
        "mcp",
        start.settings,
        telemetry=start.telemetry,
        world=start.world,
        warmup=start.warmup,
    )


class _Start:
    """What an app is made of: settings, telemetry, a warm-up under way, and a world to come."""

    def __init__(self, app: AppName, environ: Mapping[str, str] | None) -> None:
        if environ is None:  # an app of its own: what it was given is nobody else's to read
            hide()
        self._app = app
        self._made: World | None = None
        self.settings = Settings.read(os.environ if environ is None else environ)
        self.telemetry: Telemetry = make_telemetry(
            app=app,
            environment=self.settings.environment,
            level=self.settings.log_level,
            connection_string=self.settings.telemetry_connection_string,
            configure=not self.settings.telemetry_in_worker,
        )
        self.warmup = Warmup(MODULES[app], then=self._open)
        self.warmup.start()

    def world(self) -> World:
        """The real adapters, made once."""
        from aos.bootstrap.world import azure_world

        if self._made is None:
            self._made = azure_world(self.settings, app=self._app)
        return self._made

    async def _open(self) -> None:
        await self.world().warm()
