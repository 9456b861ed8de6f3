"""realm: advances runs; the only writer of conversations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from aos.bootstrap.app import App

if TYPE_CHECKING:
    from aos.entrypoints.bus.commands import RealmQueue


class RealmApp(App):
    """What `function_app.py` calls."""

    @cached_property
    def commands(self) -> RealmQueue:
        """Messages on `aos-realm`."""
        from aos.bootstrap.realm_services import realm_queue

        return realm_queue(
            self.settings,
            world=self._world,
            telemetry=self._telemetry,
            ready=self._warmup.ready,
        )

    @property
    def _facts(self) -> Mapping[str, Callable[[], str]]:
        return {"model": self._model_fact}
