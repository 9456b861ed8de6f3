"""Timers: they do not pile up, and they recover."""

from __future__ import annotations

import asyncio
import itertools
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from aos.adapters.memory import ManualClock
from aos.adapters.memory.blobs import MemoryBlobStore
from aos.bootstrap import mcp_app
from aos.entrypoints.timers import SharedTimer, Ticker, schedule_every
from aos.errors import TransientError
from aos.timer_settings import PERIODS
from devhost.functions.ncrontab import parse_schedule
from tests.unit.entrypoints.laptop_in_memory import DEVELOPMENT, InMemory

TIMER: Any = None


async def test_a_tick_publishes_what_was_uploaded(apps: InMemory) -> None:
    await apps.config.write("agents/cfo.json", b'{"agent_id": "cfo", "purpose": "Count."}')
    await apps.main.catalog_timer.tick(TIMER)
    async with apps.pumping():
        assert (await apps.ask({"message": "Hello"}, parts={"agent_id": "cfo"})).status == 200


async def test_a_tick_does_nothing_while_the_one_before_is_at_work(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    listings: list[str] = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def frozen(store: MemoryBlobStore, prefix: str) -> Any:
        listings.append(prefix)
        begun.set()
        await go_on.wait()
        return []

    monkeypatch.setattr(MemoryBlobStore, "list", frozen)
    first = asyncio.create_task(apps.main.catalog_timer.tick(TIMER))
    await asyncio.wait_for(begun.wait(), 5)
    async with asyncio.timeout(5):
        for _ in range(10):
            await apps.main.catalog_timer.tick(TIMER)
    assert listings == ["agents/"]
    go_on.set()
    await asyncio.wait_for(first, 5)
    await apps.main.catalog_timer.tick(TIMER)
    assert listings == ["agents/", "mcp-servers/"] * 2


async def test_storage_away_fails_a_tick_and_the_next_one_works(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*given: Any, **more: Any) -> Any:
        raise TransientError("storage is away")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryBlobStore, "list", away)
        patch.setattr(apps.world.pending, "list_due", away)
        await apps.main.catalog_timer.tick(TIMER)
        await apps.main.mender_timer.tick(TIMER)
    failed = [line["timer"] for line in apps.telemetry.lines if line["event"] == "tick_failed"]
    assert failed == ["publish_catalog", "mend"]
    await apps.main.mender_timer.tick(TIMER)


async def test_a_bug_in_a_tick_is_logged_and_raised(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*given: Any, **more: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(apps.world.pending, "list_due", broken)
    with pytest.raises(ZeroDivisionError):
        await apps.main.mender_timer.tick(TIMER)
    assert apps.telemetry.lines[-1]["event"] == "tick_broken"
    monkeypatch.undo()
    await apps.main.mender_timer.tick(TIMER)


async def test_the_mender_sends_what_was_not_sent(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(outgoing: Any) -> None:
        raise TransientError("the bus is away")

    with monkeypatch.context() as patch:
        patch.setattr(apps.bus, "send", away)
        accepted = await apps.ask({"message": "Hello", "wait_seconds": 0})
    assert accepted.status == 202
    await apps.settle()
    assert not apps.model.calls
    apps.clock.advance(31)
    await apps.main.mender_timer.tick(TIMER)
    await apps.settle()
    assert len(apps.model.calls) == 1


def test_a_card_is_live_within_ten_seconds_on_a_laptop() -> None:
    main, mcp = InMemory().main, mcp_app(DEVELOPMENT)
    schedules = (main.catalog_schedule, main.mender_schedule, mcp.listing_schedule)
    assert schedules == ("*/5 * * * * *",) * 3


@pytest.mark.parametrize("seconds", PERIODS)
def test_a_schedule_fires_as_often_as_its_period_says_and_evenly(seconds: int) -> None:
    schedule = parse_schedule(schedule_every(seconds))
    moment = datetime(2026, 3, 14, 11, 59, 59)
    ticks = []
    for _ in range(86_400 // seconds):
        moment = schedule.find_next_after(moment)
        ticks.append(moment)
    assert ticks[0] == datetime(2026, 3, 14, 12)
    gaps = {(later - earlier).total_seconds() for earlier, later in itertools.pairwise(ticks)}
    assert gaps == {seconds}


class Counted(Ticker):
    """A ticker that counts its ticks, and may fail."""

    def __init__(self, *, error: Exception | None = None) -> None:
        self.ticks = 0
        self.error = error

    async def tick(self, timer: Any) -> None:
        self.ticks += 1
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("is_new", [False, True], ids=["one process", "a process for each tick"])
async def test_work_that_shares_a_timer_is_done_in_its_own_period(is_new: bool) -> None:
    clock, often, seldom = ManualClock(), Counted(), Counted()
    work: dict[Ticker, int] = {often: 300, seldom: 3600}
    clock.advance(-clock.now().timestamp() % 3600 + 299.99)  # a host fires a little early
    timer = SharedTimer(work, clock=clock)
    for _ in range(4 * 12):
        timer = SharedTimer(work, clock=clock) if is_new else timer
        await timer.tick(TIMER)
        clock.advance(300)
    assert (often.ticks, seldom.ticks) == (48, 4)


async def test_work_whose_tick_was_missed_is_done_with_a_late_one() -> None:
    clock, often, seldom = ManualClock(), Counted(), Counted()
    clock.advance(-clock.now().timestamp() % 3600 + 700)
    timer = SharedTimer({often: 300, seldom: 3600}, clock=clock)
    await timer.tick(TIMER)
    assert (often.ticks, seldom.ticks) == (1, 0)
    await timer.tick(SimpleNamespace(past_due=True))  # type: ignore[arg-type]
    assert (often.ticks, seldom.ticks) == (2, 1)


async def test_a_bug_in_one_part_of_a_timer_does_not_stop_the_others() -> None:
    broken, well = Counted(error=ZeroDivisionError()), Counted()
    timer = SharedTimer({broken: 5, well: 5}, clock=ManualClock())
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await timer.tick(TIMER)
    assert well.ticks == 2
