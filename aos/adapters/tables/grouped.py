"""Groups writes to one partition into shared transactions. Entry point: `GroupedWrites.put`.

While a transaction is under way, further writes to the same partition wait and are sent together in
the next one. Without load each write is sent at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aos.adapters.tables.account import MOST_ROWS, Table, Write
from aos.errors import AosError, OutcomeUnknown


@dataclass(slots=True, eq=False)
class _Wish:
    """The rows of one caller, and their result."""

    rows: Mapping[str, Mapping[str, Any]]
    done: bool = False
    error: AosError | None = None


@dataclass(slots=True)
class _Partition:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: deque[_Wish] = field(default_factory=deque)
    callers: int = 0


class GroupedWrites:
    """Puts rows into the partitions of one table and replaces existing rows."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._partitions: dict[str, _Partition] = {}

    async def put(self, partition: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Write these rows (row key → columns); return when they are written.

        Raises the error of the transaction that contained them.
        """
        place = self._partitions.setdefault(partition, _Partition())
        wish = _Wish(rows)
        place.waiting.append(wish)
        place.callers += 1
        try:
            async with place.lock:
                while not wish.done:
                    await self._write(partition, _next_group(place.waiting))
        finally:
            place.callers -= 1
            if not place.callers:
                self._partitions.pop(partition, None)
        if wish.error is not None:
            raise wish.error

    async def _write(self, partition: str, group: list[_Wish]) -> None:
        error: AosError | None = OutcomeUnknown(f"the write to {partition!r} was cancelled")
        try:
            await self._send(
                partition, {key: row for wish in group for key, row in wish.rows.items()}
            )
            error = None
        except AosError as raised:
            error = raised
        finally:
            for wish in group:
                wish.done, wish.error = True, error

    async def _send(self, partition: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
        entities = [
            {"PartitionKey": partition, "RowKey": key, **columns} for key, columns in rows.items()
        ]
        if len(entities) == 1:
            await self._table.put(entities[0])
        else:
            await self._table.transact([Write(entity=entity) for entity in entities])


def _next_group(waiting: deque[_Wish]) -> list[_Wish]:
    """Return the rows that waited longest, as many as one transaction allows."""
    group = [waiting.popleft()]
    rows = len(group[0].rows)
    while waiting and rows + len(waiting[0].rows) <= MOST_ROWS:
        wish = waiting.popleft()
        rows += len(wish.rows)
        group.append(wish)
    return group
