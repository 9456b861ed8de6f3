"""What realm reads, writes and sends for a turn, and what is not sent again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from aos.domain.envelope import (
    MAIN_QUEUE,
    REALM_QUEUE,
    DeleteConversation,
    RunEnded,
    StartRun,
    to_realm,
)
from aos.domain.runs.conversation import MAX_KEPT_OUTBOX, Conversation
from aos.errors import TransientError
from tests.unit.entrypoints.laptop_in_memory import InMemory

T = TypeVar("T")
ASK = {"agent_id": "ceo", "conversation_id": "board", "wait_seconds": 0}
MONTH = 31 * 86400.0


class Recorder:
    """An instance of realm whose storage calls and messages are kept."""

    def __init__(self, apps: InMemory) -> None:
        self.calls: list[str] = []
        self.sent: list[str] = []
        self.bus_is_away = False
        apps.realm = apps.new_realm(world=apps.new_world(self._intercept))

    async def _intercept(self, operation: str, key: str, act: Callable[[], T]) -> T:
        if operation == "bus.send":
            self.sent.append(key)
        port = operation.partition(".")[0]
        if port == "bus" and self.bus_is_away:
            raise TransientError("Service Bus is away")
        if port not in ("bus", "blob"):
            self.calls.append(operation)
        return act()

    def take_calls(self) -> list[str]:
        """The storage calls since the last look."""
        calls, self.calls = self.calls, []
        return calls


async def ask(apps: InMemory, text: str = "Hello", **more: Any) -> str:
    """A run that main has admitted; its StartRun waits."""
    answer = await apps.ask({**ASK, "message": text, **more})
    assert answer.status == 202, answer.body
    return str(answer.body["run_id"])


async def run(apps: InMemory, text: str = "Hello", **more: Any) -> str:
    """A run from its admission to the delivery of its end."""
    run_id = await ask(apps, text, **more)
    await apps.settle()
    return run_id


def head_of(apps: InMemory, name: str = "board") -> Conversation:
    return apps.tables.conversations[name].head


def list_ends(apps: InMemory) -> list[str]:
    return [o.command.run_id for o in head_of(apps).outbox if isinstance(o.command, RunEnded)]


async def test_a_turn_is_one_save_and_its_end_stays_in_the_head_until_the_next(
    apps: InMemory,
) -> None:
    realm = Recorder(apps)
    first = await run(apps)
    assert sorted(realm.take_calls()) == [
        "conversations.load",
        "conversations.save",
        "requests.find",
    ]
    assert list_ends(apps) == [first]
    second = await run(apps)
    assert realm.take_calls().count("conversations.save") == 1
    assert list_ends(apps) == [second]
    assert realm.sent == [f"{first}:ended", f"{second}:ended"]


async def test_a_later_turn_makes_the_calls_of_a_first_one(apps: InMemory) -> None:
    realm = Recorder(apps)
    await run(apps)
    first = sorted(realm.take_calls())
    await run(apps)
    assert sorted(realm.take_calls()) == first
    assert [m.content for m in apps.model.calls[-1].messages[1:]] == ["Hello", "answer 1", "Hello"]


async def test_the_head_of_a_conversation_that_begins_with_its_run_is_not_read(
    apps: InMemory,
) -> None:
    realm = Recorder(apps)
    run_id = await run(apps, conversation_id=None)
    assert sorted(realm.take_calls()) == ["conversations.save", "requests.find"]
    assert head_of(apps, run_id).next_sequence == 2


@pytest.mark.parametrize("ends", [True, False], ids=["after its end", "at the same time"])
async def test_a_start_of_a_new_conversation_that_comes_twice_runs_once(
    apps: InMemory, ends: bool
) -> None:
    run_id = await ask(apps, conversation_id=None)
    stored = await apps.world.requests.find(run_id)
    assert stored is not None
    if ends:
        await apps.settle()
    await apps.bus.send(to_realm(StartRun(request=stored.request)))
    await apps.settle()
    rows = apps.tables.conversations[run_id]
    assert [rows.messages[n].content for n in sorted(rows.messages)] == ["Hello", "answer 1"]
    assert rows.runs[run_id].output == "answer 1"
    assert rows.runs[run_id].status == "completed"


async def test_a_deletion_that_comes_before_the_start_of_a_new_conversation_holds(
    apps: InMemory,
) -> None:
    run_id = await ask(apps, conversation_id=None)
    start = apps.broker.accept_session(REALM_QUEUE)
    assert start is not None
    held = apps.broker.receive_in(start)
    assert held is not None
    deletion = DeleteConversation(
        conversation_id=run_id, deleted_at=apps.clock.now(), first_run_id=run_id
    )
    await apps.realm.services.execution.handle(deletion)
    assert head_of(apps, run_id).is_deleted
    await apps.deliver(held, apps.realm.commands.handle)
    await apps.settle()
    assert head_of(apps, run_id).is_deleted
    assert apps.tables.conversations[run_id].messages == {}


async def test_another_instance_reads_the_history(apps: InMemory) -> None:
    await run(apps)
    other = Recorder(apps)
    await run(apps)
    assert other.take_calls().count("conversations.read_history") == 1
    assert [m.content for m in apps.model.calls[-1].messages[1:]] == ["Hello", "answer 1", "Hello"]


async def test_another_instance_does_not_send_an_end_that_main_has_recorded(
    apps: InMemory,
) -> None:
    await run(apps)
    other = Recorder(apps)
    second = await run(apps)
    assert other.sent == [f"{second}:ended"]


async def test_another_instance_sends_an_end_that_could_not_be_sent(apps: InMemory) -> None:
    realm = Recorder(apps)
    first = await ask(apps)
    realm.bus_is_away = True
    session = apps.broker.accept_session(REALM_QUEUE)
    assert session is not None
    kept = apps.broker.receive_in(session)
    assert kept is not None
    with pytest.raises(TransientError):  # its lock ends while the bus is away
        await apps.deliver(kept, apps.realm.commands.handle)
    assert apps.broker.messages(MAIN_QUEUE) == []
    assert list_ends(apps) == [first]
    other = Recorder(apps)
    await apps.settle()
    assert other.sent == [f"{first}:ended"]
    assert list(apps.tables.seen) == [first]


async def test_an_old_end_is_not_sent_again_when_its_record_is_gone(apps: InMemory) -> None:
    first = await run(apps)
    apps.clock.advance(MONTH)
    apps.tables.seen.clear()
    other = Recorder(apps)
    second = await run(apps)
    assert other.sent == [f"{second}:ended"]
    assert list(apps.tables.seen) == [second]
    assert first != second


async def test_a_long_end_does_not_stay_in_the_head(apps: InMemory) -> None:
    apps.model.then("long " * MAX_KEPT_OUTBOX)
    realm = Recorder(apps)
    await run(apps)
    assert head_of(apps).outbox == ()
    assert realm.take_calls().count("conversations.save") == 2


async def test_a_deleted_conversation_keeps_no_end(apps: InMemory) -> None:
    await run(apps)
    assert list_ends(apps)
    deletion = DeleteConversation(conversation_id="board", deleted_at=apps.clock.now())
    await apps.bus.send(to_realm(deletion))
    await apps.settle()
    assert head_of(apps).is_deleted
    assert head_of(apps).outbox == ()


@pytest.mark.parametrize("text", ["short", "long " * MAX_KEPT_OUTBOX])
async def test_a_start_that_comes_twice_runs_once(apps: InMemory, text: str) -> None:
    apps.model.then(text)
    first = await ask(apps)
    stored = await apps.world.requests.find(first)
    assert stored is not None
    await apps.bus.send(to_realm(StartRun(request=stored.request)))
    await apps.settle()
    messages = apps.tables.conversations["board"].messages
    assert [messages[n].content for n in sorted(messages)] == ["Hello", text]
    assert head_of(apps).next_sequence == len(messages)
    run_row = apps.tables.conversations["board"].runs[first]
    assert run_row.output == text


async def test_a_start_that_comes_again_soon_asks_no_model(apps: InMemory) -> None:
    first = await run(apps)
    stored = await apps.world.requests.find(first)
    assert stored is not None
    await apps.bus.send(to_realm(StartRun(request=stored.request)))
    await apps.settle()
    assert len(apps.model.calls) == 1


async def test_the_catalog_is_looked_at_while_the_conversation_is_read(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = asyncio.Event()

    async def intercept(operation: str, key: str, act: Callable[[], T]) -> T:
        if operation == "conversations.load":
            async with asyncio.timeout(2):
                await looked.wait()
        return act()

    apps.realm = apps.new_realm(world=apps.new_world(intercept))
    catalog = apps.realm.services.catalog
    find = catalog.find

    async def look(agent_id: str, **more: Any) -> Any:
        looked.set()
        return await find(agent_id, **more)

    monkeypatch.setattr(catalog, "find", look)
    run_id = await run(apps)
    assert apps.tables.conversations["board"].runs[run_id].status == "completed"
