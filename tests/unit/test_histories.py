"""What realm remembers of histories: only what stands, and not for ever."""

from __future__ import annotations

from dataclasses import replace

from aos.adapters.memory import ManualClock, MemoryConversationStore, MemoryTables
from aos.domain.runs.conversation import Message, Step
from aos.services.execution.histories import LARGEST_HISTORY, REMEMBERED_SECONDS, Histories
from tests.samples import a_head, a_request, some_messages


class World:
    """A conversation whose saves are followed, and a store that counts its reads."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.reads = 0
        self.request = a_request()
        self.store = MemoryConversationStore(MemoryTables(), intercept=self._count)
        self.histories = Histories(conversations=self.store, clock=self.clock)
        self.etag: str | None = None
        self.count = 0

    async def _count(self, operation, key, act):  # type: ignore[no-untyped-def]
        self.reads += operation == "conversations.read_history"
        return act()

    async def say(self, number: int, *, text: str = "hm", is_followed: bool = True) -> None:
        """Save so many more messages."""
        added = some_messages(self.request, range(self.count, self.count + number))
        self.count += number
        step = Step(
            conversation=a_head(self.request, next_sequence=self.count),
            messages=tuple(replace(message, content=text) for message in added),
        )
        was, self.etag = self.etag, await self.store.save(step, etag=self.etag)
        if is_followed:
            self.histories.follow(step, was=was, now=self.etag)

    async def read(self, limit: int = 40) -> list[Message]:
        assert self.etag is not None
        name = self.request.conversation_id
        return [*await self.histories.read(name, etag=self.etag, before=self.count, limit=limit)]

    async def stored(self, limit: int = 40) -> list[Message]:
        name = self.request.conversation_id
        return await self.store.read_history(name, before=self.count, limit=limit)


async def test_what_this_process_wrote_is_not_read() -> None:
    world = World()
    for _ in range(3):
        await world.say(2)
        assert await world.read() == await world.stored()
    assert await world.read(limit=3) == await world.stored(limit=3)
    assert world.reads == 4  # those of the comparison


async def test_what_another_process_wrote_is_read_once() -> None:
    world = World()
    await world.say(2)
    await world.say(2, text="of another", is_followed=False)
    assert await world.read() == await world.stored()
    await world.say(2)
    assert await world.read() == await world.stored()
    assert world.reads == 1 + 2


async def test_a_longer_window_than_was_read_is_read_again() -> None:
    world = World()
    await world.say(30, is_followed=False)
    assert await world.read(limit=4) == await world.stored(limit=4)
    assert await world.read(limit=20) == await world.stored(limit=20)
    assert world.reads == 2 + 2


async def test_a_history_that_begins_anew_is_not_the_old_one() -> None:
    world = World()
    await world.say(4)
    deleted = Step(
        conversation=a_head(world.request, next_sequence=0), removed_messages=tuple(range(4))
    )
    was, world.etag = world.etag, await world.store.save(deleted, etag=world.etag)
    world.histories.follow(deleted, was=was, now=world.etag)
    world.count = 0
    await world.say(2, text="anew")
    assert [message.content for message in await world.read()] == ["anew", "anew"]


async def test_a_history_that_another_process_began_anew_is_read() -> None:
    world = World()
    await world.say(2)
    deleted = Step(conversation=a_head(world.request), removed_messages=(0, 1))
    world.etag = await world.store.save(deleted, etag=world.etag)
    world.count = 0
    await world.say(2, text="anew", is_followed=False)
    assert [message.content for message in await world.read()] == ["anew", "anew"]


async def test_large_and_old_histories_are_not_remembered() -> None:
    world = World()
    await world.say(2, text="x" * LARGEST_HISTORY)
    assert len(await world.read()) == 2
    assert len(await world.read()) == 2
    assert world.reads == 2
    old = World()
    await old.say(2)
    other = World()
    old.clock.advance(REMEMBERED_SECONDS + 1)
    await other.say(2)
    step = Step(
        conversation=a_head(other.request, next_sequence=2),
        messages=some_messages(other.request, range(2)),
    )
    old.histories.follow(step, was=None, now="1")
    assert len(await old.read()) == 2
    assert old.reads == 1
