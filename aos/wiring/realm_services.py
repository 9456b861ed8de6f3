"""Makes the services of realm from its world. Entry point: `RealmServices`."""

from __future__ import annotations

from functools import cached_property
from urllib.parse import urlsplit

from aos.services.execution import (
    Deletions,
    Execution,
    ModelIdentity,
    ToolOffers,
    TurnBudgets,
    TurnLimits,
    Turns,
    TurnStreams,
)
from aos.settings import Settings
from aos.wiring.app_services import AppServices

AZURE_OPENAI = (".openai.azure.com", ".openai.azure.us", ".cognitiveservices.azure.com")


class RealmServices(AppServices):
    """The services of realm, each made when it is first used."""

    @cached_property
    def execution(self) -> Execution:
        """Advances conversations."""
        world = self._world
        return Execution(
            conversations=world.conversations,
            requests=world.requests,
            agents=self.catalog,
            decisions=world.decisions,
            questions=world.questions,
            turns=self.turns,
            streams=TurnStreams(store=world.run_events, clock=world.clock),
            budgets=TurnBudgets(spending=world.spending, clock=world.clock, ids=world.ids),
            owner_tokens=self._settings.spending.owner_tokens_per_day,
            deletions=Deletions(
                eraser=world.eraser,
                ledger=world.ledger,
                requests=world.requests,
                conversations=world.conversations,
            ),
            ledger=world.ledger,
            bus=world.bus,
            clock=world.clock,
            ids=world.ids,
        )

    @cached_property
    def turns(self) -> Turns:
        """Takes the turns of runs."""
        world = self._world
        bounds = self._settings.bounds
        seconds = float(bounds.model_timeout_seconds)
        return Turns(
            model=world.model,
            requests=world.requests,
            offers=ToolOffers(tools=world.tools, agents=self.catalog, clock=world.clock),
            clock=world.clock,
            ids=world.ids,
            telemetry=self._telemetry,
            limits=TurnLimits(model_timeout_seconds=seconds, max_tools=bounds.model_tools),
            identity=identify_model(self._settings),
        )


def identify_model(settings: Settings) -> ModelIdentity:
    """Return the model's provider and default name for traces. An endpoint with OpenAI's protocol
    counts as `openai`."""
    host = urlsplit(settings.model.endpoint or "").hostname or ""
    provider = "azure.ai.openai" if host.endswith(AZURE_OPENAI) else "openai"
    return ModelIdentity(provider=provider, default_model=settings.model.model)
