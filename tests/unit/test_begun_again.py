"""A conversation that began again after a deletion outlives the end of that deletion."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from aos.adapters.memory import MemoryDueStore
from aos.ports.cleaning import Due
from aos.testing import MemoryWorld

DAYS = 29 * 86400.0
CEO = {"agent_id": "ceo", "purpose": "Leads."}


async def make_begun_again() -> MemoryWorld:
    """A conversation `c` that was deleted, and has begun again 20 minutes later."""
    world = MemoryWorld()
    await world.put_agent(CEO)
    await world.ask("ceo", "Hello.", conversation_id="c")
    await world.delete_conversation("c")
    await world.advance(600)
    await clean(world)
    await world.ask("ceo", "And now?", conversation_id="c")
    return world


async def clean(world: MemoryWorld) -> None:
    """The timer `clean` ticks, and what it begins is done."""
    await world.main.services.cleaner.clean()
    await world.advance(600)


async def test_what_has_begun_since_outlives_the_thirty_days_of_the_deletion() -> None:
    world = await make_begun_again()
    messages = await world.history("c")
    world.clock.advance(DAYS)  # at once, as while AOS is away
    for _ in range(300):  # until the deletion is over: realm is told, and main looks after that
        await clean(world)
        if not any(due.kind == "deletion" for due in world.tables.due.values()):
            break
    await clean(world)
    assert await world.history("c") == messages
    assert not [due for due in world.tables.due.values() if due.kind == "deletion"]
    await world.delete_conversation("c")
    await world.advance(600)
    assert not world.tables.conversations["c"].messages


async def test_a_deletion_whose_command_was_lost_is_noted_in_what_has_begun_since() -> None:
    """Else a run that was admitted before it, and comes late, would stand in the conversation."""
    world = await make_begun_again()
    at = world.clock.now() - timedelta(seconds=60)
    messages = await world.history("c")
    due = Due(due_at=at, kind="deletion", name="c", about=at)
    await MemoryDueStore(world.tables).put(due)
    await clean(world)
    head = world.tables.conversations["c"].head
    assert head.deleted_at == at
    assert head.began_at is not None
    assert head.began_at > at
    assert await world.history("c") == messages


async def test_a_deletion_covers_what_a_main_with_a_faster_clock_has_admitted() -> None:
    world = await make_begun_again()
    rows = world.tables.conversations["c"]
    ahead = world.clock.now() + timedelta(seconds=5)
    rows.head = replace(rows.head, began_at=ahead)
    await world.delete_conversation("c")
    await world.advance(600)
    assert not world.tables.conversations["c"].messages
    assert world.tables.conversations["c"].head.deleted_at == ahead
