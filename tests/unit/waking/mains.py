"""Another instance of main beside a world's own, and the ticks that started runs."""

from __future__ import annotations

from aos.testing import MemoryWorld
from aos.testing.triggers import be_ready
from aos.wiring.main import Main


def another_main(world: MemoryWorld) -> Main:
    """A second process of main, on the world's storage and bus."""
    return Main(
        world.settings,
        open_world=lambda: world.ports,
        telemetry=world.telemetry,
        ids=world.ids,
        ready=be_ready,
    )


async def ticks_of(world: MemoryWorld) -> list[str]:
    """The hour and minute of each tick that started a run, in order."""
    runs = await world.woken_runs()
    return [run.metadata["woken_by"]["schedule"]["tick"][11:16] for run in runs]
