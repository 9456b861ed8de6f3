"""main: admits work, answers callers, publishes the catalog, keeps house."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from aos.bootstrap.app import App
from aos.entrypoints.routes import MAIN_ROUTES
from aos.entrypoints.timers import schedule_every

if TYPE_CHECKING:
    from aos.bootstrap.main_services import MainServices
    from aos.entrypoints.bus.commands import MainQueue
    from aos.entrypoints.bus.requests import RequestQueue
    from aos.entrypoints.http.about import ContractRoutes
    from aos.entrypoints.http.cards import CardRoutes
    from aos.entrypoints.http.conversations import ConversationRoutes
    from aos.entrypoints.http.runs import RunRoutes
    from aos.entrypoints.http.tools import ToolRoutes
    from aos.entrypoints.timers import Ticker


class MainApp(App):
    """What `function_app.py` calls."""

    routes = MAIN_ROUTES

    @property
    def catalog_schedule(self) -> str:
        """When the cards are looked at that no event told of."""
        return schedule_every(self.settings.timers.catalog_seconds)

    @property
    def mender_schedule(self) -> str:
        """When the runs are looked at whose next step may be missing."""
        return schedule_every(self.settings.timers.mender_seconds)

    @property
    def runs(self) -> RunRoutes:
        """The routes of runs."""
        return self._services.runs

    @property
    def conversations(self) -> ConversationRoutes:
        """The routes of conversations."""
        return self._services.conversations

    @property
    def tools(self) -> ToolRoutes:
        """The routes of tools and approvals."""
        return self._services.tools

    @property
    def agents(self) -> CardRoutes:
        """The routes of agent cards."""
        return self._services.agents

    @property
    def mcp_servers(self) -> CardRoutes:
        """The routes of MCP server cards."""
        return self._services.mcp_servers

    @property
    def contract(self) -> ContractRoutes:
        """OpenAPI document, schemas, and the answer for everything else."""
        return self._services.contract

    @property
    def requests(self) -> RequestQueue:
        """Messages on `aos-requests`."""
        return self._services.requests

    @property
    def commands(self) -> MainQueue:
        """Messages on `aos-main`."""
        return self._services.commands

    @property
    def catalog_timer(self) -> Ticker:
        """Lists the cards and publishes what changed."""
        return self._services.catalog_timer

    @property
    def mender_timer(self) -> Ticker:
        """Repeats what somebody failed to do."""
        return self._services.mender_timer

    @cached_property
    def _services(self) -> MainServices:
        from aos.bootstrap.main_services import MainServices

        return MainServices(
            self.settings,
            world=self._world,
            telemetry=self._telemetry,
            door=self._door,
            ready=self._warmup.ready,
        )

    @property
    def _facts(self) -> Mapping[str, Callable[[], str]]:
        return {"model": self._model_fact}

    def _known(self) -> Mapping[str, Any]:
        if "_services" not in self.__dict__:  # nothing was asked yet, so nothing is known
            return {"catalog_version": None, "agents": None}
        return self._services.known_of_the_catalog()
