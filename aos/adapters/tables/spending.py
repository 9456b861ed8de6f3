"""Keeps what was spent of daily budgets in the table `aosusage`. Entry point:
`AzureSpendingStore`.

Partition: the agent's id, or `owner:<hash>`. Row `spent:<date>`. Only agents and owners with a
budget have the row.
"""

from __future__ import annotations

import json

from aos.adapters.tables.account import Table, read_etag
from aos.adapters.tables.odata import as_int64
from aos.adapters.tables.rows import SCHEMA, check_schema
from aos.domain.budgets import DaySpending
from aos.domain.json_writer import write_json
from aos.ports.spending import StoredSpending


class AzureSpendingStore:
    """The spending. Implements `SpendingStore`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def read(self, account: str, day: str) -> StoredSpending:
        """Return the row of an account and a day. One call."""
        entity = await self._table.get(account, _name_row(day))
        if entity is None:
            return StoredSpending()
        check_schema(entity)
        spending = DaySpending(
            tokens=entity["tokens"],
            turns=entity["turns"],
            lost_turns=entity["lost_turns"],
            open_turns=json.loads(entity["open_turns"]),
        )
        return StoredSpending(spending=spending, etag=read_etag(entity))

    async def write(
        self, account: str, day: str, spending: DaySpending, *, etag: str | None
    ) -> str:
        """Write the row in the place of the one with `etag`. One call."""
        entity = {
            "PartitionKey": account,
            "RowKey": _name_row(day),
            "schema": SCHEMA,
            "tokens": as_int64(spending.tokens),
            "turns": as_int64(spending.turns),
            "lost_turns": as_int64(spending.lost_turns),
            "open_turns": write_json(spending.open_turns),
        }
        if etag is None:
            return await self._table.insert(entity)
        return await self._table.merge(entity, etag=etag)


def _name_row(day: str) -> str:
    return f"spent:{day}"
