"""Keeps where the push notifications of A2A tasks go, in the table `aosruns`. Entry point:
`AzurePushConfigs`.

Partition `run_id`, row `push:<config_id>`, beside the request row, with which it ends.
"""

from __future__ import annotations

from aos.adapters.tables.account import Entity, Table
from aos.adapters.tables.rows import check_schema, document, pack
from aos.domain.codec import decode, encode
from aos.domain.pushes import PushConfig

PUSH = "push:"
AFTER_PUSHES = "push;"


class AzurePushConfigs:
    """The receivers of push notifications. Implements `PushConfigStore`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def put(self, config: PushConfig) -> None:
        """Write a receiver. One call."""
        (packed,) = pack([encode(config)])
        await self._table.put(packed.entity(config.run_id, f"{PUSH}{config.config_id}"))

    async def list_all(self, run_id: str) -> list[PushConfig]:
        """Return the receivers of a run, by their ids. One call."""
        rows = await self._table.query(
            "PartitionKey eq @run and RowKey ge @start and RowKey lt @end",
            run=run_id,
            start=PUSH,
            end=AFTER_PUSHES,
        )
        return [_read(row) for row in rows]

    async def find(self, run_id: str, config_id: str) -> PushConfig | None:
        """Return a receiver, or None. One call."""
        row = await self._table.get(run_id, f"{PUSH}{config_id}")
        return None if row is None else _read(row)

    async def drop(self, run_id: str, config_id: str) -> None:
        """Remove a receiver if it exists. One call."""
        await self._table.delete(run_id, f"{PUSH}{config_id}")


def _read(row: Entity) -> PushConfig:
    check_schema(row)
    return decode(PushConfig, document(row))
