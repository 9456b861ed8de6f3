"""How is realm put together?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

from aos.bootstrap.app import App
from aos.entrypoints.bus.commands import RealmQueue
from aos.services.execution import Execution, TurnLimits, Turns


class RealmApp(App):
    """Advances runs; the only writer of conversations."""

    @cached_property
    def commands(self) -> RealmQueue:
        """Messages on `aos-realm`."""
        return RealmQueue(self._settling, execution=lambda: self._execution)

    @cached_property
    def _execution(self) -> Execution:
        world = self._world
        turns = Turns(
            model=world.model,
            conversations=world.conversations,
            requests=world.requests,
            clock=world.clock,
            ids=world.ids,
            limits=TurnLimits(model_timeout_seconds=self.settings.bounds.model_timeout_seconds),
        )
        return Execution(
            conversations=world.conversations,
            agents=self._agents,
            turns=turns,
            bus=world.bus,
            clock=world.clock,
            ids=world.ids,
            telemetry=world.telemetry,
        )

    @property
    def _facts(self) -> Mapping[str, Callable[[], str]]:
        return {"model": self._model_fact}
