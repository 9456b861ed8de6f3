"""A reply is sent once, though the usage of its run cannot be written for long."""

from __future__ import annotations

import pytest

from aos.domain.caller import Caller
from aos.domain.envelope import Reply
from aos.errors import TransientError
from aos.ports.ledger import CountedRun
from aos.testing import MemoryWorld, ScriptedModel


@pytest.mark.parametrize("table_is_away", [False, True])
async def test_usage_that_cannot_be_written_does_not_repeat_the_reply(
    *, table_is_away: bool
) -> None:
    """A row of usage may be a newer version's; or the table takes no writes at all."""
    world = MemoryWorld(model=ScriptedModel("Yes."))
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    ledger, reply = world.ports.ledger, world.ports.bus.reply
    record, note = ledger.record, ledger.note_sent
    sent: list[str] = []

    async def away(*runs: CountedRun) -> None:
        raise TransientError("the row of usage has schema version 2")

    async def count_reply(message: Reply) -> None:
        sent.append(message.message_id)
        await reply(message)

    ledger.record = away  # type: ignore[method-assign]
    if table_is_away:
        ledger.note_sent = away  # type: ignore[method-assign]
    world.ports.bus.reply = count_reply  # type: ignore[method-assign]
    run = await world.ask("ceo", "Hello", key="k", reply_to="businessinfinity-responses")
    for _ in range(4):
        await world.advance(900.0)
        await world.main.services.mender.mend()
    assert sent == [f"{run.run_id}:reply"]
    assert world.tables.usage == {}
    assert run.run_id in world.tables.pending  # its usage is owed
    ledger.record, ledger.note_sent = record, note  # type: ignore[method-assign]
    await world.advance(2000.0)
    await world.main.services.mender.mend()
    await world.main.services.books.flush()
    assert run.run_id not in world.tables.pending
    assert sent == [f"{run.run_id}:reply"]
    assert [day.runs for day in world.tables.usage.values()] == [1]


async def test_what_a_deletion_removes_is_counted_first() -> None:
    world = MemoryWorld(model=ScriptedModel("Yes."))
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    ledger = world.ports.ledger
    record = ledger.record

    async def away(*runs: CountedRun) -> None:
        raise TransientError("the row of usage has schema version 2")

    ledger.record = away  # type: ignore[method-assign]
    run = await world.ask("ceo", "Hello", key="k", reply_to="businessinfinity-responses")
    used = run.usage
    assert used.total_tokens
    await world.main.services.deletions.delete(run.conversation_id, Caller(owner="local"))
    await world.advance(3600.0)
    ledger.record = record  # type: ignore[method-assign]
    await world.advance(3600.0)
    await world.main.services.mender.mend()
    await world.main.services.books.flush()
    assert [day.usage for day in world.tables.usage.values()] == [used]
    await world.advance(3600.0)
    assert world.tables.requests[run.run_id].scrubbed
