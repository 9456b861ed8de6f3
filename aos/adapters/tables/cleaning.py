"""Keeps what is to be cleaned, and removes old rows. Entry points: `AzureDueStore`,
`AzureRunCleaner`.

In the table `aosindex`, partition `due`: a row for each thing that is to be looked at, ordered by
its time, so that one query finds what is due. Partition `windows`: how far the lists of runs were
looked through. The lists themselves are ordered by time, so that what is old is one range of keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from aos.adapters.tables.account import Entity, Table
from aos.adapters.tables.index import (
    AFTER_DIGITS,
    EVERYBODY,
    hash_owner,
    invert,
    make_columns,
    make_key,
    name_first_row,
    read_entry,
)
from aos.adapters.tables.payloads import make_folder_name
from aos.adapters.tables.requests import CHILD, ROW
from aos.adapters.tables.rows import SCHEMA, check_schema
from aos.adapters.tables.slots import ROW as SLOT
from aos.domain.codec import decode, encode
from aos.domain.wire_time import count_milliseconds, from_wire_time, to_wire_time
from aos.errors import OutcomeUnknown, StaleWrite
from aos.ports.blobs import BlobStore
from aos.ports.cleaning import Due, OldRun, Window
from aos.ports.index import IndexedRun

DUE = "due"
WINDOWS = "windows"
AT_ONCE = 16
LAST = "~"
"""A key after every key: they begin with letters and digits."""


class AzureDueStore:
    """What is to be cleaned, and the windows. Implements `DueStore`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def put(self, due: Due) -> None:
        """Write it. One call."""
        keys = {"PartitionKey": DUE, "RowKey": _place(due), "schema": SCHEMA}
        await self._table.put({**keys, **encode(due)})

    async def list_due(self, now: datetime, *, limit: int) -> list[Due]:
        """Return what is due, in the order of its time. One call."""
        rows = await self._table.query(
            "PartitionKey eq @partition and RowKey lt @end",
            limit=limit,
            partition=DUE,
            end=f"{count_milliseconds(now) + 1:015d}",
        )
        for row in rows:
            check_schema(row)
        return [decode(Due, row) for row in rows]

    async def drop(self, due: Due) -> None:
        """Remove it. One call."""
        await self._table.delete(DUE, _place(due))

    async def read_windows(self) -> Mapping[str, Window]:
        """Return all windows. One call."""
        rows = await self._table.query("PartitionKey eq @partition", partition=WINDOWS)
        return {str(row["RowKey"]): decode(Window, row) for row in rows}

    async def write_window(self, name: str, window: Window) -> None:
        """Write a window. One call."""
        columns = {k: v for k, v in encode(window).items() if v is not None}
        keys = {"PartitionKey": WINDOWS, "RowKey": name, "schema": SCHEMA}
        await self._table.put({**keys, **columns})


class AzureRunCleaner:
    """The rows of runs and of usage whose time is over. Implements `RunCleaner`."""

    def __init__(
        self, *, index: Table, requests: Table, tool_calls: Table, usage: Table, data: BlobStore
    ) -> None:
        self._index = index
        self._requests = requests
        self._tool_calls = tool_calls
        self._usage = usage
        self._data = data

    async def list_old(self, window: Window, *, agent_id: str | None, limit: int) -> list[OldRun]:
        """Return entries in a window, the newest first. One call."""
        assert window.end is not None
        newest = window.after or invert(window.end)
        rows = await self._index.query(
            "PartitionKey eq @partition and RowKey gt @newest and RowKey lt @oldest",
            limit=limit,
            partition=EVERYBODY if agent_id is None else f"agent:{agent_id}",
            newest=newest,
            oldest=AFTER_DIGITS if window.done is None else invert(window.done),
        )
        return [
            OldRun(run=read_entry(row), place=str(row["RowKey"]), first=bool(row["first"]))
            for row in rows
        ]

    async def find_end(self, run_id: str, *, agent_id: str) -> datetime | None:
        """Return when the run ended, by the record of its reply. One call."""
        row = await self._usage.get(agent_id, f"seen:{run_id}")
        return None if row is None else from_wire_time(row["ended_at"])

    async def remove_run(self, run: IndexedRun, *, listed: bool) -> None:
        """Remove the rows of a run. Ten calls, and one for each tool call, child, receiver of
        push notifications and blob; the rows that lead here go last."""
        run_id = run.run_id
        await self._remove(self._tool_calls, run_id)
        if run_id != run.conversation_id:
            await self._empty(make_folder_name(run_id))
        # children and receivers, not the slot of a conversation that has the run's id
        await self._remove(self._requests, run_id, start=CHILD, end=ROW)
        await self._requests.delete(run_id, ROW)
        if listed:
            await self._mark(run)
        else:
            await self._unlist(run)
        await self._usage.delete(run.agent_id, f"seen:{run_id}")

    async def unlist(self, conversation_id: str) -> None:
        """Remove the entry that lists a conversation. Five calls, one if there is none."""
        row = await self._index.get(EVERYBODY, name_first_row(conversation_id))
        if row is not None:
            await self._unlist(read_entry(row))
        await self._requests.delete(conversation_id, SLOT)

    async def remove_usage(self, account: str, *, day: datetime) -> None:
        """Remove the rows of a day. Two calls, and one for each row."""
        date = str(to_wire_time(day))[:10]
        await self._remove(self._usage, account, start=f"day:{date}:", end=f"day:{date};")
        await self._usage.delete(account, f"spent:{date}")

    async def _mark(self, run: IndexedRun) -> None:
        """Note which entry lists the conversation, so that `unlist` finds it."""
        row = name_first_row(run.conversation_id)
        marker = {"PartitionKey": EVERYBODY, "RowKey": row, **make_columns(run, first=True)}
        try:
            await self._index.insert(marker)
        except (StaleWrite, OutcomeUnknown):
            return

    async def _unlist(self, run: IndexedRun) -> None:
        """Remove an entry from its lists, and the mark that it lists its conversation."""
        key, first = make_key(run), name_first_row(run.conversation_id)
        await self._index.delete(f"agent:{run.agent_id}", key)
        for partition in (hash_owner(run.owner), EVERYBODY):
            mark = await self._index.get(partition, first)
            if mark is not None and mark["run_id"] == run.run_id:
                await self._index.delete(partition, first)
            await self._index.delete(partition, key)

    async def _remove(
        self, table: Table, partition: str, *, start: str = "", end: str = LAST
    ) -> None:
        """Remove the rows of a partition from `start` to before `end`."""
        rows = await table.query(
            "PartitionKey eq @partition and RowKey ge @start and RowKey lt @end",
            select=["PartitionKey", "RowKey"],
            partition=partition,
            start=start,
            end=end,
        )
        for place in range(0, len(rows), AT_ONCE):
            await _delete_all(table, rows[place : place + AT_ONCE])

    async def _empty(self, folder: str) -> None:
        for blob in await self._data.list(folder):
            await self._data.delete(blob.name)


async def _delete_all(table: Table, rows: Sequence[Entity]) -> None:
    await asyncio.gather(
        *(table.delete(str(row["PartitionKey"]), str(row["RowKey"])) for row in rows)
    )


def _place(due: Due) -> str:
    """Return the key of a row: first the time, then what it is about."""
    about: Any = count_milliseconds(due.about)
    return f"{count_milliseconds(due.due_at):015d}-{due.kind}-{due.name}-{about}"
