"""Keeps the events of runs in the table `aosconversations`. Entry point: `AzureRunEventStore`.

Partition `conversation_id`, row `event:<run_id>:<id>`: the events of one checkpoint, or one batch
of provisional ones. Row keys sort as the ids of the events do, so one range query reads them all.
"""

from __future__ import annotations

from aos.adapters.tables.account import MOST_ROWS, Table, Write
from aos.adapters.tables.payloads import Payloads
from aos.adapters.tables.rows import pack
from aos.domain.codec import decode, encode
from aos.domain.runs.run_events import EventId, EventRow
from aos.errors import StaleWrite

PROVISIONAL = "provisional"
"""The property that rows of provisional events have: they go some minutes after the run's end."""
_RANGE = "PartitionKey eq @name and RowKey gt @start and RowKey lt @end"


class AzureRunEventStore:
    """The events of runs. Implements `RunEventStore`."""

    def __init__(self, table: Table, payloads: Payloads) -> None:
        self._table = table
        self._payloads = payloads

    async def read(
        self, conversation_id: str, run_id: str, *, after: EventId, limit: int
    ) -> list[EventRow]:
        """Return at most `limit` rows whose last event comes after `after`. One call."""
        rows = await self._table.query(
            _RANGE,
            limit=limit,
            name=conversation_id,
            start=f"{first_event_key(run_id)}{after.key}",
            end=end_of_events(run_id),
        )
        return [
            decode(EventRow, read) for read in await self._payloads.wholes(conversation_id, rows)
        ]

    async def add(self, conversation_id: str, row: EventRow, *, new: bool = False) -> None:
        """Write provisional events; with `new` only if the row does not exist. One call."""
        (packed,) = pack([encode(row)])
        await self._payloads.keep(conversation_id, packed.payloads)
        entity = packed.entity(conversation_id, name_event_row(row))
        write = self._table.insert if new else self._table.put
        await write({**entity, PROVISIONAL: True})

    async def remove_provisional(self, conversation_id: str, run_id: str, *, limit: int) -> int:
        """Delete at most `limit` rows of provisional events; return how many there were."""
        rows = await self._table.query(
            f"{_RANGE} and {PROVISIONAL} eq true",
            limit=limit,
            select=("PartitionKey", "RowKey"),
            name=conversation_id,
            start=first_event_key(run_id),
            end=end_of_events(run_id),
        )
        keys = [str(row["RowKey"]) for row in rows]
        for start in range(0, len(keys), MOST_ROWS):
            await self._delete(conversation_id, keys[start : start + MOST_ROWS])
        return len(rows)

    async def _delete(self, conversation_id: str, keys: list[str]) -> None:
        """Delete the rows together; one by one if another handler has deleted some of them."""
        entities = [{"PartitionKey": conversation_id, "RowKey": key} for key in keys]
        try:
            await self._table.transact([Write(entity=entity, delete=True) for entity in entities])
        except StaleWrite:
            for key in keys:
                await self._table.delete(conversation_id, key)


def name_event_row(row: EventRow) -> str:
    """The key of a row: that of its last event."""
    return f"{first_event_key(row.run_id)}{row.last_id.key}"


def first_event_key(run_id: str) -> str:
    """The beginning of the keys of the run's events, and a key before all of them."""
    return f"event:{run_id}:"


def end_of_events(run_id: str) -> str:
    """The first key after all events of the run."""
    return f"event:{run_id};"
