"""What a caller may read back, and what not."""

from __future__ import annotations

from dataclasses import replace

from aos.testing import MemoryWorld, ScriptedModel


async def test_a_conversation_of_another_owner_is_in_no_list_though_its_id_was_raced_for() -> None:
    world = MemoryWorld(model=ScriptedModel("one"))
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    await world.ask("ceo", "Hello", conversation_id="c", owner="ann")
    ((run_id, row),) = world.tables.index.items()
    (head,) = (await world.reading.conversations(owner="ann")).items
    assert head.owner == "ann"
    world.tables.index[run_id] = replace(row, owner="bob")  # as if his had been listed first
    assert (await world.reading.conversations(owner="bob")).items == []
