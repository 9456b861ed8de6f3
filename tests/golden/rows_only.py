"""Stands in for a table where only the bytes of rows count. Entry point: `RowsOnly`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aos.adapters.tables.account import Write
from aos.adapters.tables.odata import Row

ETAG = "as recorded"


class RowsOnly:
    """Keeps the rows that an adapter writes, in order, and gives them back.

    It knows no conditions and no ETags: tests/contract holds the adapters to real tables.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]] = ()) -> None:
        self.rows: list[dict[str, Any]] = [dict(row) for row in rows]

    async def get(
        self, partition: str, row: str, *, select: Sequence[str] | None = None
    ) -> Row | None:
        """The row under this key, or None."""
        found = [r for r in self.rows if (r["PartitionKey"], r["RowKey"]) == (partition, row)]
        return as_read(found[-1]) if found else None

    async def insert(self, entity: Mapping[str, Any]) -> str:
        """Keep a row."""
        self.rows.append(dict(entity))
        return ETAG

    put = insert

    async def merge(self, entity: Mapping[str, Any], *, etag: str) -> None:
        """Set properties of the row."""
        for row in self.rows:
            if row["RowKey"] == entity["RowKey"]:
                row.update(entity)

    async def transact(self, writes: Sequence[Write]) -> list[str]:
        """Keep all rows."""
        return [await self.insert(write.entity) for write in writes]

    async def query(
        self, condition: str, *, limit: int | None = None, **parameters: str
    ) -> list[Row]:
        """The rows of the partition that is asked for; all where none is named."""
        names = ("partition", "name", "root")
        wanted = next((parameters[name] for name in names if name in parameters), None)
        return [as_read(r) for r in self.rows if wanted in (None, r["PartitionKey"])]


def as_read(row: Mapping[str, Any]) -> Row:
    """The row as a table gives it back: a typed number without its type."""
    properties = {
        name: value[0] if isinstance(value, list | tuple) else value for name, value in row.items()
    }
    return Row(properties, etag=ETAG)
