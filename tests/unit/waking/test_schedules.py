"""Agents wake by the clock: one run a tick, one for what was missed, nothing while they sleep."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aos.adapters.memory import MemoryWatermarks
from aos.adapters.memory.blobs import MemoryBlobStore
from aos.domain.cards.agent_card import Schedule
from aos.domain.cards.ticks import find_last_tick, find_next_tick
from aos.domain.runs.run import RunStatus
from aos.errors import TransientError
from aos.testing import MemoryWorld, ScriptedModel
from tests.unit.waking.mains import another_main, ticks_of

BERLIN = "Europe/Berlin"


def card(*crons: str, time_zone: str = "UTC", **fields: Any) -> dict[str, Any]:
    schedules = [{"cron": cron, "message": "Go", "time_zone": time_zone} for cron in crons]
    return {"agent_id": "ceo", "purpose": "Lead.", "wake": {"schedules": schedules}, **fields}


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def all_ticks(schedule: Schedule, begin: datetime, end: datetime) -> list[str]:
    """What an app follows that looks every minute, watermark and all."""
    found, mark, now = [], begin, begin
    while now < end:
        now += timedelta(minutes=1)
        tick = find_last_tick(schedule, after=mark, until=now)
        if tick is not None:
            found.append(tick.isoformat()[5:16])
            mark = tick
    return found


@pytest.mark.parametrize(
    ("cron", "begin", "end", "expected"),
    [
        # Europe/Berlin, 29 March 2026: 02:00 becomes 03:00.
        ("30 2 * * *", "2026-03-28T12:00", "2026-03-30T12:00", ["03-29T01:00", "03-30T00:30"]),
        (
            "0 * * * *",
            "2026-03-28T23:30",
            "2026-03-29T02:30",
            ["03-29T00:00", "03-29T01:00", "03-29T02:00"],
        ),
        ("*/30 2 * * *", "2026-03-28T12:00", "2026-03-30T12:00", ["03-30T00:00", "03-30T00:30"]),
        # 25 October 2026: 03:00 becomes 02:00.
        ("30 2 * * *", "2026-10-24T12:00", "2026-10-26T12:00", ["10-25T00:30", "10-26T01:30"]),
        ("0,30 2 * * *", "2026-10-24T12:00", "2026-10-26T00:30", ["10-25T00:00", "10-25T00:30"]),
        (
            "0 * * * *",
            "2026-10-24T23:30",
            "2026-10-25T02:30",
            ["10-25T00:00", "10-25T01:00", "10-25T02:00"],
        ),
        # 29 February
        ("0 9 29 2 *", "2028-02-28T12:00", "2028-03-01T12:00", ["02-29T08:00"]),
        ("0 9 29 2 *", "2027-02-27T12:00", "2027-03-02T12:00", []),
    ],
)
def test_ticks_while_clocks_change(cron: str, begin: str, end: str, expected: list[str]) -> None:
    schedule = Schedule(cron=cron, message="Go", conversation="c", time_zone=BERLIN)
    assert all_ticks(schedule, utc(begin), utc(end)) == expected


def test_the_next_tick_of_a_leap_day_is_years_away() -> None:
    schedule = Schedule(cron="0 9 29 2 *", message="Go", conversation="c")
    assert find_next_tick(schedule, after=utc("2096-02-29T09:00")) == utc("2104-02-29T09:00")


async def test_an_agent_wakes_at_its_tick_in_its_home_conversation() -> None:
    model = ScriptedModel("Planned.")
    world = MemoryWorld(model=model)
    await world.put_agent(card("0 9 * * 1-5", time_zone=BERLIN))
    await world.advance_to(utc("2030-01-01T07:59:30"))
    assert await world.woken_runs() == []
    await world.advance(60)
    (run,) = await world.woken_runs("ceo")
    assert (run.status, run.output) == (RunStatus.COMPLETED, "Planned.")
    assert run.conversation_id == "home-ceo"
    assert world.tables.requests[run.run_id].request.owner == "agent:ceo"
    assert run.metadata == {
        "woken_by": {
            "schedule": {
                "cron": "0 9 * * 1-5",
                "time_zone": BERLIN,
                "tick": "2030-01-01T08:00:00.000Z",
            }
        }
    }
    assert model.calls[0].messages[-1].content == "Go"
    assert world.replies() == []


async def test_each_tick_starts_one_run_and_an_outage_of_six_hours_one() -> None:
    world = MemoryWorld(model=ScriptedModel())
    await world.put_agent(card("*/10 * * * *"))
    await world.advance(1800)
    assert await ticks_of(world) == ["00:10", "00:20", "00:30"]
    world.clock.advance(6 * 3600)
    await world.advance(900)
    assert await ticks_of(world) == ["00:10", "00:20", "00:30", "06:30", "06:40"]


async def test_a_missed_tick_is_made_up_for_an_hour_and_no_longer() -> None:
    world = MemoryWorld(model=ScriptedModel())
    await world.put_agent(card("0 3 * * *"))
    await world.advance(60)
    world.clock.advance(3 * 3600 + 3000)  # 03:51
    await world.advance(30)
    assert await ticks_of(world) == ["03:00"]
    world.clock.advance(24 * 3600 + 600)  # the next day, 04:01
    await world.advance(3600)
    assert await ticks_of(world) == ["03:00"]


async def test_two_mains_at_once_start_one_run_a_tick() -> None:
    world = MemoryWorld(model=ScriptedModel())
    await world.put_agent(card("*/5 * * * *"))
    other = another_main(world)
    for _ in range(15):
        await world.advance(60)
        await other.services.scheduled_runs.wake()
        await world.settle()
    assert await ticks_of(world) == ["00:05", "00:10", "00:15"]


async def test_a_main_that_dies_between_the_run_and_its_watermark_starts_no_second_run() -> None:
    world = MemoryWorld(model=ScriptedModel())
    await world.put_agent(card("*/5 * * * *"))
    await world.advance(30)
    before = dict(world.tables.watermarks)
    await world.advance(300)
    world.tables.watermarks.update(before)  # as if the write had not happened
    world.main = another_main(world)
    await world.advance(30)
    assert await ticks_of(world) == ["00:05"]


async def test_an_edit_holds_from_the_next_tick_and_loses_none() -> None:
    world = MemoryWorld(model=ScriptedModel())
    await world.put_agent(card("*/10 * * * *"))
    await world.advance(570)
    world.clock.advance(31)  # the tick of 00:10 has passed, nobody has followed it
    edited = card("*/10 * * * *", "15 * * * *")
    edited["wake"]["schedules"][0]["message"] = "Go further"
    await world.put_agent(edited)
    await world.advance(600)
    assert await ticks_of(world) == ["00:10", "00:15", "00:20"]
    messages = [m.content for m in await world.history("home-ceo") if m.role == "user"]
    assert messages == ["Go further", "Go", "Go further"]


@pytest.mark.parametrize("how", ["disabled", "removed", "without schedules"])
async def test_a_sleeping_agent_does_not_wake_and_leaves_no_row(how: str) -> None:
    world = MemoryWorld(model=ScriptedModel())
    await world.put_agent(card("*/5 * * * *", "0 9 * * *"))
    await world.advance(330)
    assert len(world.tables.watermarks) == 2
    if how == "removed":
        await world.config.delete("agents/ceo.json")
        await world.main.services.publish()
    else:
        fields = {"enabled": False} if how == "disabled" else {"wake": {}}
        await world.put_agent({**card("*/5 * * * *"), **fields})
    await world.advance(900)
    assert world.tables.watermarks == {}
    assert await ticks_of(world) == ["00:05"]
    await world.put_agent(card("*/5 * * * *"))
    await world.advance(330)
    assert await ticks_of(world) == ["00:05", "00:25"]


async def test_rows_that_a_dead_main_left_go_when_another_starts() -> None:
    world = MemoryWorld(model=ScriptedModel())
    await world.put_agent(card("*/5 * * * *"))
    await world.advance(60)
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    world.main = another_main(world)
    await world.advance(30)
    assert world.tables.watermarks == {}


@pytest.mark.parametrize("restarts", [True, False])
@pytest.mark.parametrize("ahead", [timedelta(days=365), timedelta(hours=2)], ids=str)
async def test_a_clock_that_was_ahead_does_not_keep_an_agent_asleep(
    ahead: timedelta, restarts: bool
) -> None:
    world = MemoryWorld(model=ScriptedModel())
    await world.put_agent(card("*/5 * * * *"))
    world.clock.advance(ahead.total_seconds() + 60)
    await world.main.services.scheduled_runs.wake()
    (wrong,) = await ticks_of(world)
    world.clock.set_back(ahead.total_seconds())
    if restarts:
        world.main = another_main(world)
    await world.advance(600)
    assert sorted(await ticks_of(world)) == sorted(["00:05", "00:10", wrong])


async def test_a_refused_tick_is_logged_with_its_code_and_done() -> None:
    world = MemoryWorld(model=ScriptedModel("Hi."))
    await world.put_agent(card("*/5 * * * *"))
    board = card("*/5 * * * *")
    board["wake"]["schedules"][0]["conversation"] = "board"
    await world.put_agent({"agent_id": "other", "purpose": "Own the board."})
    await world.ask("other", "Hello", conversation_id="board")
    await world.put_agent(board)
    await world.advance(330)
    assert await world.woken_runs() == []
    refused = [line for line in world.telemetry.lines if line["event"] == "wake_refused"]
    assert [(line["agent_id"], line["code"]) for line in refused] == [
        ("ceo", "conversation_not_found")
    ]


async def test_ticks_wait_while_aos_is_paused_and_become_one() -> None:
    world = MemoryWorld(model=ScriptedModel())
    await world.put_agent(card("*/5 * * * *"))
    await world.main.services.pause_switch.pause(by="ann", reason="")
    await world.advance(1230)
    assert await world.woken_runs() == []
    await world.main.services.pause_switch.resume()
    await world.advance(330)
    assert await ticks_of(world) == ["00:20", "00:25"]


async def test_new_begins_a_conversation_for_each_run() -> None:
    world = MemoryWorld(model=ScriptedModel())
    own = card("*/5 * * * *")
    own["wake"]["schedules"][0]["conversation"] = "new"
    await world.put_agent(own)
    await world.advance(630)
    runs = await world.woken_runs()
    assert [run.conversation_id for run in runs] == [run.run_id for run in runs]
    assert len(runs) == 2


async def test_storage_that_is_away_at_a_tick_costs_the_tick_nothing() -> None:
    world = MemoryWorld(model=ScriptedModel())
    await world.put_agent(card("*/5 * * * *"))
    await world.advance(270)
    insert = world.ports.requests.insert

    async def away(request: Any) -> None:
        raise TransientError("storage is away")

    world.ports.requests.insert = away  # type: ignore[method-assign]
    await world.advance(60)
    assert await ticks_of(world) == []
    world.ports.requests.insert = insert  # type: ignore[method-assign]
    await world.advance(30)
    assert await ticks_of(world) == ["00:05"]


async def test_an_idle_app_without_schedules_makes_no_call_to_look_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = MemoryWorld(model=ScriptedModel())
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    await world.main.services.scheduled_runs.wake()

    async def called(*given: object, **named: object) -> Any:
        raise AssertionError("a call to storage")

    for _ in range(12):
        world.clock.advance(5)
        await world.main.services.publish()
        with monkeypatch.context() as patched:
            for kind, names in {
                MemoryBlobStore: ("read", "read_if_changed"),
                MemoryWatermarks: ("list_all", "find", "put", "drop"),
            }.items():
                for name in names:
                    patched.setattr(kind, name, called)
            await world.main.services.scheduled_runs.wake()
