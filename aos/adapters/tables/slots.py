"""Keeps the slots of conversations in the table `aosruns`. Entry point: `AzureSlots`.

Partition `conversation_id`, row `busy`: the run that was admitted last. Only conversations of
agents with `on_busy: reject` have the row. It stays when the run ends, and is overwritten by the
next run of the conversation.
"""

from __future__ import annotations

from dataclasses import replace

from aos.adapters.tables.account import Table, read_etag
from aos.adapters.tables.rows import SCHEMA, check_schema
from aos.domain.codec import decode, encode
from aos.ports.slots import Slot

ROW = "busy"
NOT_STORED = ("conversation_id", "etag")


class AzureSlots:
    """The slots. Implements `ConversationSlots`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def find(self, conversation_id: str) -> Slot | None:
        """Return the conversation's slot, or None. One call."""
        entity = await self._table.get(conversation_id, ROW)
        if entity is None:
            return None
        check_schema(entity)
        slot = decode(Slot, {**entity, "conversation_id": conversation_id})
        return replace(slot, etag=read_etag(entity))

    async def take(self, slot: Slot, *, over: Slot | None) -> None:
        """Write the slot in the place of `over`. Raises StaleWrite if another took it. One call."""
        entity = {
            "PartitionKey": slot.conversation_id,
            "RowKey": ROW,
            "schema": SCHEMA,
            **encode(slot, without=NOT_STORED),
        }
        if over is None:
            await self._table.insert(entity)
        else:
            await self._table.replace(entity, etag=over.etag or "")
