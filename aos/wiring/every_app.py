"""Wires what main, realm and mcp have in common. Entry point: `App`.

An app object is made when `function_app.py` is imported, so this module imports little: services
and entry points cost 0.1 s, and the first `GET /api/status` needs none of them. Methods of an app
import what they make.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from aos.entrypoints.http.about import AboutRoutes
from aos.entrypoints.http.callers import AuthPolicy, host_auth_level
from aos.entrypoints.http.responder import HttpResponder
from aos.entrypoints.route import Route
from aos.settings import Settings

if TYPE_CHECKING:
    from aos.entrypoints.bus.settling import Settling
    from aos.entrypoints.draining import Drain
    from aos.ports.dead_letters import FailureStore
    from aos.ports.pause import PauseState
    from aos.ports.system import Ids
    from aos.ports.telemetry import Telemetry
    from aos.services.depths import Depths
    from aos.services.health import Health
    from aos.wiring.world import World

AppName: TypeAlias = Literal["main", "mcp", "realm"]


class App:
    """The common part of the three apps.

    `open_world` is called once, when something first needs it. `ready` is awaited before
    everything but `GET /api/status`.
    """

    name: ClassVar[AppName]
    routes: ClassVar[Mapping[str, Route]]
    modules: ClassVar[tuple[str, ...]]
    """The modules that the methods of this app import, so that they can be imported in advance."""

    def __init__(
        self,
        settings: Settings,
        *,
        open_world: Callable[[], World],
        telemetry: Telemetry,
        ids: Ids,
        ready: Callable[[], Awaitable[None]],
    ) -> None:
        self.settings = settings
        self.caller_level = host_auth_level(settings.auth)
        self._open_world = open_world
        self._telemetry = telemetry
        self._ids = ids
        self._ready = ready

    @cached_property
    def drain(self) -> Drain:
        """What is handed back when this process is told to stop."""
        from aos.entrypoints.draining import Drain

        return Drain()

    @cached_property
    def about(self) -> AboutRoutes:
        """Health and status."""
        return AboutRoutes(
            self._responder,
            health=lambda: self._health,
            environment=self.settings.environment,
            for_admins=self._describe_to_admins,
        )

    @cached_property
    def world(self) -> World:
        """The adapters."""
        return self._open_world()

    @cached_property
    def _responder(self) -> HttpResponder:
        settings = self.settings
        return HttpResponder(
            routes=self.routes,
            auth=AuthPolicy(
                mode=settings.auth,
                key_owners=settings.key_owners,
                admin_keys=settings.admin_keys,
                behind_sign_in=settings.behind_sign_in,
            ),
            telemetry=self._telemetry,
            ids=self._ids,
            max_body_bytes=settings.bounds.http_body_bytes,
            ready=self._ready,
        )

    @cached_property
    def _settling(self) -> Settling:
        from aos.entrypoints.bus.settling import Settling

        return Settling(
            bus=self.world.bus,
            clock=self.world.clock,
            ids=self.world.ids,
            telemetry=self._telemetry,
            ready=self._ready,
            drain=self.drain,
            grace_seconds=self._grace_seconds,
            failures=self._failures,
        )

    @property
    def _grace_seconds(self) -> float:
        """What a message's handler still gets when the process is told to stop. A model is asked
        again elsewhere; a handler that only writes and sends is done by then."""
        return 0.5

    @property
    def _failures(self) -> FailureStore | None:
        """Where this app writes why it gives a message up; None if it may not."""
        return None

    @cached_property
    def _health(self) -> Health:
        from aos.services.health import Health

        return Health(
            checks=self.world.checks,
            facts=self._facts,
            clock=self.world.clock,
            telemetry=self._telemetry,
            pause=self._pause_state,
        )

    @property
    def _pause_state(self) -> PauseState | None:
        """The switch that health shows; None in apps that admit nothing."""
        return None

    @property
    def _facts(self) -> Mapping[str, Callable[[], str]]:
        """The facts that health shows beside its checks."""
        return {}

    async def _describe_to_admins(self) -> Mapping[str, Any]:
        """Return what status adds for admins to version and environment."""
        return {"queues": await self._read_depths()}

    async def _read_depths(self) -> list[dict[str, Any]] | None:
        """Return the depths of this app's entities; None before anything has used the adapters."""
        if "world" not in self.__dict__ or self._depths is None:
            return None
        from aos.domain.codec import encode

        return [encode(depth) for depth in await self._depths.read()]

    @cached_property
    def _depths(self) -> Depths | None:
        if self.world.depths is None:
            return None
        from aos.services.depths import Depths

        return Depths(
            self.world.depths,
            entities=self._entities,
            clock=self.world.clock,
            telemetry=self._telemetry,
        )

    @property
    def _entities(self) -> tuple[str, ...]:
        """The queues and subscriptions whose depths status shows to admins."""
        return ()

    def _describe_model(self) -> str:
        return "configured" if self.world.model.is_configured() else "not_configured"
