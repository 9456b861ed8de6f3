"""The rhythm of a watched text: how realm writes it, and how main finds it."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import azure.functions as func
import pytest

from aos.domain.runs.run_events import EventRow, RunEvent, RunEventType
from aos.entrypoints.http.streams import StreamedResponse
from aos.ports.model import ModelAnswer, ModelCall
from aos.services.run_events.beginnings import TURNS_NEEDED, Beginnings
from aos.testing import MemoryWorld, ScriptedModel
from tests.samples import NOON
from tests.unit.run_events.reading import events_of, read_stream

SHORTEST_SECONDS = 0.25
"""Between two batches."""
WORD_SECONDS = 0.02
WRITE_SECONDS = 0.15
MOST_LATE_SECONDS = 0.03
FIRST_SECONDS = 0.34
WORDS = 150
READ_SECONDS = 0.1
"""Between two reads while the model may begin to write."""


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
    expected = [0.25, *[0.5] * (len(between) - 1)]
    assert between == pytest.approx(expected, abs=WORD_SECONDS)
    assert sum(between) >= WORDS * WORD_SECONDS - 0.5


class CountedReads:
    """Counts the reads of events, and has realm's clock differ from main's."""

    def __init__(self, world: MemoryWorld, patch: pytest.MonkeyPatch, *, skew: float = 0.0) -> None:
        self.count = 0
        self._read, self._add = world.ports.run_events.read, world.ports.run_events.add
        self._skew = timedelta(seconds=skew)
        patch.setattr(world.ports.run_events, "read", self._read_counted)
        patch.setattr(world.ports.run_events, "add", self._add_skewed)

    async def _read_counted(self, *given: Any, **more: Any) -> Any:
        self.count += 1
        return await self._read(*given, **more)

    async def _add_skewed(self, conversation_id: str, row: EventRow, **more: Any) -> None:
        events = tuple(replace(event, time=event.time + self._skew) for event in row.events)
        await self._add(conversation_id, replace(row, events=events), **more)


async def start_stream(world: MemoryWorld) -> StreamedResponse:
    """The answer to a request that starts a run and follows it."""
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
    return answer


async def follow(world: MemoryWorld, answer: StreamedResponse, *, skew: float = 0.0) -> list[float]:
    """Read a stream to its end; return how late each piece of the text came."""
    late: list[float] = []

    async def read() -> None:
        async for piece in answer.pieces:
            now = world.clock.now().timestamp() + skew
            late.extend(
                now - datetime.fromisoformat(event["time"]).timestamp()
                for event in read_stream(piece.decode())
                if event["type"] == "message.delta"
            )

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(read())
        await world.settle()
    return late


@pytest.mark.parametrize("skew", [0.0, 0.05, -0.05, 2.0, -2.0])
async def test_a_reader_gets_each_batch_soon_and_asks_storage_seldom(
    monkeypatch: pytest.MonkeyPatch, skew: float
) -> None:
    world = await make_world()
    reads = CountedReads(world, monkeypatch, skew=skew)
    answer = await start_stream(world)
    batches = await follow(world, answer, skew=skew)
    assert len(batches) >= 5
    learned = 1 if abs(skew) < SHORTEST_SECONDS else 4
    assert max(batches[learned:-1]) <= (MOST_LATE_SECONDS if skew <= 0 else READ_SECONDS)
    assert reads.count <= len(batches) + FIRST_SECONDS / READ_SECONDS + (9 if skew else 0)


async def test_a_reader_that_knows_the_model_asks_when_its_text_can_be_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world()
    for _ in range(TURNS_NEEDED):
        await follow(world, await start_stream(world))
    reads = CountedReads(world, monkeypatch)
    batches = await follow(world, await start_stream(world))
    assert max(batches) <= MOST_LATE_SECONDS
    assert reads.count <= len(batches) + 1  # one that finds that the run has started


@pytest.mark.parametrize("skew", [0.0, 5.0, -5.0])
def test_a_wait_is_learned_whatever_the_difference_of_two_clocks(skew: float) -> None:
    beginnings = Beginnings()

    def tell(kind: RunEventType, seconds: float) -> RunEvent:
        return RunEvent(id="1", type=kind, time=NOON + timedelta(seconds=seconds + skew))

    for wait in (0.9, 0.8, 1.5, 1.0):
        beginning = beginnings.follow("ceo", since=NOON)
        assert not beginning.seconds
        beginning.take([tell("attempt.started", 0.0)], began=NOON + timedelta(seconds=0.2))
        beginning.take([tell("message.delta", wait)], began=NOON + timedelta(seconds=wait))
    beginning = beginnings.follow("ceo", since=NOON)
    beginning.take([tell("attempt.started", 0.0)], began=NOON + timedelta(seconds=0.2))
    assert 0.59 < beginning.seconds < 0.81
    beginning.take([], began=NOON + timedelta(seconds=0.7))
    assert 0.09 < beginning.seconds < 0.31
    beginning.take([tell("tool.called", 0.75)], began=NOON + timedelta(seconds=0.8))
    assert not beginning.seconds


async def test_events_that_come_together_are_sent_in_one_piece() -> None:
    world = MemoryWorld(model=ScriptedModel("Fall by two percent."))
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    answer = await start_stream(world)

    async def follow() -> list[bytes]:
        return [piece async for piece in answer.pieces]

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        following = group.create_task(follow())
        await world.settle()
    pieces = following.result()
    types = [[event["type"] for event in read_stream(piece.decode())] for piece in pieces]
    assert types[0] == ["run.queued"]
    assert types[1][0] == "run.started"
    assert types[1][-1] == "run.completed"
    assert len(types) == 2


async def test_a_turn_that_begins_now_does_not_look_for_earlier_attempts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world()
    reads = CountedReads(world, monkeypatch)
    run = await world.ask("ceo", "Prices?", stream=True)
    assert reads.count == 0
    assert [e["id"] for e in await events_of(world, run.run_id)][2] == "2.1.1"
