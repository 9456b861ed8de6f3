"""The depths of queues in `/api/status`: for admins, bounded, and never an error of status."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from aos.adapters.memory import ManualClock, MemoryTelemetry
from aos.errors import TransientError
from aos.ports.depths import EntityDepth
from aos.services import depths as module
from aos.services.depths import Depths
from tests.unit.entrypoints.laptop_in_memory import InMemory, call

ONE = EntityDepth(entity="aos-main", active=3, scheduled=2, dead=1)


class Bus:
    """Counts what it is asked."""

    def __init__(self, *, error: Exception | None = None, hangs: bool = False) -> None:
        self.asked: list[str] = []
        self.error = error
        self.hangs = hangs

    async def count(self, entity: str) -> EntityDepth:
        """Answer, fail or hang."""
        self.asked.append(entity)
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return replace(ONE, entity=entity)


def depths(bus: Bus, clock: ManualClock, *entities: str) -> Depths:
    return Depths(bus, entities=entities or ("aos-main",), clock=clock, telemetry=MemoryTelemetry())


async def test_a_reading_is_used_again_for_ten_seconds() -> None:
    bus, clock = Bus(), ManualClock()
    shown = depths(bus, clock)
    assert await shown.read() == (ONE,)
    clock.advance(9.9)
    await asyncio.gather(*(shown.read() for _ in range(5)))
    assert bus.asked == ["aos-main"]
    clock.advance(0.2)
    await shown.read()
    assert bus.asked == ["aos-main"] * 2


@pytest.mark.parametrize("bus", [Bus(error=TransientError("away")), Bus(hangs=True)])
async def test_a_bus_that_is_away_or_hangs_is_told_in_place_of_the_counts(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIMIT_SECONDS", 0.05)
    clock = ManualClock()
    shown = depths(bus, clock, "a", "b")
    async with asyncio.timeout(5):
        assert await shown.read() == (
            EntityDepth(entity="a", error="unavailable"),
            EntityDepth(entity="b", error="unavailable"),
        )
        await shown.read()
    assert bus.asked == ["a", "b"]  # a bus that is away is not asked at every call either


async def test_status_shows_the_depths_to_admins_alone() -> None:
    for settings, shown in (({}, True), ({"AOS_AUTH": "keys"}, False)):
        apps = InMemory(settings)
        bus = Bus()
        app = apps.new_main(world=replace(apps.world, depths=bus))
        assert (await call(app.about.status)).body.get("queues") is None
        assert app.services  # a trigger has used them
        body = (await call(app.about.status)).body
        assert ("queues" in body) is shown
        assert bool(bus.asked) is shown
        if shown:
            names = [depth["entity"] for depth in body["queues"]]
            assert "aos-requests" in names
            assert "system-events/Subscriptions/mcp" in names
            assert "businessinfinity-responses" in names
            assert body["queues"][0] == {
                "entity": "aos-requests",
                "active": 3,
                "scheduled": 2,
                "dead": 1,
            }
