"""Puts realm together: its services and its queue. Entry point: `realm_queue`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aos.bootstrap.parts import catalog_reader, settling
from aos.bootstrap.world import World
from aos.entrypoints.bus.commands import RealmQueue
from aos.ports.telemetry import Telemetry
from aos.services.execution import Execution, ModelIdentity, ToolOffers, TurnLimits, Turns
from aos.settings import Settings

AZURE_OPENAI = (".openai.azure.com", ".openai.azure.us", ".cognitiveservices.azure.com")


def realm_queue(
    settings: Settings,
    *,
    world: World,
    telemetry: Telemetry,
    ready: Callable[[], Awaitable[None]],
) -> RealmQueue:
    """The queue `aos-realm`, with all that stands behind it."""
    agents = catalog_reader(settings, world)
    turns = Turns(
        model=world.model,
        conversations=world.conversations,
        requests=world.requests,
        offers=ToolOffers(tools=world.tools, agents=agents, clock=world.clock),
        clock=world.clock,
        ids=world.ids,
        telemetry=telemetry,
        limits=TurnLimits(model_timeout_seconds=settings.bounds.model_timeout_seconds),
        identity=model_identity(settings),
    )
    execution = Execution(
        conversations=world.conversations,
        requests=world.requests,
        agents=agents,
        decisions=world.decisions,
        turns=turns,
        bus=world.bus,
        clock=world.clock,
        ids=world.ids,
    )
    return RealmQueue(
        settling(world, telemetry=telemetry, ready=ready), execution=execution, bus=world.bus
    )


def model_identity(settings: Settings) -> ModelIdentity:
    """What traces call the model; whatever speaks OpenAI's protocol counts as `openai`."""
    host = urlsplit(settings.model.endpoint or "").hostname or ""
    provider = "azure.ai.openai" if host.endswith(AZURE_OPENAI) else "openai"
    return ModelIdentity(provider=provider, default_model=settings.model.model)
