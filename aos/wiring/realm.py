"""Wires realm, which advances runs and alone writes conversations. Entry point: `Realm`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from aos.entrypoints.routes import REALM_ROUTES
from aos.wiring.every_app import App

if TYPE_CHECKING:
    from aos.entrypoints.bus.commands import RealmQueue
    from aos.ports.dead_letters import FailureStore
    from aos.wiring.realm_services import RealmServices


class Realm(App):
    """The app realm; the triggers of `realm_app/function_app.py` call it."""

    name = "realm"
    routes = REALM_ROUTES
    modules = (
        "aos.wiring.realm_services",
        "aos.entrypoints.bus.commands",
        "aos.services.depths",
    )

    @cached_property
    def commands(self) -> RealmQueue:
        """Messages on `aos-realm`."""
        from aos.entrypoints.bus.commands import RealmQueue

        return RealmQueue(self._settling, execution=self.services.execution, bus=self.world.bus)

    @cached_property
    def services(self) -> RealmServices:
        """The services of realm."""
        from aos.wiring.realm_services import RealmServices

        return RealmServices(self.settings, world=self.world, telemetry=self._telemetry)

    @property
    def _entities(self) -> tuple[str, ...]:
        return ("aos-realm",)

    @property
    def _failures(self) -> FailureStore:
        return self.world.failures

    @property
    def _facts(self) -> Mapping[str, Callable[[], str]]:
        return {"model": self._describe_fault}

    def _describe_fault(self) -> str:
        """Return the code of what keeps the model from answering, or whether one is configured."""
        if "services" not in self.__dict__:  # no run was advanced here yet
            return self._describe_model()
        return self.services.turns.model_trouble or self._describe_model()
