"""Keeps tool calls that wait for a decision, in memory. Entry point: `MemoryDecisions`."""

from __future__ import annotations

from aos.adapters.memory.interception import Interceptor, pass_through
from aos.adapters.memory.tables import MemoryTables
from aos.domain.tools.tool import ApprovalRequest, Decision
from aos.domain.wire_time import to_wire_time
from aos.errors import StaleWrite
from aos.ports.paging import Page
from aos.ports.tools import AskedApproval


class MemoryDecisions:
    """The tool calls that wait for a decision, and the decisions, one for each call."""

    def __init__(self, tables: MemoryTables, *, intercept: Interceptor = pass_through) -> None:
        self._tables = tables
        self._intercept = intercept

    async def ask(self, approval: ApprovalRequest) -> None:
        """Add a call to those that wait. Adding it again changes nothing."""

        def act() -> None:
            key = (approval.run_id, approval.tool_call_id)
            if key not in self._tables.approvals:
                self._tables.approvals[key] = approval
                self._tables.open_approvals.add(key)
                self._tables.tell_watchers("decisions.ask", approval.run_id)

        await self._intercept("decisions.ask", approval.run_id, act)

    async def find(self, run_id: str, tool_call_id: str) -> AskedApproval | None:
        """Return what was asked about a call and its decision, or None if nothing was asked."""

        def act() -> AskedApproval | None:
            key = (run_id, tool_call_id)
            asked = self._tables.approvals.get(key)
            if asked is None:
                return None
            return AskedApproval(request=asked, decision=self._tables.decisions.get(key))

        return await self._intercept("decisions.find", run_id, act)

    async def decide(self, run_id: str, tool_call_id: str, decision: Decision) -> None:
        """Insert the decision. Raises StaleWrite if the call has a decision."""

        def act() -> None:
            key = (run_id, tool_call_id)
            if key in self._tables.decisions:
                raise StaleWrite(
                    f"tool call {tool_call_id!r} of run {run_id!r} already has a decision"
                )
            self._tables.decisions[key] = decision
            self._tables.tell_watchers("decisions.decide", run_id)

        await self._intercept("decisions.decide", run_id, act)

    async def list_waiting(
        self, *, owner: str | None, after: str | None, limit: int
    ) -> Page[ApprovalRequest]:
        """List the open requests of an owner, or of all owners (None), oldest first."""

        def act() -> Page[ApprovalRequest]:
            found = sorted(
                (_make_token(asked), asked)
                for key in self._tables.open_approvals
                if owner in (None, (asked := self._tables.approvals[key]).owner)
            )
            rows = [(token, asked) for token, asked in found if token > (after or "")]
            more = len(rows) > limit
            return Page(
                items=[asked for _, asked in rows[:limit]],
                next=rows[limit - 1][0] if more else None,
            )

        return await self._intercept("decisions.list_waiting", owner or "", act)

    async def close(self, approval: ApprovalRequest) -> None:
        """Remove a call from the list. Removing it again changes nothing."""

        def act() -> None:
            self._tables.open_approvals.discard((approval.run_id, approval.tool_call_id))

        await self._intercept("decisions.close", approval.run_id, act)


def _make_token(asked: ApprovalRequest) -> str:
    return f"{to_wire_time(asked.requested_at)}|{asked.run_id}|{asked.tool_call_id}"
