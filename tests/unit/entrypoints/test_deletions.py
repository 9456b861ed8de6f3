"""DELETE of a conversation over HTTP, while Service Bus is away too, and its unknown ids."""

from __future__ import annotations

from datetime import timedelta

import pytest

from aos.domain.envelope import REALM_QUEUE
from aos.errors import TransientError
from tests.unit.entrypoints.laptop_in_memory import InMemory, Reply, call

ASK = {"agent_id": "ceo", "message": "What now?", "conversation_id": "c1"}


async def delete(apps: InMemory, name: str = "c1") -> Reply:
    return await call(apps.main.conversations.delete, "DELETE", parts={"conversation_id": name})


async def read(apps: InMemory, name: str = "c1") -> Reply:
    return await call(apps.main.conversations.get, parts={"conversation_id": name})


async def test_a_deleted_conversation_is_gone_and_says_so(apps: InMemory) -> None:
    async with apps.pumping():
        assert (await apps.ask(ASK)).status == 200
    answer = await delete(apps)
    assert (answer.status, answer.body["conversation_id"]) == (202, "c1")
    await apps.settle()
    gone = await read(apps)
    assert (gone.status, gone.code) == (404, "conversation_deleted")
    again = await delete(apps)
    assert (again.status, again.code) == (404, "conversation_deleted")
    listed = await call(apps.main.conversations.list)
    assert listed.body["items"] == []


async def test_what_does_not_exist_cannot_be_deleted(apps: InMemory) -> None:
    for name in ("c1", "no id!"):
        answer = await delete(apps, name)
        assert (answer.status, answer.code) == (404, "conversation_not_found")
    assert apps.tables.due == {}


async def test_a_deletion_is_told_to_realm_when_the_bus_is_back(apps: InMemory) -> None:
    async with apps.pumping():
        assert (await apps.ask(ASK)).status == 200
    send = apps.bus.send

    async def fail(outgoing: object) -> None:
        raise TransientError("Service Bus is away")

    apps.bus.send = fail  # type: ignore[assignment, method-assign]
    assert (await delete(apps)).status == 202
    apps.bus.send = send  # type: ignore[method-assign]
    assert apps.broker.messages(REALM_QUEUE) == []
    apps.clock.advance(timedelta(minutes=2).total_seconds())
    await apps.main.services.cleaner.clean()
    (kept,) = apps.broker.messages(REALM_QUEUE)
    assert str(kept.message_id).startswith("c1:delete:")


@pytest.mark.parametrize("name", ["c1", None], ids=["a name", "named after its run"])
async def test_a_conversation_can_be_deleted_before_realm_has_seen_it(
    apps: InMemory, name: str | None
) -> None:
    asked = await apps.ask({**ASK, "conversation_id": name, "wait_seconds": 0})
    name, run_id = asked.body["conversation_id"], asked.body["run_id"]
    assert (await read(apps, name)).body["queued_run_ids"] == [run_id]
    assert (await delete(apps, name)).status == 202
    await apps.settle()
    gone = await read(apps, name)
    assert (gone.status, gone.code) == (404, "conversation_deleted")
    assert apps.tables.conversations[name].messages == {}
    apps.clock.advance(10)  # the rows of a run are kept while callers may read them
    await apps.settle()
    assert apps.tables.requests[run_id].scrubbed


async def test_a_conversation_that_began_again_is_there_before_realm_has_seen_it(
    apps: InMemory,
) -> None:
    async with apps.pumping():
        assert (await apps.ask(ASK)).status == 200
    await delete(apps)
    await apps.settle()
    apps.clock.advance(60)
    again = []
    for _ in range(2):
        again.append(await apps.ask({**ASK, "wait_seconds": 0}))
        apps.clock.advance(1)
    waiting = [asked.body["run_id"] for asked in again]
    begun = await read(apps)
    assert (begun.status, begun.body["queued_run_ids"]) == (200, waiting)
    assert begun.body["created_at"] == again[0].body["created_at"]
    messages = await call(apps.main.conversations.messages, parts={"conversation_id": "c1"})
    assert messages.body["items"] == []
    assert (await delete(apps)).status == 202
    await apps.settle()
    gone = await read(apps)
    assert (gone.status, gone.code) == (404, "conversation_deleted")


@pytest.mark.parametrize("name", ["c1", None], ids=["a name", "named after its run"])
async def test_a_deletion_that_overtakes_the_first_run_holds_for_it(
    apps: InMemory, name: str | None
) -> None:
    send = apps.bus.send

    async def fail(outgoing: object) -> None:
        raise TransientError("Service Bus is away")

    apps.bus.send = fail  # type: ignore[assignment, method-assign]
    asked = await apps.ask({**ASK, "conversation_id": name, "wait_seconds": 0})
    name, run_id = asked.body["conversation_id"], asked.body["run_id"]
    assert (await delete(apps, name)).status == 202
    apps.clock.advance(timedelta(minutes=2).total_seconds())
    await apps.main.services.cleaner.clean()  # the bus is still away
    apps.bus.send = send  # type: ignore[method-assign]
    apps.clock.advance(timedelta(minutes=6).total_seconds())
    await apps.main.services.cleaner.clean()
    await apps.settle()
    gone = await read(apps, name)
    assert (gone.status, gone.code) == (404, "conversation_deleted")
    await apps.main.services.mender.mend()
    await apps.settle()
    run = await call(apps.main.runs.get, parts={"run_id": run_id})
    assert (run.body["status"], run.body["error"]["code"]) == ("cancelled", "conversation_deleted")
    assert apps.model.calls == []
    apps.clock.advance(10)  # the rows of a run are kept while callers may read them
    await apps.settle()
    assert apps.tables.requests[run_id].scrubbed
