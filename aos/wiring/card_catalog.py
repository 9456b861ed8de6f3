"""Reads from the settings what cards may say, and makes the reader of the catalog. Entry points:
`make_catalog_reader`, `read_card_policy`."""

from __future__ import annotations

from aos.domain.cards.policy import CardPolicy, LimitBounds
from aos.services.catalog.reader import CatalogReader
from aos.settings import Settings
from aos.wiring.world import World


def make_catalog_reader(settings: Settings, world: World) -> CatalogReader:
    """The published catalog."""
    return CatalogReader(world.data, world.clock, bounds=_read_limit_bounds(settings))


def read_card_policy(settings: Settings) -> CardPolicy:
    """What the operator allows cards to say."""
    return CardPolicy(
        allowed_models=settings.model.allowed,
        bounds=_read_limit_bounds(settings),
        mcp_allowed=settings.servers.allowed,
        mcp_env_allowed=settings.servers.env_allowed,
        expects_versions=not settings.development,
        listed_hosts=settings.servers.hosts,
        key_vault_uri=settings.servers.key_vault_uri,
    )


def _read_limit_bounds(settings: Settings) -> LimitBounds:
    """The most that cards may ask for."""
    bounds = settings.bounds
    return LimitBounds(
        max_turns=bounds.turns,
        max_tool_calls=bounds.tool_calls,
        run_timeout_seconds=bounds.run_timeout_seconds,
        approval_timeout_seconds=bounds.approval_timeout_seconds,
    )
