"""Keeps tool calls that wait for a decision, in the table `aostoolcalls`. Entry point:
`AzureDecisions`.

Partition `run_id`: the row `<tool_call_id>:approval` is the request, `<tool_call_id>:decision` the
decision, inserted once. Partition `approvals`: a row for each call that still waits, ordered by
time, so that the list takes one query.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aos.adapters.tables.account import Entity, Table
from aos.adapters.tables.payloads import Payloads
from aos.adapters.tables.rows import SCHEMA, check_schema, pack
from aos.domain.codec import decode, encode
from aos.domain.tools.tool import ApprovalRequest, Decision
from aos.domain.wire_time import count_milliseconds, from_wire_time
from aos.ports.paging import Page
from aos.ports.tools import AskedApproval

WAITING = "approvals"
LAST = "A"
"""A key after every row of the list, because their keys begin with digits."""
LONGEST_TOKEN = 200


class AzureDecisions:
    """The tool calls that wait for a decision, and the decisions. Implements `Decisions`."""

    def __init__(self, table: Table, payloads: Payloads) -> None:
        self._table = table
        self._payloads = payloads

    async def ask(self, approval: ApprovalRequest) -> None:
        """Add a call to those that wait. Two calls.

        The row of the list is written second, so that every listed call can be decided.
        """
        (packed,) = pack([encode(approval)])
        await self._payloads.keep(approval.conversation_id, packed.payloads)
        row = f"{approval.tool_call_id}:approval"
        names = {"conversation_id": approval.conversation_id, "owner": approval.owner}
        await self._table.put({**packed.entity(approval.run_id, row), **names})
        await self._table.put({**packed.entity(WAITING, _place(approval)), **names})

    async def find(self, run_id: str, tool_call_id: str) -> AskedApproval | None:
        """Return what was asked about a call and its decision. Two calls."""
        asked = await self._table.get(run_id, f"{tool_call_id}:approval")
        if asked is None:
            return None
        decided = await self._table.get(run_id, f"{tool_call_id}:decision")
        return AskedApproval(
            request=await self._request(asked),
            decision=None if decided is None else _decision(decided),
        )

    async def decide(self, run_id: str, tool_call_id: str, decision: Decision) -> None:
        """Insert the decision. Raises StaleWrite if the call has one. One call."""
        await self._table.insert(
            {
                "PartitionKey": run_id,
                "RowKey": f"{tool_call_id}:decision",
                "schema": SCHEMA,
                **encode(decision),
            }
        )

    async def list_waiting(
        self, *, owner: str | None, after: str | None, limit: int
    ) -> Page[ApprovalRequest]:
        """List the open requests, oldest first. One call."""
        mine, parameters = "", {}
        if owner is not None:
            mine, parameters = " and owner eq @owner", {"owner": owner}
        rows = await self._table.query(
            f"PartitionKey eq @partition and RowKey gt @after and RowKey lt @end{mine}",
            limit=limit + 1,
            partition=WAITING,
            after=(after or "")[:LONGEST_TOKEN],
            end=LAST,
            **parameters,
        )
        items = rows[:limit]
        return Page(
            items=[await self._request(row) for row in items],
            next=items[-1]["RowKey"] if len(rows) > limit else None,
        )

    async def close(self, approval: ApprovalRequest) -> None:
        """Remove a call from the list. One call."""
        await self._table.delete(WAITING, _place(approval))

    async def _request(self, row: Entity) -> ApprovalRequest:
        return decode(ApprovalRequest, await self._payloads.whole(row["conversation_id"], row))


def _place(approval: ApprovalRequest) -> str:
    """Return the key of the row in the list: first the time, then the call."""
    moment = count_milliseconds(approval.requested_at)
    return f"{moment:015d}-{approval.run_id}-{approval.tool_call_id}"


def place_of(document: Mapping[str, Any]) -> str:
    """Return the key in the list of a question, from the document of its row."""
    asked = from_wire_time(document["requested_at"])
    assert asked is not None
    return f"{count_milliseconds(asked):015d}-{document['run_id']}-{document['tool_call_id']}"


def _decision(row: Entity) -> Decision:
    check_schema(row)
    return decode(Decision, row)
