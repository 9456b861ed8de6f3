"""Makes the app objects of the three `function_app.py`, on the adapters for Azure. Entry points:
`main_app`, `realm_app`, `mcp_app`.

An app object is made when `function_app.py` is
imported: it reads the settings and refuses to start when one is wrong. Everything else is imported
and made on first use.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from aos import __version__
from aos.adapters.mcp.walls import hide
from aos.adapters.system import RandomIds
from aos.adapters.telemetry.reporting import make_telemetry
from aos.bootstrap.stopping import drain_at_sigterm
from aos.bootstrap.trigger_times import read_times_at_once
from aos.bootstrap.warmup import Warmup
from aos.errors import ConfigurationError
from aos.settings import Settings
from aos.wiring.every_app import App, AppName
from aos.wiring.main import Main
from aos.wiring.mcp import Mcp
from aos.wiring.realm import Realm

if TYPE_CHECKING:
    from aos.bootstrap.azure_world import AzureAdapters

A = TypeVar("A", bound=App)

_EVERY_APP = (
    "aos.bootstrap.azure_world",
    "azure.storage.blob.aio",
    "azure.data.tables.aio",
    "azure.servicebus.aio",
)
MODULES: Mapping[AppName, tuple[str, ...]] = {
    "main": (*Main.modules, *_EVERY_APP),
    "realm": (*Realm.modules, *_EVERY_APP, "aiohttp"),
    "mcp": (*Mcp.modules, *_EVERY_APP, "aos.bootstrap.mcp_servers", "mcp.client.session"),
}
"""What each app imports soon after its start."""


def main_app(environ: Mapping[str, str] | None = None) -> Main:
    """Make the app main, whose answers can be streamed where the worker is set for it.

    Raises ConfigurationError for a missing or wrong setting.
    """
    values = os.environ if environ is None else environ
    app = _make_app(Main, environ)
    app.streams = can_stream(values)
    if app.streams:
        importlib.import_module("aos.bootstrap.http_server")  # the worker finds it when imported
    return app


def can_stream(environ: Mapping[str, str]) -> bool:
    """Whether the worker lets an app stream. Up to Python 3.12 it needs a setting; without it the
    worker does not start an app that has a web extension."""
    return sys.version_info >= (3, 13) or environ.get("PYTHON_ENABLE_INIT_INDEXING") == "1"


def realm_app(environ: Mapping[str, str] | None = None) -> Realm:
    """Make the app realm. Raises ConfigurationError for a missing or wrong setting."""
    return _make_app(Realm, environ)


def mcp_app(environ: Mapping[str, str] | None = None) -> Mcp:
    """Make the app mcp. Raises ConfigurationError for a missing or wrong setting."""
    return _make_app(Mcp, environ)


def _make_app(kind: type[A], environ: Mapping[str, str] | None) -> A:
    if environ is None:  # this process is the app: no other may read its environment
        hide()
        read_times_at_once()
    values = os.environ if environ is None else environ
    settings = Settings.read(values)
    if settings.app not in (None, kind.name):
        raise ConfigurationError(
            f"this package is {kind.name}, this site is {settings.app} (AOS_APP): publish"
            f" build/{settings.app}"
        )

    @cache
    def adapters() -> AzureAdapters:
        from aos.bootstrap.azure_world import AzureAdapters

        return AzureAdapters(settings, app=kind.name)

    async def open_connections() -> None:
        await adapters().open()

    warmup = Warmup(MODULES[kind.name], then=open_connections)
    telemetry = make_telemetry(
        app=kind.name,
        environment=settings.environment,
        level=settings.log_level,
        connection_string=settings.telemetry_connection_string,
        configure=not settings.telemetry_in_worker,
    )
    app = kind(
        settings,
        open_world=lambda: adapters().world,
        telemetry=telemetry,
        ids=RandomIds(),
        ready=warmup.ready,
    )
    if environ is None:
        drain_at_sigterm(app.drain)
    warmup.start()
    telemetry.log(
        "app_started",
        version=__version__,
        auth=settings.auth,
        settings=sorted(name for name in values if name.startswith("AOS_")),
    )
    return app
