"""Makes the services that all three apps have. Entry point: `AppServices`."""

from __future__ import annotations

from functools import cached_property

from aos.ports.telemetry import Telemetry
from aos.services.catalog.reader import CatalogReader
from aos.settings import Settings
from aos.wiring.world import World


class AppServices:
    """The services of an app, each made when it is first used."""

    def __init__(self, settings: Settings, *, world: World, telemetry: Telemetry) -> None:
        self._settings = settings
        self._world = world
        self._telemetry = telemetry

    @cached_property
    def catalog(self) -> CatalogReader:
        """The published catalog."""
        bounds = self._settings.bounds.cards
        return CatalogReader(self._world.data, self._world.clock, bounds=bounds)
