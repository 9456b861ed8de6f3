"""Keeps request rows in the table `aosruns`. Entry point: `AzureRequestStore`.

Partition `run_id`, row `run`: the admitted request, inserted once. `cancel_requested_at` is its own
property, so that checking it reads nothing else. A run that delegated others, directly or not, has
a row `child:<run_id>` in its partition for each of them. Large texts are in a folder of the run,
because a deletion empties the conversation's.
"""

from __future__ import annotations

from datetime import datetime

from aos.adapters.tables.account import Table, read_etag
from aos.adapters.tables.payloads import Payloads
from aos.adapters.tables.rows import SCHEMA, document, pack
from aos.domain.codec import decode, encode
from aos.domain.runs.run import AdmittedRequest
from aos.domain.wire_time import from_wire_time, to_wire_time
from aos.errors import StaleWrite, TransientError
from aos.ports.requests import StoredRequest

ROW = "run"
OWN_FOLDER = "own_folder"
"""The property of a row whose large texts are in a folder of the run. The first rows lack it."""
SCRUBBED = "scrubbed"
CANCEL = "cancel_requested_at"
WHY = "cancel_reason"
CANCEL_TRIES = 4
CHILD = "child:"
AFTER_CHILDREN = "child;"


class AzureRequestStore:
    """The request rows. Implements `RequestStore`."""

    def __init__(self, table: Table, payloads: Payloads) -> None:
        self._table = table
        self._payloads = payloads

    async def find(self, run_id: str) -> StoredRequest | None:
        """Return the row, or None. One call."""
        entity = await self._table.get(run_id, ROW)
        if entity is None:
            return None
        # `conversation_id` is short and is always in the row
        folder = run_id if entity.get(OWN_FOLDER) else document(entity)["conversation_id"]
        read = await self._payloads.whole(folder, entity)
        return StoredRequest(
            request=decode(AdmittedRequest, read),
            cancel_requested_at=from_wire_time(entity.get(CANCEL)),
            cancel_reason=entity.get(WHY),
            scrubbed=bool(entity.get(SCRUBBED)),
        )

    async def insert(self, request: AdmittedRequest) -> None:
        """Write the row. Raises StaleWrite if it exists. One call, and one for each text over 32
        KiB."""
        (packed,) = pack([encode(request)])
        entity = packed.entity(request.run_id, ROW)
        if packed.payloads:
            await self._payloads.keep(request.run_id, packed.payloads)
            entity[OWN_FOLDER] = True
        await self._table.insert(entity)

    async def ask_cancel(self, run_id: str, *, at: datetime, reason: str | None = None) -> None:
        """Set `cancel_requested_at`. The first request stays; later ones change nothing. Two
        calls."""
        for _ in range(CANCEL_TRIES):
            entity = await self._table.get(run_id, ROW)
            if entity is None or entity.get(CANCEL) is not None:
                return
            change = {"PartitionKey": run_id, "RowKey": ROW, CANCEL: to_wire_time(at)}
            if reason is not None:
                change[WHY] = reason
            try:
                await self._table.merge(change, etag=read_etag(entity))
            except StaleWrite:
                continue
            return
        raise TransientError(f"the request row of run {run_id!r} changes too often; try again")

    async def is_cancel_requested(self, run_id: str) -> bool:
        """Return whether cancellation was requested. One call that reads one property."""
        entity = await self._table.get(run_id, ROW, select=[CANCEL])
        return entity is not None and entity.get(CANCEL) is not None

    async def join_tree(self, root_run_id: str, run_id: str) -> int:
        """Add a delegated run to its tree; return the number of its runs, the root included.

        It takes two calls. Of two runs that join last at the same time, both may be counted, so the
        number is never too low.
        """
        entered = {"PartitionKey": root_run_id, "RowKey": f"{CHILD}{run_id}", "schema": SCHEMA}
        await self._table.put(entered)
        rows = await self._table.query(
            "PartitionKey eq @root and RowKey ge @start and RowKey lt @end",
            root=root_run_id,
            start=CHILD,
            end=AFTER_CHILDREN,
        )
        return len(rows) + 1
