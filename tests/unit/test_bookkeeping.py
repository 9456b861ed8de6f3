"""What main writes in batches is written once, together, and whatever dies before it."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextvars import ContextVar
from typing import Any

import pytest

from aos.adapters.memory import Kept
from aos.domain.envelope import Event, RunEnded
from aos.domain.runs.run import Run
from aos.errors import AosError, Refused, TransientError
from aos.ports.conversations import Loaded
from aos.ports.index import IndexedRun
from aos.ports.requests import PendingRun
from aos.services.bookkeeping import LIST_SECONDS, REMOVAL_SECONDS, RETRY_SECONDS
from aos.testing import MemoryWorld, ScriptedModel
from aos.testing.triggers import be_ready
from aos.wiring.main import Main

RUNS = 12
TRACE = ContextVar("trace", default="none")


async def a_world(*, dies: bool = False) -> MemoryWorld:
    """A world with one agent. The batches of a main that `dies` are never written."""
    world = MemoryWorld(model=ScriptedModel(*("Yes.",) * RUNS))
    if not dies:
        world.main = another_main(world)
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    return world


def no_flush(world: MemoryWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave what waits to its time, as in a process of its own."""

    async def later() -> None:
        return None

    monkeypatch.setattr(world.main.services.books, "flush", later)


def watch(world: MemoryWorld, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the calls that batches make."""
    calls: Counter[str] = Counter()

    def counted(port: object, name: str) -> None:
        real = getattr(port, name)

        async def call(*args: object) -> object:
            calls[name] += 1
            return await real(*args)

        monkeypatch.setattr(port, name, call)

    counted(world.ports.index, "add")
    counted(world.ports.ledger, "record")
    counted(world.ports.ledger, "find")
    counted(world.ports.pending, "drop_all")
    return calls


async def pass_time(world: MemoryWorld, seconds: float) -> None:
    """Move the clock, and let everything that waited for it happen."""
    for _ in range(50):
        await asyncio.sleep(0)
    world.clock.advance(seconds)
    for _ in range(50):
        await asyncio.sleep(0)


def another_main(world: MemoryWorld) -> Main:
    """Another instance of main on the same storage and bus."""
    return Main(
        world.settings,
        open_world=lambda: world.ports,
        telemetry=world.telemetry,
        ids=world.ids,
        ready=be_ready,
    )


async def ask_some(world: MemoryWorld, count: int) -> list[Run]:
    return [await world.ask("ceo", f"Question {n}") for n in range(count)]


async def test_runs_of_a_moment_share_their_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await a_world()
    no_flush(world, monkeypatch)
    calls = watch(world, monkeypatch)
    runs = await ask_some(world, RUNS)
    assert not calls, "nothing is written before its time"
    assert not world.tables.index
    await pass_time(world, LIST_SECONDS)
    assert calls == {"add": 1, "record": 1}
    assert world.tables.index.keys() == {run.run_id for run in runs}
    assert sum(day.runs for day in world.tables.usage.values()) == RUNS
    assert len(world.tables.pending) == RUNS
    await pass_time(world, REMOVAL_SECONDS)
    assert calls == {"add": 1, "record": 1, "drop_all": 1}
    assert world.tables.pending == {}


async def test_a_list_shows_a_run_that_was_just_admitted(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await a_world()
    no_flush(world, monkeypatch)
    (run,) = await ask_some(world, 1)
    page = await world.main.services.runs.list_runs(owner="local")
    assert [listed.run_id for listed in page.items] == [run.run_id]


async def test_usage_counts_a_run_that_just_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await a_world()
    no_flush(world, monkeypatch)
    await ask_some(world, 2)
    usage = world.main.services.usage
    period = usage.choose_period(None, None)
    found = await usage.read(period, by="day", agent_id="ceo", owner=None)
    assert found.total.runs == 2


async def test_a_pending_row_stays_until_its_run_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await a_world()
    add = world.ports.index.add

    async def away(*runs: IndexedRun) -> None:
        raise TransientError("the table is away")

    monkeypatch.setattr(world.ports.index, "add", away)
    (run,) = await ask_some(world, 1)
    assert world.tables.pending.keys() == {run.run_id}
    monkeypatch.setattr(world.ports.index, "add", add)
    await world.advance(60.0)
    assert (world.tables.pending, world.tables.index.keys()) == ({}, {run.run_id})
    assert sum(day.runs for day in world.tables.usage.values()) == 1


async def test_what_a_killed_process_had_not_written_its_successor_writes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await a_world(dies=True)
    no_flush(world, monkeypatch)
    runs = await ask_some(world, 3)
    world.main = another_main(world)
    await world.advance(60.0)
    assert world.tables.pending == {}
    assert world.tables.index.keys() == {run.run_id for run in runs}
    assert sum(day.runs for day in world.tables.usage.values()) == 3


@pytest.mark.parametrize("reply_to", [None, "businessinfinity-responses"])
async def test_a_process_that_dies_before_it_removes_the_rows_has_nothing_told_twice(
    monkeypatch: pytest.MonkeyPatch, reply_to: str | None
) -> None:
    world = await a_world(dies=True)
    no_flush(world, monkeypatch)
    run = await world.ask("ceo", "Hello", reply_to=reply_to)
    await world.main.services.books.write_lists()
    assert world.tables.pending.keys() == {run.run_id}
    sent: list[tuple[str, str]] = []

    def note(what: str, kept: Kept) -> None:
        if what == "send":
            sent.append((kept.entity, str(kept.message_id)))

    world.broker.watchers.append(note)
    world.main = another_main(world)
    await world.advance(60.0)
    assert world.tables.pending == {}
    assert sent == []
    assert sum(day.runs for day in world.tables.usage.values()) == 1


async def test_an_end_is_recorded_when_the_event_of_its_batch_was_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await a_world()
    no_flush(world, monkeypatch)
    publish, published = world.ports.bus.publish, list[str]()
    fails = True

    async def note(event: Event) -> None:
        assert world.tables.seen == {}, "an event is published first"
        if fails and event.id == f"{second.run_id}:completed":
            raise TransientError("the topic is full")
        await publish(event)
        published.append(event.id)

    monkeypatch.setattr(world.ports.bus, "publish", note)
    first, second = await ask_some(world, 2)
    ids = [f"{run.run_id}:completed" for run in (first, second)]
    assert published == []
    await world.main.services.books.write_lists()
    assert published == ids[:1]
    assert world.tables.pending.keys() == {first.run_id, second.run_id}
    fails = False
    await pass_time(world, RETRY_SECONDS)
    assert published == ids, "what was published is not published again"
    assert world.tables.seen.keys() == {first.run_id, second.run_id}


async def test_an_end_that_comes_again_in_a_batch_is_counted_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await a_world()
    no_flush(world, monkeypatch)
    calls = watch(world, monkeypatch)
    first, second = await ask_some(world, 2)
    await world.main.services.books.write_lists()
    third = await world.ask("ceo", "And now?")
    other = another_main(world)
    for run in (first, third):
        request = world.tables.requests[run.run_id].request
        await other.services.replies.deliver(RunEnded.of(request, await world.run(run.run_id)))
    await other.services.books.write_lists()
    assert calls["find"] == 2, "a conflict of the batch has each of its ends looked up"
    assert third.run_id in world.tables.seen
    await world.main.services.books.write_lists()
    assert world.tables.seen.keys() == {first.run_id, second.run_id, third.run_id}
    assert sum(day.runs for day in world.tables.usage.values()) == 3


@pytest.mark.parametrize("port", ["index", "ledger"])
async def test_a_run_that_storage_refuses_keeps_no_other_from_its_batch(
    monkeypatch: pytest.MonkeyPatch, port: str
) -> None:
    world = await a_world()
    no_flush(world, monkeypatch)
    broken, *others = await ask_some(world, 4)
    store, name = (world.ports.index, "add") if port == "index" else (world.ports.ledger, "record")
    real = getattr(store, name)

    async def refuse(*rows: Any) -> None:
        if any(broken.run_id in repr(row) for row in rows):
            raise AosError("internal_error", "the row is refused")
        await real(*rows)

    monkeypatch.setattr(store, name, refuse)
    await pass_time(world, LIST_SECONDS)
    await pass_time(world, REMOVAL_SECONDS)
    assert world.tables.pending.keys() == {broken.run_id}
    assert {run.run_id for run in others} <= world.tables.index.keys() & world.tables.seen.keys()


async def test_a_batch_that_fails_is_tried_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await a_world()
    no_flush(world, monkeypatch)
    record, failures = world.ports.ledger.record, [1, 2]

    async def busy(*runs: Any) -> None:
        if failures:
            raise TransientError(f"the tables are busy ({failures.pop()})")
        await record(*runs)

    monkeypatch.setattr(world.ports.ledger, "record", busy)
    (run,) = await ask_some(world, 1)
    await pass_time(world, LIST_SECONDS)
    assert (world.tables.index.keys(), world.tables.seen) == ({run.run_id}, {})
    for seconds in (RETRY_SECONDS, RETRY_SECONDS, REMOVAL_SECONDS):
        assert world.tables.pending
        await pass_time(world, seconds)
    assert world.tables.seen.keys() == {run.run_id}
    assert world.tables.pending == {}


async def test_an_end_is_reported_in_its_own_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await a_world()
    no_flush(world, monkeypatch)
    seen: list[str] = []
    monkeypatch.setattr(
        world.telemetry, "custom_event", lambda name, **more: seen.append(TRACE.get())
    )
    for trace in ("one", "two"):
        TRACE.set(trace)
        await ask_some(world, 1)
    seen.clear()
    await world.main.services.books.write_lists()
    assert seen == ["one", "two"]


async def test_a_refused_request_leaves_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await a_world()
    run = await world.ask("ceo", "Mine.", conversation_id="c", owner="ann")
    written: list[str] = []
    put = world.ports.pending.put

    async def note(pending: PendingRun) -> None:
        written.append(pending.run_id)
        await put(pending)

    monkeypatch.setattr(world.ports.pending, "put", note)
    with pytest.raises(Refused, match="no conversation 'c' of yours"):
        await world.ask("ceo", "Whose?", conversation_id="c", owner="bob")
    await pass_time(world, REMOVAL_SECONDS)
    assert len(written) == 1
    assert world.tables.pending == {}
    assert world.tables.requests.keys() == {run.run_id}


async def test_a_conversation_is_read_while_the_pending_row_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await a_world()
    await world.ask("ceo", "One", conversation_id="c")
    put, load, begun = world.ports.pending.put, world.ports.conversations.load, asyncio.Event()

    async def wait_for_the_row(conversation_id: str, **more: Any) -> Loaded:
        await begun.wait()
        return await load(conversation_id, **more)

    async def begin(pending: PendingRun) -> None:
        begun.set()
        await put(pending)

    monkeypatch.setattr(world.ports.conversations, "load", wait_for_the_row)
    monkeypatch.setattr(world.ports.pending, "put", begin)
    async with asyncio.timeout(5):
        await world.ask("ceo", "Two", conversation_id="c")


async def test_a_process_that_is_told_to_stop_writes_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await a_world()
    no_flush(world, monkeypatch)
    (run,) = await ask_some(world, 1)
    await pass_time(world, 0.0)
    assert not world.main.drain.is_idle
    world.main.drain.begin()
    for _ in range(100):
        await asyncio.sleep(0)
    assert world.tables.index.keys() == {run.run_id}
    assert world.tables.seen.keys() == {run.run_id}
