"""Makes the reader of the published catalog. Entry point: `make_catalog_reader`."""

from __future__ import annotations

from aos.services.catalog.reader import CatalogReader
from aos.settings import Settings
from aos.wiring.world import World


def make_catalog_reader(settings: Settings, world: World) -> CatalogReader:
    """The published catalog."""
    return CatalogReader(world.data, world.clock, bounds=settings.bounds.cards)
