"""What is the same in all three apps?

An app object is made when `function_app.py` is imported, so this module imports little: the
services and adapters cost 0.1 s, and the first `GET /api/status` needs none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import azure.functions as func

from aos.adapters.system import RandomIds
from aos.bootstrap.warmup import Warmup
from aos.entrypoints.http.about import AboutRoutes
from aos.entrypoints.http.callers import AuthPolicy
from aos.entrypoints.http.calls import Door
from aos.entrypoints.routes import REALM_ROUTES, Route
from aos.errors import ConfigurationError
from aos.settings import Settings

if TYPE_CHECKING:
    from aos.bootstrap.world import World
    from aos.ports.telemetry import Telemetry
    from aos.services.health import Health

AppName: TypeAlias = Literal["main", "mcp", "realm"]


class App:
    """What the three apps share. `world` is called once, when something first needs it."""

    routes: ClassVar[Mapping[str, Route]] = REALM_ROUTES

    def __init__(
        self,
        name: AppName,
        settings: Settings,
        *,
        telemetry: Telemetry,
        world: Callable[[], World],
        warmup: Warmup,
    ) -> None:
        if settings.app not in (None, name):
            raise ConfigurationError(
                f"this package is {name}, this site is {settings.app} (AOS_APP): publish"
                f" build/{settings.app}"
            )
        self.settings = settings
        self._telemetry = telemetry
        self._make_world = world
        self._warmup = warmup

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
            for_admins=self._known,
        )

    @cached_property
    def _door(self) -> Door:
        settings = self.settings
        return Door(
            routes=self.routes,
            auth=AuthPolicy(
                mode=settings.auth,
                key_owners=settings.key_owners,
                admin_keys=settings.admin_keys,
                behind_sign_in=settings.behind_sign_in,
            ),
            telemetry=self._telemetry,
            ids=RandomIds(),
            max_body_bytes=settings.bounds.http_body_bytes,
            ready=self._warmup.ready,
        )

    @cached_property
    def _world(self) -> World:
        return self._make_world()

    @cached_property
    def _health(self) -> Health:
        from aos.services.health import Health

        return Health(
            checks=self._world.checks,
            facts=self._facts,
            clock=self._world.clock,
            telemetry=self._telemetry,
        )

    @property
    def _facts(self) -> Mapping[str, Callable[[], str]]:
        """What health says beside its checks."""
        return {}

    def _known(self) -> Mapping[str, Any]:
        """What status says to admins beside version and environment."""
        return {}

    def _model_fact(self) -> str:
        return "configured" if self._world.model.configured() else "not_configured"
