"""The rhythm of a watched text: how realm writes it, and how main finds it."""

from __future__ import annotations

import asyncio
import itertools
from datetime import datetime
from typing import Any

import azure.functions as func
import pytest

from aos.entrypoints.http.streams import StreamedResponse
from aos.ports.model import ModelAnswer, ModelCall
from aos.testing import MemoryWorld, ScriptedModel
from tests.unit.run_events.reading import events_of, read_stream

BATCH_SECONDS = 0.2
WORD_SECONDS = 0.02
WRITE_SECONDS = 0.15
MOST_LATE_SECONDS = 0.03
FIRST_SECONDS = 0.3
WORDS = 60


class PacedModel(ScriptedModel):
    """Says a word every WORD_SECONDS, the first after FIRST_SECONDS."""

    world: MemoryWorld

    async def complete(self, call: ModelCall) -> ModelAnswer:
        assert call.sink is not None
        await self.world.clock.sleep(FIRST_SECONDS)
        for _ in range(WORDS):
            call.sink.add("word ")
            await self.world.clock.sleep(WORD_SECONDS)
        self._answers = ["word " * WORDS]
        return await super().complete(call)


async def make_world() -> MemoryWorld:
    model = PacedModel()
    model.world = world = MemoryWorld(model=model)
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    return world


def list_deltas(events: list[dict[str, Any]]) -> list[float]:
    """When each piece of the text was written, but the last, which comes with the end."""
    deltas = [event for event in events if event["type"] == "message.delta"]
    return [datetime.fromisoformat(event["time"]).timestamp() for event in deltas][:-1]


async def test_a_write_that_takes_long_does_not_delay_the_next_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world()
    add = world.ports.run_events.add

    async def add_slowly(*given: Any, **more: Any) -> None:
        await world.clock.sleep(WRITE_SECONDS)
        await add(*given, **more)

    monkeypatch.setattr(world.ports.run_events, "add", add_slowly)
    run = await world.ask("ceo", "Prices?", stream=True)
    times = list_deltas(await events_of(world, run.run_id))
    between = [after - before for before, after in itertools.pairwise(times)]
    assert between == pytest.approx([BATCH_SECONDS] * len(between), abs=WORD_SECONDS)
    assert len(between) >= WORDS * WORD_SECONDS / BATCH_SECONDS - 2


async def test_a_reader_gets_each_batch_soon_and_asks_storage_seldom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world()
    read, reads = world.ports.run_events.read, 0

    async def read_counted(*given: Any, **more: Any) -> Any:
        nonlocal reads
        reads += 1
        return await read(*given, **more)

    monkeypatch.setattr(world.ports.run_events, "read", read_counted)
    answer = await world.main.runs.start(
        func.HttpRequest(
            "POST",
            "http://localhost/api/agents/ceo/run",
            headers={
                "accept": "text/event-stream",
                "content-type": "application/json",
                "content-length": "21",
            },
            route_params={"agent_id": "ceo"},
            body=b'{"message":"Prices?"}',
        )
    )
    assert isinstance(answer, StreamedResponse), answer.get_body()
    told: list[tuple[float, dict[str, Any]]] = []

    async def follow() -> None:
        async for piece in answer.pieces:
            now = world.clock.now().timestamp()
            told.extend((now, event) for event in read_stream(piece.decode()))

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(follow())
        await world.settle()
    late = [now - datetime.fromisoformat(event["time"]).timestamp() for now, event in told]
    batches = [late[at] for at, (_, event) in enumerate(told) if event["type"] == "message.delta"]
    assert len(batches) >= 5
    assert max(batches[1:-1]) <= MOST_LATE_SECONDS
    assert reads <= 1.5 * len(batches) + FIRST_SECONDS / 0.075 + 4
