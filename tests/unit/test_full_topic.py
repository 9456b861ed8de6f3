"""A reply is sent once, though the event of its run cannot be published for long."""

from __future__ import annotations

from aos.domain.envelope import Event, Reply
from aos.errors import TransientError
from aos.testing import MemoryWorld, ScriptedModel


async def test_a_topic_that_is_full_does_not_repeat_the_reply() -> None:
    world = MemoryWorld(model=ScriptedModel("Yes."))
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    publish, reply = world.ports.bus.publish, world.ports.bus.reply
    sent: list[str] = []

    async def full(event: Event) -> None:
        raise TransientError("the entity is full")

    async def note(message: Reply) -> None:
        sent.append(message.message_id)
        await reply(message)

    world.ports.bus.publish = full  # type: ignore[method-assign]
    world.ports.bus.reply = note  # type: ignore[method-assign]
    run = await world.ask("ceo", "Hello", key="k", reply_to="businessinfinity-responses")
    for _ in range(4):
        await world.advance(900.0)
        await world.main.services.mender.mend()
    assert sent == [f"{run.run_id}:reply"]
    assert run.run_id in world.tables.pending  # the event is owed
    world.ports.bus.publish = publish  # type: ignore[method-assign]
    await world.advance(2000.0)
    await world.main.services.mender.mend()
    await world.main.services.books.flush()
    assert run.run_id not in world.tables.pending
    assert sent == [f"{run.run_id}:reply"]
    assert sum(day.runs for day in world.tables.usage.values()) == 1
