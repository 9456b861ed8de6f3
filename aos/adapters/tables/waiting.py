"""Keeps what waits for a person in the table `aostoolcalls`. Entry point: `WaitingRows`.

Partition `run_id`: what was asked. A partition of its own: a row for each item that still waits,
ordered by time, so that the list takes one query.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from aos.adapters.tables.account import Entity, Table
from aos.adapters.tables.payloads import Payloads
from aos.adapters.tables.rows import pack
from aos.domain.codec import decode, encode
from aos.domain.wire_time import count_milliseconds
from aos.ports.paging import Page

LAST = "A"
"""A key after every row of the list, because their keys begin with digits."""
LONGEST_TOKEN = 200


class Waiting(Protocol):
    """What waits for a person."""

    @property
    def run_id(self) -> str:
        """Its run."""
        ...

    @property
    def conversation_id(self) -> str:
        """The run's conversation."""
        ...

    @property
    def owner(self) -> str:
        """The run's owner."""
        ...

    @property
    def requested_at(self) -> datetime:
        """When it was asked."""
        ...


W = TypeVar("W", bound=Waiting)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingRows(Generic[W]):
    """The rows of one kind: `kind` is its class, `identify` its id in the run, `suffix` ends the
    row's key, `partition` holds the list."""

    table: Table
    payloads: Payloads
    kind: Callable[..., W]
    identify: Callable[[W], str]
    suffix: str
    partition: str

    async def ask(self, item: W) -> None:
        """Add an item to those that wait. Two calls.

        The row of the list is written second, so that every listed item can be decided.
        """
        (packed,) = pack([encode(item)])
        await self.payloads.keep(item.conversation_id, packed.payloads)
        row = f"{self.identify(item)}:{self.suffix}"
        names = {"conversation_id": item.conversation_id, "owner": item.owner}
        await self.table.put({**packed.entity(item.run_id, row), **names})
        await self.table.put({**packed.entity(self.partition, self._place(item)), **names})

    async def find(self, run_id: str, item_id: str) -> W | None:
        """Return what was asked. One call."""
        asked = await self.table.get(run_id, f"{item_id}:{self.suffix}")
        return None if asked is None else await self._read(asked)

    async def list_waiting(self, *, owner: str | None, after: str | None, limit: int) -> Page[W]:
        """List the open items, oldest first. One call."""
        mine, parameters = "", {}
        if owner is not None:
            mine, parameters = " and owner eq @owner", {"owner": owner}
        rows = await self.table.query(
            f"PartitionKey eq @partition and RowKey gt @after and RowKey lt @end{mine}",
            limit=limit + 1,
            partition=self.partition,
            after=(after or "")[:LONGEST_TOKEN],
            end=LAST,
            **parameters,
        )
        items = rows[:limit]
        return Page(
            items=[await self._read(row) for row in items],
            next=items[-1]["RowKey"] if len(rows) > limit else None,
        )

    async def close(self, item: W) -> None:
        """Remove an item from the list. One call."""
        await self.table.delete(self.partition, self._place(item))

    def _place(self, item: W) -> str:
        return make_place(item.requested_at, item.run_id, self.identify(item))

    async def _read(self, row: Entity) -> W:
        return decode(self.kind, await self.payloads.whole(row["conversation_id"], row))


def make_place(asked: datetime, run_id: str, item_id: str) -> str:
    """Return the key of a row in a list: first the time, then the ids."""
    return f"{count_milliseconds(asked):015d}-{run_id}-{item_id}"
