"""DELETE of a conversation over HTTP, while Service Bus is away too, and its unknown ids."""

from __future__ import annotations

from datetime import timedelta

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
