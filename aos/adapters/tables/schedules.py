"""Keeps the watermarks of schedules in the table `aosschedules`. Entry point: `AzureWatermarks`.

Partition `agent_id`, row the id of the schedule.
"""

from __future__ import annotations

from aos.adapters.tables.account import Entity, Table
from aos.adapters.tables.rows import SCHEMA, check_schema
from aos.domain.codec import decode, encode
from aos.ports.schedules import Watermark

EVERY_ROW = f"schema le {SCHEMA}"
"""Rows that only a newer version can read are skipped."""


class AzureWatermarks:
    """The watermarks. Implements `Watermarks`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def list_all(self) -> list[Watermark]:
        """Return every row. One call for every 1,000 rows."""
        return [_read(entity) for entity in await self._table.query(EVERY_ROW)]

    async def find(self, agent_id: str, schedule_id: str) -> Watermark | None:
        """Return the row, or None. One call."""
        entity = await self._table.get(agent_id, schedule_id)
        return None if entity is None else _read(entity)

    async def put(self, watermark: Watermark) -> None:
        """Write the row, whether or not it exists. One call."""
        await self._table.put(
            {
                "PartitionKey": watermark.agent_id,
                "RowKey": watermark.schedule_id,
                "schema": SCHEMA,
                **encode(watermark, without=("agent_id", "schedule_id")),
            }
        )

    async def drop(self, agent_id: str, schedule_id: str) -> None:
        """Delete the row if it exists. One call."""
        await self._table.delete(agent_id, schedule_id)


def _read(entity: Entity) -> Watermark:
    check_schema(entity)
    names = {"agent_id": entity["PartitionKey"], "schedule_id": entity["RowKey"]}
    return decode(Watermark, {**entity, **names})
