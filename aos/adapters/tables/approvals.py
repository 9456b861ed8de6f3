"""Keeps tool calls that wait for a decision, in the table `aostoolcalls`. Entry point:
`AzureDecisions`.

Partition `run_id`: the row `<tool_call_id>:approval` is the request, `<tool_call_id>:decision` the
decision, inserted once. Partition `approvals`: the list of those that wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aos.adapters.tables.account import Entity, Table
from aos.adapters.tables.payloads import Payloads
from aos.adapters.tables.rows import SCHEMA, check_schema
from aos.adapters.tables.waiting import WaitingRows, make_place
from aos.domain.codec import decode, encode
from aos.domain.tools.tool import ApprovalRequest, Decision
from aos.domain.wire_time import from_wire_time
from aos.ports.paging import Page
from aos.ports.tools import AskedApproval

WAITING = "approvals"


class AzureDecisions:
    """The tool calls that wait for a decision, and the decisions. Implements `Decisions`."""

    def __init__(self, table: Table, payloads: Payloads) -> None:
        self._table = table
        self._waiting = WaitingRows(
            table=table,
            payloads=payloads,
            kind=ApprovalRequest,
            identify=lambda approval: approval.tool_call_id,
            suffix="approval",
            partition=WAITING,
        )

    async def ask(self, approval: ApprovalRequest) -> None:
        """Add a call to those that wait. Two calls."""
        await self._waiting.ask(approval)

    async def find(self, run_id: str, tool_call_id: str) -> AskedApproval | None:
        """Return what was asked about a call and its decision. Two calls."""
        asked = await self._waiting.find(run_id, tool_call_id)
        if asked is None:
            return None
        decided = await self._table.get(run_id, f"{tool_call_id}:decision")
        return AskedApproval(
            request=asked, decision=None if decided is None else _read_decision(decided)
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
        return await self._waiting.list_waiting(owner=owner, after=after, limit=limit)

    async def close(self, approval: ApprovalRequest) -> None:
        """Remove a call from the list. One call."""
        await self._waiting.close(approval)


def place_of(document: Mapping[str, Any]) -> str:
    """Return the key in the list of a question, from the document of its row."""
    asked = from_wire_time(document["requested_at"])
    assert asked is not None
    return make_place(asked, document["run_id"], document["tool_call_id"])


def _read_decision(row: Entity) -> Decision:
    check_schema(row)
    return decode(Decision, row)
