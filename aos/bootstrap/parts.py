"""Which parts do the apps have in common?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aos.bootstrap.world import World
from aos.domain.cards.policy import CardPolicy, LimitBounds
from aos.entrypoints.bus.settling import Settling
from aos.ports.telemetry import Telemetry
from aos.services.catalog.reader import CatalogReader
from aos.settings import Settings


def settling(
    world: World, *, telemetry: Telemetry, ready: Callable[[], Awaitable[None]]
) -> Settling:
    """How messages are handled and settled."""
    return Settling(
        bus=world.bus, clock=world.clock, ids=world.ids, telemetry=telemetry, ready=ready
    )


def catalog_reader(settings: Settings, world: World) -> CatalogReader:
    """The published catalog."""
    return CatalogReader(world.data, world.clock, bounds=limit_bounds(settings))


def card_policy(settings: Settings) -> CardPolicy:
    """What the operator allows cards to say."""
    return CardPolicy(
        allowed_models=settings.model.allowed,
        bounds=limit_bounds(settings),
        mcp_allowed=settings.servers.allowed,
        mcp_env_allowed=settings.servers.env_allowed,
        expects_versions=not settings.development,
        listed_hosts=settings.servers.hosts,
        key_vault_uri=settings.servers.key_vault_uri,
    )


def limit_bounds(settings: Settings) -> LimitBounds:
    """The most that cards may ask for."""
    bounds = settings.bounds
    return LimitBounds(
        max_turns=bounds.turns,
        max_tool_calls=bounds.tool_calls,
        run_timeout_seconds=bounds.run_timeout_seconds,
        approval_timeout_seconds=bounds.approval_timeout_seconds,
    )
