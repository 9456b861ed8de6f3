"""Watched runs: the model's text comes as provisional events, whatever fails on the way."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from aos.domain.envelope import REALM_QUEUE, Outgoing, RemoveDeltas, WatchRun, to_realm
from aos.domain.runs.run_events import EventRow
from aos.entrypoints.http.streams import StreamedResponse
from aos.errors import TransientError
from aos.ports.model import ModelAnswer, ModelCall
from aos.services.execution import turn_stream
from aos.testing import Calls, MemoryWorld, ScriptedModel
from tests.unit.run_events.reading import ask, events_of, page, read_stream, stream

AGENT = {"agent_id": "ceo", "purpose": "Lead.", "mcp_tools": ["clock"]}
CLOCK = {"server_id": "clock", "command": "npx", "args": ["-y", "@modelcontextprotocol/clock"]}


async def make_world(*answers: Any, model: ScriptedModel | None = None) -> MemoryWorld:
    world = MemoryWorld(model=model or ScriptedModel(*answers))
    await world.put_mcp_server(CLOCK, {"now": lambda _: "noon"})
    await world.put_agent(AGENT)
    return world


def tell(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(event["id"], event["type"]) for event in events]


def count_saves(world: MemoryWorld, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """An item for each save of a conversation from now on."""
    save, saves = world.ports.conversations.save, list[None]()

    async def count(*given: Any, **more: Any) -> str:
        saves.append(None)
        return await save(*given, **more)

    monkeypatch.setattr(world.ports.conversations, "save", count)
    return saves


def last_text(events: list[dict[str, Any]]) -> str:
    """What a reader shows: the deltas after the last begin of an attempt."""
    text = ""
    for event in events:
        if event["type"] == "attempt.started":
            text = ""
        elif event["type"] == "message.delta":
            text += event["data"]["text"]
    return text


async def test_a_watched_run_tells_its_text_in_pieces_with_ids_between_the_saved_ones() -> None:
    world = await make_world("Rise by two percent.")
    run = await world.ask("ceo", "Prices?", stream=True)
    events = await events_of(world, run.run_id)
    assert tell(events) == [
        ("1", "run.queued"),
        ("2", "run.started"),
        ("2.1.1", "attempt.started"),
        ("2.1.2", "message.delta"),
        ("2.1.3", "message.delta"),
        ("3", "turn.started"),
        ("4", "message.completed"),
        ("5", "run.completed"),
    ]
    assert last_text(events) == run.output == "Rise by two percent."
    assert (events[2]["turn"], events[2]["data"]) == (1, {"attempt": 1})
    assert events[3]["data"]["text"].startswith("Rise ")


async def test_the_begin_and_the_end_of_a_text_are_saved_with_the_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world(Calls(("clock__now", {}), text="I look at the clock."), "Noon it is.")
    add, added = world.ports.run_events.add, list[EventRow]()

    async def note(conversation_id: str, row: EventRow, **more: Any) -> None:
        added.append(row)
        await add(conversation_id, row, **more)

    monkeypatch.setattr(world.ports.run_events, "add", note)
    saves = count_saves(world, monkeypatch)
    run = await world.ask("ceo", "Time?", stream=True)
    events = await events_of(world, run.run_id)
    begun = [event["id"] for event in events if event["type"] == "attempt.started"]
    assert (begun, last_text(events)) == (["2.1.1", "7.1.1"], "Noon it is.")
    assert [str(row.last_id) for row in added] == ["2.1.2", "7.1.2"]
    assert len(saves) == 4  # begin and end of each turn


async def test_an_unwatched_run_tells_no_pieces_and_costs_no_call_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("a call that only a watched run may cost")

    model = ScriptedModel("Rise.")
    world = await make_world(model=model)
    with monkeypatch.context() as patched:
        for name in ("add", "read", "remove_provisional"):
            patched.setattr(world.ports.run_events, name, fail)
        run = await world.ask("ceo", "Prices?")
        await world.advance(600)
    assert all("." not in event["id"] for event in await events_of(world, run.run_id))
    assert model.calls[0].sink is None


async def test_a_stream_continues_after_any_of_its_ids() -> None:
    world = await make_world(Calls(("clock__now", {}), text="I look."), "It is noon now.")
    run = await world.ask("ceo", "Time?", stream=True)
    events = await stream(world, run.run_id)
    for place, event in enumerate(events[:-1]):
        rest = await stream(world, run.run_id, last_event_id=event["id"])
        assert rest == events[place + 1 :]
    assert last_text(events) == run.output


async def test_a_model_that_breaks_off_begins_a_new_attempt() -> None:
    model = BreaksOff("Rise by two percent.")
    world = await make_world(model=model)
    run = await world.ask("ceo", "Prices?", stream=True)
    await world.advance(120)
    run = await world.run(run.run_id)
    events = await events_of(world, run.run_id)
    attempts = [e["data"]["attempt"] for e in events if e["type"] == "attempt.started"]
    assert run.output == last_text(events) == "Rise by two percent."
    assert len(attempts) > 1
    assert next(e["id"] for e in events if e["type"] == "attempt.started") == "2.1.1"


async def test_the_next_attempt_and_the_wait_say_what_the_endpoint_said() -> None:
    faults = [TransientError("503: overloaded") for _ in range(60)]
    world = await make_world(*faults, "Rise.")
    run = await world.ask("ceo", "Prices?", stream=True)
    assert run.waiting is not None
    assert run.waiting.reason == "the model does not answer: 503: overloaded"
    events = await events_of(world, run.run_id)
    attempts = [event["data"] for event in events if event["type"] == "attempt.started"]
    await world.advance(3600)
    assert attempts[:2] == [{"attempt": 1}, {"attempt": 2, "reason": "503: overloaded"}]
    assert (await world.run(run.run_id)).output == "Rise."


class BreaksOff(ScriptedModel):
    """Breaks its first answer off after some words."""

    async def complete(self, call: ModelCall) -> ModelAnswer:
        if not self.calls:
            self.calls.append(call)
            assert call.sink is not None
            call.sink.add("Fall by ")
            raise TransientError("the connection broke", retry_after_seconds=100.0)
        return await super().complete(call)


async def watch(world: MemoryWorld, run_id: str, conversation_id: str) -> None:
    until = world.clock.now() + timedelta(days=30)
    command = WatchRun(run_id=run_id, conversation_id=conversation_id, until=until)
    await world.ports.bus.send(to_realm(command))
    await world.settle()


ASKING = {
    **AGENT,
    "agent_id": "careful",
    "mcp_tools": [{"server": "clock", "approval": "always"}],
}


@pytest.mark.parametrize("own", [True, False], ids=["its conversation", "another one"])
async def test_only_a_watch_in_the_runs_own_conversation_counts(own: bool) -> None:
    world = await make_world("Hello.", Calls(("clock__now", {})), "It is noon.")
    await world.put_agent(ASKING)
    other = await world.ask("ceo", "hi", conversation_id="other")
    run = await world.ask("careful", "Time?", conversation_id="own")
    before = world.tables.conversations["other"].head
    await watch(world, run.run_id, "own" if own else other.conversation_id)
    await watch(world, other.run_id, "own")
    assert world.tables.conversations["other"].head == before
    (asked,) = (await world.waiting_approvals()).items
    run = await world.decide(run.run_id, asked.tool_call_id, "approve")
    events = await events_of(world, run.run_id)
    assert last_text(events) == ("It is noon." if own else "")


async def test_a_reader_of_a_stream_has_the_next_turn_streamed() -> None:
    world = await make_world(Calls(("clock__now", {})), "It is noon.")
    await world.put_agent(ASKING)
    run = await world.ask("careful", "Time?", conversation_id="own")
    answer = await ask(world, run.run_id, accept="text/event-stream")
    assert isinstance(answer, StreamedResponse)
    pieces: list[bytes] = []

    async def read() -> None:
        async for piece in answer.pieces:
            pieces.append(piece)

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(read())
        for _ in range(1000):
            if world.broker.messages(REALM_QUEUE):
                break
            await asyncio.sleep(0)
        await world.settle()
        (asked,) = (await world.waiting_approvals()).items
        await world.decide(run.run_id, asked.tool_call_id, "approve")
    assert last_text(read_stream(b"".join(pieces).decode())) == "It is noon."


async def test_a_watch_ends_by_itself_however_long_it_asks_for() -> None:
    world = await make_world(Calls(("clock__now", {})), "It is noon.")
    await world.put_agent(ASKING)
    run = await world.ask("careful", "Time?", conversation_id="own")
    await watch(world, run.run_id, "own")
    await world.advance(11 * 60)
    (asked,) = (await world.waiting_approvals()).items
    run = await world.decide(run.run_id, asked.tool_call_id, "approve")
    assert last_text(await events_of(world, run.run_id)) == ""


async def test_pieces_are_removed_five_minutes_after_the_end_and_saved_events_stay() -> None:
    world = await make_world("Rise.")
    run = await world.ask("ceo", "Prices?", stream=True)
    await world.advance(4 * 60)
    assert last_text(await events_of(world, run.run_id)) == "Rise."
    await world.advance(2 * 60)
    assert [e["id"] for e in await events_of(world, run.run_id)] == ["1", "2", "3", "4", "5"]
    rest = await page(world, run.run_id, after="2.1.1")
    assert [event["id"] for event in rest["items"]] == ["3", "4", "5"]


async def test_pieces_are_removed_also_when_their_removal_was_not_sent_at_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world("Rise.")
    send, refused = world.ports.bus.send, list[Outgoing]()

    async def refuse_once(outgoing: Outgoing) -> None:
        if isinstance(outgoing.command, RemoveDeltas) and not refused:
            refused.append(outgoing)
            raise TransientError("the bus is away")
        await send(outgoing)

    monkeypatch.setattr(world.ports.bus, "send", refuse_once)
    run = await world.ask("ceo", "Prices?", stream=True)
    await world.advance(6 * 60)
    assert len(refused) == 1
    assert [e["id"] for e in await events_of(world, run.run_id)] == ["1", "2", "3", "4", "5"]


async def test_pieces_of_a_run_that_goes_on_cannot_be_removed_by_a_forged_command() -> None:
    world = await make_world(Calls(("clock__now", {}), text="I look."), "It is noon.")
    await world.put_agent(ASKING)
    run = await world.ask("careful", "Time?", stream=True, conversation_id="own")
    await world.ports.bus.send(to_realm(RemoveDeltas(run_id=run.run_id, conversation_id="own")))
    await world.settle()
    assert last_text(await events_of(world, run.run_id)) == "I look."


async def test_a_text_that_is_too_long_is_cut_and_comes_whole_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turn_stream, "MAX_TURN_BYTES", 10)
    world = await make_world("Rise by two percent.")
    run = await world.ask("ceo", "Prices?", stream=True)
    events = await events_of(world, run.run_id)
    deltas = [event["data"] for event in events if event["type"] == "message.delta"]
    assert "".join(delta["text"] for delta in deltas) == "Rise by "
    assert [delta.get("cut") for delta in deltas][-1] is True
    completed = next(event for event in events if event["type"] == "message.completed")
    assert completed["data"]["content"] == run.output == "Rise by two percent."


async def test_storage_that_refuses_the_pieces_does_not_fail_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world("Rise.")

    async def refuse(*_: Any, **more: Any) -> None:
        raise TransientError("storage is away")

    monkeypatch.setattr(world.ports.run_events, "add", refuse)
    monkeypatch.setattr(turn_stream, "FINISH_SECONDS", 0.05)
    run = await world.ask("ceo", "Prices?", stream=True)
    assert run.output == "Rise."
    assert last_text(await events_of(world, run.run_id)) == ""
