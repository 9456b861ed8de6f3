"""Keeps conversations in the table `aosconversations`. Entry point: `AzureConversationStore`.

Partition `conversation_id`: the row `head`, a row `run:<run_id>` for each run, a row `msg:<10
digits>` for each message, and the rows of `aos.adapters.tables.run_events`. A save is one
transaction, guarded by the head's ETag.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any

from aos.adapters.tables.account import MOST_ROWS, Entity, Table, Write, read_etag
from aos.adapters.tables.payloads import Payloads
from aos.adapters.tables.rows import list_spilled, pack
from aos.adapters.tables.run_events import PROVISIONAL, name_event_row
from aos.domain.codec import decode, encode
from aos.domain.runs.conversation import Conversation, Message, Step
from aos.domain.runs.run import Run
from aos.errors import AosError
from aos.ports.conversations import Loaded

HEAD = "head"
HEADS_REMEMBERED = 1024


class AzureConversationStore:
    """The conversations. Implements `ConversationStore`."""

    def __init__(self, table: Table, payloads: Payloads) -> None:
        self._table = table
        self._payloads = payloads
        self._standing = _Standing()

    async def load(self, conversation_id: str, *, run_id: str | None = None) -> Loaded:
        """Return the head and the row of one run.

        It takes one call, or two at the same time if `run_id` is given. A row that exists may be
        newer than the head, so the head is then read again. One query for both rows would read the
        whole partition.
        """
        if run_id is None:
            head = await self._table.get(conversation_id, HEAD)
            return await self._make_loaded(conversation_id, head, None)
        head, row = await asyncio.gather(
            self._table.get(conversation_id, HEAD),
            self._table.get(conversation_id, name_run_row(run_id)),
        )
        if row is not None:
            head = await self._table.get(conversation_id, HEAD)
        return await self._make_loaded(conversation_id, head, row)

    async def save(self, step: Step, *, etag: str | None, new_run_id: str | None = None) -> str:
        """Write the step in one transaction, guarded by the head's ETag; return the new ETag.

        It takes one call, and one for each text over 32 KiB that the head did not refer to before.
        """
        name = step.conversation.conversation_id
        keys = [
            HEAD,
            *(_name_message_row(message.sequence) for message in step.messages),
            *(name_run_row(run.run_id) for run in step.runs),
            *(name_event_row(row) for row in (*step.events, *step.provisional)),
        ]
        removed = [
            *(_name_message_row(sequence) for sequence in step.removed_messages),
            *(name_run_row(run_id) for run_id in step.removed_runs),
        ]
        removed = [key for key in removed if key not in keys]
        if len(keys) + len(removed) > MOST_ROWS:
            raise AosError(
                "internal_error",
                f"a step of conversation {name!r} has {len(keys) + len(removed)} rows, more than"
                f" the {MOST_ROWS} of a transaction; end its queued runs in smaller steps",
            )
        packed = pack(
            [
                encode(step.conversation),
                *(encode(message) for message in step.messages),
                *(encode(run) for run in step.runs),
                *(encode(row) for row in (*step.events, *step.provisional)),
            ]
        )
        payloads = {digest: body for row in packed for digest, body in row.payloads.items()}
        await self._payloads.keep(name, payloads, standing=self._standing.at(name, etag))
        rows = [row.entity(name, key) for key, row in zip(keys, packed, strict=True)]
        for row in rows[len(rows) - len(step.provisional) :]:
            row[PROVISIONAL] = True
        new_row = None if new_run_id is None else name_run_row(new_run_id)
        new = await self._write(rows, removed, etag=etag, new_row=new_row)
        self._standing.note(name, new, frozenset(packed[0].payloads))
        return new

    async def read_history(self, conversation_id: str, *, before: int, limit: int) -> list[Message]:
        """Return the messages with sequence in [before - limit, before), oldest first. One call."""
        start = max(0, before - limit)
        if start >= before:
            return []
        rows = await self._table.query(
            "PartitionKey eq @name and RowKey ge @start and RowKey lt @end",
            name=conversation_id,
            start=_name_message_row(start),
            end=_name_message_row(before),
        )
        return [
            decode(Message, read) for read in await self._payloads.wholes(conversation_id, rows)
        ]

    async def find_run(self, conversation_id: str, run_id: str) -> Run | None:
        """Return the row of one run, or None. One call."""
        row = await self._table.get(conversation_id, name_run_row(run_id))
        return None if row is None else await self._read_run(conversation_id, row)

    async def _make_loaded(self, name: str, head: Entity | None, row: Entity | None) -> Loaded:
        if head is None:
            return Loaded()
        etag = read_etag(head)
        read = await self._payloads.whole(name, head)
        self._standing.note(name, etag, frozenset(item.digest for item in list_spilled(head)))
        return Loaded(
            conversation=decode(Conversation, read),
            etag=etag,
            run=None if row is None else await self._read_run(name, row),
        )

    async def _read_run(self, name: str, row: Entity) -> Run:
        return decode(Run, await self._payloads.whole(name, row))

    async def _write(
        self,
        rows: list[dict[str, Any]],
        removed: list[str],
        *,
        etag: str | None,
        new_row: str | None,
    ) -> str:
        """Write a head without other rows in a plain call, which costs half of a transaction."""
        head, *others = rows
        if removed:
            removed = await self._list_existing(head["PartitionKey"], removed)
        if others or removed:
            guarded = Write(entity=head, etag=etag, insert=etag is None)
            gone = [{"PartitionKey": head["PartitionKey"], "RowKey": key} for key in removed]
            etags = await self._table.transact(
                [
                    guarded,
                    *(Write(entity=row, insert=row["RowKey"] == new_row) for row in others),
                    *(Write(entity=row, delete=True) for row in gone),
                ]
            )
            return etags[0]
        if etag is None:
            return await self._table.insert(head)
        return await self._table.replace(head, etag=etag)

    async def _list_existing(self, name: str, keys: list[str]) -> list[str]:
        """Return those of the rows that exist: a transaction cannot delete an absent row."""
        rows = await self._table.query(
            "PartitionKey eq @name and RowKey ge @first and RowKey le @last",
            select=["RowKey"],
            name=name,
            first=min(keys),
            last=max(keys),
        )
        existing = {str(row["RowKey"]) for row in rows}
        return [key for key in keys if key in existing]


class _Standing:
    """Remembers which payloads exist because the head at a known ETag refers to them.

    A head that waits with large requests is saved many times; only new payloads need to be written.
    The ETag ties the knowledge to the head: whoever deletes payloads changes the head first.
    """

    def __init__(self) -> None:
        self._heads: OrderedDict[str, tuple[str, frozenset[str]]] = OrderedDict()

    def at(self, name: str, etag: str | None) -> frozenset[str]:
        """Return the digests that the head of a conversation refers to at this ETag."""
        known, digests = self._heads.get(name, (None, frozenset()))
        return digests if etag is not None and known == etag else frozenset()

    def note(self, name: str, etag: str, digests: frozenset[str]) -> None:
        """Remember what the head refers to, and forget the oldest entry if there are too many."""
        self._heads.pop(name, None)
        if digests:
            self._heads[name] = (etag, digests)
        while len(self._heads) > HEADS_REMEMBERED:
            self._heads.popitem(last=False)


def name_run_row(run_id: str) -> str:
    """Return the key of a run's row."""
    return f"run:{run_id}"


def _name_message_row(sequence: int) -> str:
    return f"msg:{sequence:010d}"
