"""Which services and entry points make realm?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aos.bootstrap.parts import catalog_reader, settling
from aos.bootstrap.world import World
from aos.entrypoints.bus.commands import RealmQueue
from aos.ports import Telemetry
from aos.services.execution import Execution, TurnLimits, Turns
from aos.settings import Settings


def realm_queue(
    settings: Settings,
    *,
    world: World,
    telemetry: Telemetry,
    ready: Callable[[], Awaitable[None]],
) -> RealmQueue:
    """The queue `aos-realm`, with all that stands behind it."""
    turns = Turns(
        model=world.model,
        conversations=world.conversations,
        requests=world.requests,
        clock=world.clock,
        ids=world.ids,
        limits=TurnLimits(model_timeout_seconds=settings.bounds.model_timeout_seconds),
    )
    execution = Execution(
        conversations=world.conversations,
        agents=catalog_reader(settings, world),
        turns=turns,
        bus=world.bus,
        clock=world.clock,
        ids=world.ids,
        telemetry=telemetry,
    )
    return RealmQueue(
        settling(world, telemetry=telemetry, ready=ready), execution=execution, bus=world.bus
    )
