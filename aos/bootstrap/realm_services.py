"""Which services and entry points make realm?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aos.bootstrap.parts import catalog_reader, settling
from aos.bootstrap.world import World
from aos.entrypoints.bus.commands import RealmQueue
from aos.ports import Telemetry
from aos.services.execution import Execution, Offering, TurnLimits, Turns
from aos.settings import Settings


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
        offering=Offering(tools=world.tools, agents=agents, clock=world.clock),
        clock=world.clock,
        ids=world.ids,
        telemetry=telemetry,
        limits=TurnLimits(model_timeout_seconds=settings.bounds.model_timeout_seconds),
    )
    execution = Execution(
        conversations=world.conversations,
        agents=agents,
        decisions=world.decisions,
        turns=turns,
        bus=world.bus,
        clock=world.clock,
        ids=world.ids,
        telemetry=telemetry,
    )
    return RealmQueue(
        settling(world, telemetry=telemetry, ready=ready), execution=execution, bus=world.bus
    )
