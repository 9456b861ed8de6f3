"""What a caller may read back, and what not."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest

from aos.domain.caller import Caller
from aos.errors import Refused, TransientError
from aos.ports.index import IndexedRun
from aos.ports.model import ModelAnswer, ModelCall
from aos.services.admission import RunRequest
from aos.testing import Calls, MemoryWorld, ScriptedModel


async def test_a_conversation_of_another_owner_is_in_no_list_though_its_id_was_raced_for() -> None:
    world = MemoryWorld(model=ScriptedModel("one"))
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    await world.ask("ceo", "Hello", conversation_id="c", owner="ann")
    ((run_id, row),) = world.tables.index.items()
    (head,) = (await world.main.services.runs.list_conversations(owner="ann")).items
    assert head.owner == "ann"
    world.tables.index[run_id] = replace(row, owner="bob")  # as if his had been listed first
    assert (await world.main.services.runs.list_conversations(owner="bob")).items == []


async def test_a_run_whose_admission_could_not_list_it_is_listed_by_its_end() -> None:
    world = MemoryWorld(model=ScriptedModel("one"))
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    add, tries = world.ports.index.add, count()

    async def away_at_first(*runs: IndexedRun) -> None:
        if not next(tries):
            raise TransientError("the lists are away")
        await add(*runs)

    world.ports.index.add = away_at_first  # type: ignore[method-assign]
    services = world.main.services
    admission = await services.admissions.admit(
        RunRequest(agent_id="ceo", message="Hello"),
        door="http",
        scope="http:ann",
        key=None,
        caller=Caller(owner="ann"),
    )
    assert (await services.runs.list_runs(owner="ann")).items == []
    await world.settle()
    run = await world.run(admission.request.run_id, owner="ann")
    assert (await services.runs.list_runs(owner="ann")).items == [run]


async def test_runs_that_realm_has_not_taken_are_queued_in_their_conversation() -> None:
    world = MemoryWorld(model=ScriptedModel(Calls(("no_such_tool", {})), "one", "two", "three"))
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    runs, admissions = world.main.services.runs, world.main.services.admissions
    assert isinstance(world.model, ScriptedModel)
    complete, later, queued = world.model.complete, list[str](), list[tuple[str, ...]]()

    async def look(call: ModelCall) -> ModelAnswer:
        if world.tables.conversations and not later:  # the second turn: the first is saved
            for _ in range(2):
                admitted = await admissions.admit(
                    RunRequest(agent_id="ceo", message="And then?", conversation_id="c"),
                    door="http",
                    scope="http:ann",
                    key=None,
                    caller=Caller(owner="ann"),
                )
                later.append(admitted.request.run_id)
                world.clock.advance(0.01)
            head = await runs.find_conversation("c", owner="ann")
            queued.append(await runs.list_queued(head))
        return await complete(call)

    world.model.complete = look  # type: ignore[method-assign]
    await world.ask("ceo", "Hello", conversation_id="c", owner="ann")
    assert queued == [tuple(later)]
    assert await runs.list_queued(await runs.find_conversation("c", owner="ann")) == ()


async def test_a_conversation_that_realm_has_not_seen_is_its_owners() -> None:
    world = MemoryWorld(model=ScriptedModel("one"))
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    runs = world.main.services.runs
    admitted = await world.main.services.admissions.admit(
        RunRequest(agent_id="ceo", message="Hello", conversation_id="c"),
        door="http",
        scope="http:ann",
        key=None,
        caller=Caller(owner="ann"),
    )
    head = await runs.find_conversation("c", owner="ann")
    assert (head.owner, head.agent_id, head.next_sequence) == ("ann", "ceo", 0)
    assert await runs.list_queued(head) == (admitted.run.run_id,)
    assert (await runs.list_messages("c", owner=None)).items == []
    assert (await runs.list_conversations(owner="ann")).items == [head]
    assert (await runs.list_conversations(owner="bob")).items == []
    with pytest.raises(Refused) as caught:
        await runs.find_conversation("c", owner="bob")
    assert caught.value.code == "conversation_not_found"
