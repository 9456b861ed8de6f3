"""How are request rows kept, table `aosruns`?

Partition `run_id`, row `run`: the request as admitted, inserted once; `cancel_requested_at` is a
property of its own, so that asking for it reads nothing else. In the partition of a run that others
were delegated from, directly or not, a row `child:<run_id>` for each of them.
"""

from __future__ import annotations

from datetime import datetime

from aos.adapters.tables.account import Table, etag_of
from aos.adapters.tables.payloads import Payloads
from aos.adapters.tables.rows import SCHEMA, document, pack
from aos.domain.codec import decode, encode
from aos.domain.runs.run import AdmittedRequest
from aos.domain.wire_time import from_wire_time, to_wire_time
from aos.errors import StaleWrite, TransientError
from aos.ports.requests import StoredRequest

ROW = "run"
CANCEL = "cancel_requested_at"
WHY = "cancel_reason"
CANCEL_TRIES = 4
CHILD = "child:"
AFTER_CHILDREN = "child;"


class AzureRequestStore:
    """The request rows: a `RequestStore`."""

    def __init__(self, table: Table, payloads: Payloads) -> None:
        self._table = table
        self._payloads = payloads

    async def find(self, run_id: str) -> StoredRequest | None:
        """The row, or None. One call."""
        entity = await self._table.get(run_id, ROW)
        if entity is None:
            return None
        # `conversation_id` is short and never spilled
        conversation_id = document(entity)["conversation_id"]
        read = await self._payloads.whole(conversation_id, entity)
        return StoredRequest(
            request=decode(AdmittedRequest, read),
            cancel_requested_at=from_wire_time(entity.get(CANCEL)),
            cancel_reason=entity.get(WHY),
        )

    async def insert(self, request: AdmittedRequest) -> None:
        """Write the row; StaleWrite when it exists. One call, and one a text over 32 KiB."""
        (packed,) = pack([encode(request)])
        await self._payloads.keep(request.conversation_id, packed.payloads)
        await self._table.insert(packed.entity(request.run_id, ROW))

    async def ask_cancel(self, run_id: str, *, at: datetime, reason: str | None = None) -> None:
        """Set `cancel_requested_at`; a later ask leaves the first one standing. Two calls."""
        for _ in range(CANCEL_TRIES):
            entity = await self._table.get(run_id, ROW)
            if entity is None or entity.get(CANCEL) is not None:
                return
            change = {"PartitionKey": run_id, "RowKey": ROW, CANCEL: to_wire_time(at)}
            if reason is not None:
                change[WHY] = reason
            try:
                await self._table.merge(change, etag=etag_of(entity))
            except StaleWrite:
                continue
            return
        raise TransientError(f"the request row of run {run_id!r} is contended; ask again")

    async def cancel_asked(self, run_id: str) -> bool:
        """True once cancellation was asked for. One call, one property."""
        entity = await self._table.get(run_id, ROW, select=[CANCEL])
        return entity is not None and entity.get(CANCEL) is not None

    async def join_tree(self, root_run_id: str, run_id: str) -> int:
        """Enter a delegated run in its tree; how many runs that has now, the root included.

        Two calls. Of two that come last at once both may be counted: never too few.
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
