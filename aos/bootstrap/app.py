"""What is the same in all three apps?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import ClassVar, Literal, TypeAlias

import azure.functions as func

from aos.bootstrap.warmup import Warmup
from aos.bootstrap.world import World
from aos.domain.card import LimitBounds
from aos.entrypoints.bus.settling import Settling
from aos.entrypoints.http.about import AboutRoutes
from aos.entrypoints.http.callers import AuthPolicy
from aos.entrypoints.http.calls import Door
from aos.entrypoints.routes import OTHER_ROUTES, Route
from aos.errors import ConfigurationError
from aos.services.catalog.reader import CatalogReader
from aos.services.health import Health
from aos.settings import Settings

AppName: TypeAlias = Literal["main", "mcp", "realm"]


class App:
    """What the three apps share."""

    routes: ClassVar[Mapping[str, Route]] = OTHER_ROUTES

    def __init__(self, name: AppName, settings: Settings, *, world: World, warmup: Warmup) -> None:
        if settings.app not in (None, name):
            raise ConfigurationError(
                f"this package is {name}, this site is {settings.app} (AOS_APP): publish"
                f" build/{settings.app}"
            )
        self.settings = settings
        self._world = world
        self._ready = warmup.ready

    @property
    def caller_level(self) -> func.AuthLevel:
        """What the host asks of callers before it lets a request in."""
        keys = self.settings.auth == "keys"
        return func.AuthLevel.FUNCTION if keys else func.AuthLevel.ANONYMOUS

    @cached_property
    def about(self) -> AboutRoutes:
        """Health and status."""
        return AboutRoutes(
            self._door,
            health=lambda: self._health,
            environment=self.settings.environment,
            catalog=lambda: self._agents.known,
        )

    @cached_property
    def _door(self) -> Door:
        settings, world = self.settings, self._world
        return Door(
            routes=self.routes,
            auth=AuthPolicy(
                mode=settings.auth,
                key_owners=settings.key_owners,
                admin_keys=settings.admin_keys,
            ),
            telemetry=world.telemetry,
            ids=world.ids,
            max_body_bytes=settings.bounds.http_body_bytes,
            ready=self._ready,
        )

    @cached_property
    def _health(self) -> Health:
        return Health(
            checks=self._world.checks,
            facts=self._facts,
            clock=self._world.clock,
            telemetry=self._world.telemetry,
        )

    @property
    def _facts(self) -> Mapping[str, Callable[[], str]]:
        """What health says beside its checks."""
        return {}

    def _model_fact(self) -> str:
        return "configured" if self._world.model.configured() else "not_configured"

    @cached_property
    def _settling(self) -> Settling:
        world = self._world
        return Settling(
            bus=world.bus,
            clock=world.clock,
            ids=world.ids,
            telemetry=world.telemetry,
            ready=self._ready,
        )

    @cached_property
    def _agents(self) -> CatalogReader:
        return CatalogReader(self._world.data, self._world.clock, bounds=self._limit_bounds)

    @property
    def _limit_bounds(self) -> LimitBounds:
        bounds = self.settings.bounds
        return LimitBounds(
            max_turns=bounds.turns,
            max_tool_calls=bounds.tool_calls,
            run_timeout_seconds=bounds.run_timeout_seconds,
            approval_timeout_seconds=bounds.approval_timeout_seconds,
        )
