"""Readers of a run hear of its end, whatever became of the feed that they share."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aos.domain.caller import Caller
from aos.domain.runs.run import AdmittedRequest
from aos.domain.runs.run_events import EventId, RunEvent
from aos.errors import TransientError
from aos.services.admission.run_requests import RunRequest
from aos.services.run_events import reader
from aos.testing import MemoryWorld, ScriptedModel


async def make_world(monkeypatch: pytest.MonkeyPatch) -> tuple[MemoryWorld, AdmittedRequest]:
    """A world with a run that was admitted, of which realm does not know."""
    monkeypatch.setattr(reader, "QUIET_SECONDS", 0.02)
    world = MemoryWorld(model=ScriptedModel("Yes."))
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    admission = await world.main.services.admissions.admit(
        RunRequest(agent_id="ceo", message="Hello"),
        door="http",
        scope="http:local",
        key=None,
        caller=Caller(owner="local"),
    )
    return world, admission.request


async def follow(world: MemoryWorld, request: AdmittedRequest) -> list[RunEvent]:
    """The events that a reader gets until its stream ends."""
    told: list[RunEvent] = []
    news = world.main.services.run_events.follow(request, after=EventId(0))
    async for events in news:
        told += events
    return told


async def hear(world: MemoryWorld, reading: asyncio.Task[list[RunEvent]]) -> list[str]:
    """The types of the events, when the stream has ended."""
    async with asyncio.timeout(5):
        while not reading.done():
            world.clock.advance(1.0)
            await asyncio.sleep(0.005)
    return [event.type for event in await reading]


def break_feeds(world: MemoryWorld, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """The shared reads of feeds fail; those of readers do not."""
    read = world.ports.run_events.read

    async def fail(*args: Any, **options: Any) -> Any:
        task = asyncio.current_task()
        if task is not None and "Feeds._read" in repr(task.get_coro()):
            raise error
        return await read(*args, **options)

    monkeypatch.setattr(world.ports.run_events, "read", fail)


async def test_a_feed_whose_task_failed_does_not_hide_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, request = await make_world(monkeypatch)
    break_feeds(world, monkeypatch, KeyError("a bug"))
    reading = asyncio.create_task(follow(world, request))
    await asyncio.sleep(0.05)
    world.clock.advance(1.0)
    await asyncio.sleep(0.05)
    await world.settle()
    assert await hear(world, reading) == [
        "run.queued",
        "run.started",
        "turn.started",
        "message.completed",
        "run.completed",
    ]


async def test_a_reader_is_let_go_that_missed_the_end_of_a_deleted_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, request = await make_world(monkeypatch)
    break_feeds(world, monkeypatch, TransientError("storage is away"))
    reading = asyncio.create_task(follow(world, request))
    await asyncio.sleep(0.05)
    await world.settle()
    for rows in world.tables.conversations.values():
        rows.events.clear()
    monkeypatch.undo()
    monkeypatch.setattr(reader, "QUIET_SECONDS", 0.02)
    assert await hear(world, reading) == ["run.queued", "run.completed"]
