"""Removes what belongs to a deleted conversation: rows and blobs. Entry point: `AzureEraser`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection
from typing import Any

from aos.adapters.tables.account import Entity, Table, read_etag
from aos.adapters.tables.asks import DECISIONS, QUESTIONS
from aos.adapters.tables.conversations import HEAD, name_run_row
from aos.adapters.tables.payloads import Payloads, make_folder_name
from aos.adapters.tables.pushes import AFTER_PUSHES, PUSH
from aos.adapters.tables.requests import CANCEL, ROW, SCRUBBED, WHY
from aos.adapters.tables.rows import SPILLED, document, list_spilled, pack
from aos.adapters.tables.run_events import end_of_events, first_event_key
from aos.domain.codec import decode, encode
from aos.domain.runs.run import AdmittedRequest, Run
from aos.domain.tools.tool import ToolCallRow
from aos.domain.transcripts import make_transcript_folder
from aos.errors import StaleWrite, TransientError
from aos.ports.blobs import BlobStore

AFTER_RUNS = "run;"
AT_ONCE = 16
BLOBS_A_CALL = 2000
SCRUB_TRIES = 4


class AzureEraser:
    """What a conversation leaves beside its head and messages. Implements `Eraser`."""

    def __init__(
        self,
        *,
        conversations: Table,
        requests: Table,
        tool_calls: Table,
        payloads: Payloads,
        data: BlobStore,
        logs: BlobStore,
    ) -> None:
        self._conversations = conversations
        self._requests = requests
        self._tool_calls = tool_calls
        self._payloads = payloads
        self._data = data
        self._logs = logs

    async def list_runs(self, conversation_id: str, *, after: str, limit: int) -> list[Run]:
        """Return run rows in the order of their ids. One call."""
        rows = await self._conversations.query(
            "PartitionKey eq @name and RowKey gt @after and RowKey lt @end",
            limit=limit,
            name=conversation_id,
            after=name_run_row(after),
            end=AFTER_RUNS,
        )
        return [decode(Run, read) for read in await self._payloads.wholes(conversation_id, rows)]

    async def scrub(self, run: Run) -> None:
        """Scrub the request row, then those of tool calls; remove the run's events and folder, and
        the receivers of its push notifications.

        Six calls, and one for each row and blob.
        """
        await self._scrub_request(run.run_id)
        await self._remove_pushes(run.run_id)
        await self._clean_calls(run.run_id)
        await self._remove_events(run)
        if run.run_id != run.conversation_id:
            await self._empty(self._data, make_folder_name(run.run_id))

    async def remove_texts(self, conversation_id: str) -> bool:
        """Remove transcripts and large texts. Three calls, and one for each blob."""
        kept = await self._list_digests(conversation_id)
        folder = make_folder_name(conversation_id)
        return await self._empty(self._data, folder, kept=kept) and await self._empty(
            self._logs, make_transcript_folder(conversation_id)
        )

    async def remove_head(self, conversation_id: str, *, etag: str) -> None:
        """Remove the head at its ETag. One call."""
        await self._conversations.delete(conversation_id, HEAD, etag=etag)

    async def _scrub_request(self, run_id: str) -> None:
        for _ in range(SCRUB_TRIES):
            entity = await self._requests.get(run_id, ROW)
            if entity is None or entity.get(SCRUBBED):
                return
            try:
                await self._requests.replace(_scrub(entity), etag=read_etag(entity))
            except StaleWrite:
                continue
            return
        raise TransientError(f"the request row of run {run_id!r} changes too often; try again")

    async def _clean_calls(self, run_id: str) -> None:
        rows = await self._tool_calls.query("PartitionKey eq @run", run=run_id)
        for start in range(0, len(rows), AT_ONCE):
            await asyncio.gather(*(self._clean_call(row) for row in rows[start : start + AT_ONCE]))

    async def _remove_pushes(self, run_id: str) -> None:
        rows = await self._requests.query(
            "PartitionKey eq @run and RowKey ge @start and RowKey lt @end",
            select=["PartitionKey", "RowKey"],
            run=run_id,
            start=PUSH,
            end=AFTER_PUSHES,
        )
        await asyncio.gather(*(self._requests.delete(run_id, str(row["RowKey"])) for row in rows))

    async def _remove_events(self, run: Run) -> None:
        rows = await self._conversations.query(
            "PartitionKey eq @name and RowKey gt @start and RowKey lt @end",
            select=["PartitionKey", "RowKey"],
            name=run.conversation_id,
            start=first_event_key(run.run_id),
            end=end_of_events(run.run_id),
        )
        keys = [str(row["RowKey"]) for row in rows]
        for start in range(0, len(keys), AT_ONCE):
            some = keys[start : start + AT_ONCE]
            await asyncio.gather(
                *(self._conversations.delete(run.conversation_id, key) for key in some)
            )

    async def _clean_call(self, row: Entity) -> None:
        """Scrub the row of a call. Remove decisions and answers, and what was asked with its place
        in its list."""
        partition, key = str(row["PartitionKey"]), str(row["RowKey"])
        for rows in (DECISIONS, QUESTIONS):
            if key.endswith(rows.asked):
                await self._tool_calls.delete(rows.waiting, rows.find_place(document(row)))
            if key.endswith((rows.asked, rows.answered)):
                await self._tool_calls.delete(partition, key)
                return
        raw = document(row)
        if raw.get("result") is None:
            return
        raw["result"] = {"outcome": raw["result"]["outcome"], "content": ""}
        scrubbed = decode(ToolCallRow, raw).scrub()
        (packed,) = pack([encode(scrubbed, without=("etag",))])
        entity = packed.entity(partition, key)
        entity["conversation_id"] = row["conversation_id"]
        with contextlib.suppress(StaleWrite):  # its result came just now, and leads here again
            await self._tool_calls.replace(entity, etag=read_etag(row))

    async def _list_digests(self, conversation_id: str) -> set[str]:
        """Return the digests of the texts to which a row of the conversation refers."""
        rows = await self._conversations.query(
            "PartitionKey eq @name and spilled ne @nothing",
            select=["PartitionKey", "RowKey", *SPILLED],
            name=conversation_id,
            nothing="",
        )
        return {item.digest for row in rows for item in list_spilled(row)}

    async def _empty(
        self, container: BlobStore, folder: str, *, kept: Collection[str] = ()
    ) -> bool:
        """Delete the blobs of a folder but those kept, a bounded number; False: some are left."""
        names = [blob.name for blob in await container.list(folder)]
        gone = [name for name in names if name.rpartition("/")[2] not in kept]
        now = gone[:BLOBS_A_CALL]
        for start in range(0, len(now), AT_ONCE):
            await asyncio.gather(*(container.delete(name) for name in now[start : start + AT_ONCE]))
        return len(now) == len(gone)


def _scrub(entity: Entity) -> dict[str, Any]:
    """Return the request row without what its caller wrote."""
    raw = document(entity)
    raw = {**raw, "message": "", "metadata": {}, "parts": []}
    (packed,) = pack([encode(decode(AdmittedRequest, raw).scrub())])
    kept = {name: entity[name] for name in (CANCEL, WHY) if entity.get(name) is not None}
    partition = str(entity["PartitionKey"])
    return {**packed.entity(partition, ROW), **kept, SCRUBBED: True}
