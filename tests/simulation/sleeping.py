"""When was an agent disabled, or without a card? Entry point: `list_sleeps`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aos.domain.cards.identity import CardKind
from tests.simulation.verdict import read_catalogs

if TYPE_CHECKING:
    from tests.simulation.world import World


def list_sleeps(world: World, agent_id: str) -> list[tuple[float, float]]:
    """From when to when catalogs said that the agent may not run."""
    found: list[tuple[float, float]] = []
    since: float | None = None
    for published, index in zip(world.catalog, read_catalogs(world), strict=True):
        entry = index.entry(CardKind.AGENT, agent_id)
        is_away = entry is None or entry.state == "removed" or not entry.enabled
        if is_away and since is None:
            since = published.seconds
        elif not is_away and since is not None:
            found.append((since, published.seconds))
            since = None
    return found if since is None else [*found, (since, float("inf"))]
