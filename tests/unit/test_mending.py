"""What nobody else has done is done by the mender, whatever stands in its way."""

from __future__ import annotations

import pytest

from aos.domain.envelope import Outgoing, Reply
from aos.domain.runs.run import RunStatus
from aos.errors import AosError, TransientError
from aos.ports.index import IndexedRun
from aos.testing import MemoryWorld, ScriptedModel


async def lost_starts(world: MemoryWorld, *messages: str) -> list[str]:
    """Runs that were admitted while the bus was away."""
    send = world.ports.bus.send

    async def away(outgoing: Outgoing) -> None:
        raise TransientError("the bus is away")

    world.ports.bus.send = away  # type: ignore[method-assign]
    runs = [await world.ask("ceo", message) for message in messages]
    world.ports.bus.send = send  # type: ignore[method-assign]
    return sorted(run.run_id for run in runs)  # in this order they are looked at


@pytest.mark.parametrize("error", [AosError("internal_error", "never"), KeyError("a bug")])
async def test_a_row_that_breaks_the_mender_keeps_it_from_no_other(error: Exception) -> None:
    world = MemoryWorld(model=ScriptedModel("one", "two"))
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    broken, other = await lost_starts(world, "Hello", "And I")
    send = world.ports.bus.send

    async def refuses(outgoing: Outgoing) -> None:
        if outgoing.command.run_id == broken:
            raise error
        await send(outgoing)

    world.ports.bus.send = refuses  # type: ignore[method-assign]
    world.clock.advance(60.0)
    if isinstance(error, AosError):
        await world.main.services.mender.mend()
    else:
        with pytest.raises(KeyError):
            await world.main.services.mender.mend()
    await world.settle()
    assert (await world.run(other)).status is RunStatus.COMPLETED
    assert (await world.run(broken)).status is RunStatus.QUEUED


async def test_a_run_whose_lists_failed_twice_is_listed_while_it_waits() -> None:
    world = MemoryWorld(model=ScriptedModel("one"))
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    add = world.ports.index.add

    async def away(*runs: IndexedRun) -> None:
        raise TransientError("the lists are away")

    world.ports.index.add = away  # type: ignore[method-assign]
    (run_id,) = await lost_starts(world, "Hello")
    world.ports.bus.send = _drop  # type: ignore[method-assign]
    world.clock.advance(31.0)
    await world.main.services.mender.mend()
    await world.main.services.books.flush()
    world.ports.index.add = add  # type: ignore[method-assign]
    world.clock.advance(61.0)
    await world.main.services.mender.mend()
    listed = await world.main.services.runs.list_runs(owner=None)
    assert [run.run_id for run in listed.items] == [run_id]


async def test_ends_that_cannot_be_delivered_do_not_fill_each_tick() -> None:
    world = MemoryWorld(model=ScriptedModel("one"))
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    reply = world.ports.bus.reply

    async def missing(sent: Reply) -> None:
        raise TransientError("the entity does not exist")

    world.ports.bus.reply = missing  # type: ignore[method-assign]
    await world.ask("ceo", "Hello", key="k", reply_to="businessinfinity-responses")
    world.clock.advance(31.0)
    assert [await world.main.services.mender.mend() for _ in range(2)] == [1, 0]
    world.ports.bus.reply = reply  # type: ignore[method-assign]
    await world.advance(61.0)
    await world.main.services.mender.mend()
    assert len(world.replies()) == 1


async def _drop(outgoing: Outgoing) -> None:
    """The bus takes the message, and nobody gets it."""
