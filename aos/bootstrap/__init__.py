"""How are the three apps put together?

The only place that wires adapters to services and services to entry points. An app object is made
when `function_app.py` is imported: it reads the settings and refuses to start when one is wrong.
Everything else is made on first use.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from aos.bootstrap.app import App, AppName
from aos.bootstrap.main import MainApp
from aos.bootstrap.realm import RealmApp
from aos.bootstrap.warmup import Warmup
from aos.bootstrap.world import World, azure_world
from aos.domain.envelope import (
    AGENT_EVENTS,
    MAIN_QUEUE,
    REALM_QUEUE,
    RESPONSES_QUEUE,
    SYSTEM_EVENTS,
)
from aos.settings import Settings

STORAGE_SDKS = ("azure.storage.blob.aio", "azure.data.tables.aio")
BUS_SDK = "azure.servicebus.aio"
CHECKERS = ("aos.entrypoints.requests", "aos.domain.card_errors")
"""Ours, but they import pydantic."""


def main_app(environ: Mapping[str, str] | None = None) -> MainApp:
    """main; raises ConfigurationError when a setting is missing or wrong."""
    settings = _settings(environ)
    world, warmup = _parts(
        settings,
        "main",
        senders=(REALM_QUEUE, RESPONSES_QUEUE, AGENT_EVENTS, SYSTEM_EVENTS),
        modules=(*STORAGE_SDKS, BUS_SDK, *CHECKERS),
    )
    return MainApp("main", settings, world=world, warmup=warmup)


def realm_app(environ: Mapping[str, str] | None = None) -> RealmApp:
    """realm; raises ConfigurationError when a setting is missing or wrong."""
    settings = _settings(environ)
    world, warmup = _parts(
        settings,
        "realm",
        senders=(MAIN_QUEUE, REALM_QUEUE),
        modules=(*STORAGE_SDKS, BUS_SDK, "openai"),
    )
    return RealmApp("realm", settings, world=world, warmup=warmup)


def mcp_app(environ: Mapping[str, str] | None = None) -> App:
    """mcp; for now it says how it is doing. Raises ConfigurationError."""
    settings = _settings(environ)
    world, warmup = _parts(settings, "mcp", senders=(), modules=(*STORAGE_SDKS, BUS_SDK))
    return App("mcp", settings, world=world, warmup=warmup)


def _settings(environ: Mapping[str, str] | None) -> Settings:
    return Settings.read(os.environ if environ is None else environ)


def _parts(
    settings: Settings, app: AppName, *, senders: Sequence[str], modules: Sequence[str]
) -> tuple[World, Warmup]:
    world = azure_world(settings, app=app, senders=senders)
    warmup = Warmup(modules, then=world.warm)
    warmup.start()
    return world, warmup
