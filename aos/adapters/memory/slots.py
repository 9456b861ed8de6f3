"""Keeps the slots of conversations in memory. Entry point: `MemorySlots`."""

from __future__ import annotations

from dataclasses import replace

from aos.adapters.memory.interception import Interceptor, pass_through
from aos.adapters.memory.tables import MemoryTables
from aos.errors import StaleWrite
from aos.ports.slots import Slot


class MemorySlots:
    """The slots. Implements `ConversationSlots`."""

    def __init__(self, tables: MemoryTables, *, intercept: Interceptor = pass_through) -> None:
        self._tables = tables
        self._intercept = intercept

    async def find(self, conversation_id: str) -> Slot | None:
        """Return the conversation's slot, or None."""
        slots = self._tables.slots
        return await self._intercept(
            "slots.find", conversation_id, lambda: slots.get(conversation_id)
        )

    async def take(self, slot: Slot, *, over: Slot | None) -> None:
        """Write the slot in the place of `over`. Raises StaleWrite if another took it."""
        name = slot.conversation_id

        def act() -> None:
            kept = self._tables.slots.get(name)
            if (None if kept is None else kept.etag) != (None if over is None else over.etag):
                raise StaleWrite(f"the slot of conversation {name!r} was taken by another run")
            self._tables.slots[name] = replace(slot, etag=self._tables.new_etag())
            self._tables.tell_watchers("slots.take", name)

        await self._intercept("slots.take", name, act)
