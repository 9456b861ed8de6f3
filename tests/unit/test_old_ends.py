"""The end of a run that comes when the run's rows are gone, as a replayed dead letter brings it."""

from __future__ import annotations

from aos.domain.envelope import RunEnded
from aos.testing import MemoryWorld, ScriptedModel

DAY = 86400.0


async def test_an_end_that_comes_after_its_rows_are_gone_is_neither_answered_nor_counted() -> None:
    world = MemoryWorld(model=ScriptedModel("Yes."))
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    run = await world.ask("ceo", "Hello", key="k", reply_to="businessinfinity-responses")
    request = world.tables.requests[run.run_id].request
    await world.main.services.books.flush()
    counted = dict(world.tables.usage)
    for days in (29, 1, 1, 1):
        world.clock.advance(days * DAY)  # at once, as while AOS is away
        await world.advance(600)
        await world.main.services.cleaner.clean()
    assert run.run_id not in world.tables.requests
    replies = world.replies()
    await world.main.services.replies.deliver(RunEnded.of(request, run))
    await world.main.services.books.flush()
    assert world.replies() == replies
    assert world.tables.usage == counted
