"""Keeps tool calls in the table `aostoolcalls`. Entry point: `AzureToolLedger`.

Partition `run_id`, row `<tool_call_id>`: inserted when the call begins, replaced at its ETag when
it is made again and when its result arrives. A written result never changes.
"""

from __future__ import annotations

from dataclasses import replace

from aos.adapters.tables.account import Table, read_etag
from aos.adapters.tables.payloads import Payloads
from aos.adapters.tables.rows import pack
from aos.domain.codec import decode, encode
from aos.domain.tools.tool import ToolCallRow, ToolOutcome
from aos.errors import OutcomeUnknown, StaleWrite, TransientError

FINISH_TRIES = 4


class AzureToolLedger:
    """The tool calls. Implements `ToolLedger`."""

    def __init__(self, table: Table, payloads: Payloads) -> None:
        self._table = table
        self._payloads = payloads

    async def find(self, run_id: str, tool_call_id: str) -> ToolCallRow | None:
        """Return the row, or None. One call, and one for each text over 32 KiB."""
        entity = await self._table.get(run_id, tool_call_id)
        if entity is None:
            return None
        read = await self._payloads.whole(str(entity["conversation_id"]), entity)
        return decode(ToolCallRow, {**read, "etag": read_etag(entity)})

    async def start(self, row: ToolCallRow) -> ToolCallRow:
        """Insert the row, or replace it at its ETag; return it with the new ETag. One call."""
        return await self._write(replace(row, result=None))

    async def finish(self, row: ToolCallRow, outcome: ToolOutcome) -> ToolOutcome:
        """Write the result unless the call has one; return the call's result. One call, more if the
        row changes meanwhile. Raises StaleWrite if another began a call that was never begun."""
        never_begun = row.etag is None
        for _ in range(FINISH_TRIES):
            try:
                await self._write(replace(row, result=outcome))
                return outcome
            except (StaleWrite, OutcomeUnknown):
                found = await self.find(row.run_id, row.tool_call_id)
            if found is not None and found.result is not None:
                return found.result
            if found is not None and never_begun:
                raise StaleWrite(f"tool call {row.tool_call_id!r} of run {row.run_id!r} was begun")
            row = replace(row, etag=None) if found is None else found
        raise TransientError(
            f"tool call {row.tool_call_id!r} of run {row.run_id!r} changes too often; try again"
        )

    async def _write(self, row: ToolCallRow) -> ToolCallRow:
        (packed,) = pack([encode(row, without=("etag",))])
        await self._payloads.keep(row.conversation_id, packed.payloads)
        entity = packed.entity(row.run_id, row.tool_call_id)
        entity["conversation_id"] = row.conversation_id
        if row.etag is None:
            etag = await self._table.insert(entity)
        else:
            etag = await self._table.replace(entity, etag=row.etag)
        return replace(row, etag=etag)
