"""Lists tool calls that need a decision, and takes decisions of people. Entry point: `Approvals`.

A decision is a row that is inserted once; the first one counts. The command that follows only wakes
the conversation: realm reads the row.
"""

from __future__ import annotations

from typing import TypeGuard

from aos.domain.caller import Caller
from aos.domain.runs.asks import find_approval
from aos.domain.runs.run import AdmittedRequest
from aos.domain.tools.tool import ApprovalRequest, Decision, Verdict
from aos.errors import OutcomeUnknown, Refused, StaleWrite, TransientError
from aos.ports.bus import Bus
from aos.ports.paging import Page
from aos.ports.requests import PendingStore
from aos.ports.system import Clock, Ids
from aos.ports.tools import AskedApproval, Decisions
from aos.services.runs import RunReader
from aos.services.waking import Waker


class Approvals:
    """Main's use case: list waiting tool calls and take decisions."""

    def __init__(
        self,
        *,
        decisions: Decisions,
        runs: RunReader,
        pending: PendingStore,
        bus: Bus,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._decisions = decisions
        self._runs = runs
        self._clock = clock
        self._ids = ids
        self._waker = Waker(bus=bus, pending=pending, clock=clock)

    async def list_waiting(
        self, caller: Caller, *, after: str | None, limit: int
    ) -> Page[ApprovalRequest]:
        """The calls that the caller may decide, oldest first. A page may be shorter than `limit`.

        Removes calls from the list that were decided or whose run has ended.
        """
        page = await self._decisions.list_waiting(
            owner=caller.deciding_owner, after=after, limit=limit
        )
        items = [item for item in page.items if await self._still_waits(item)]
        return Page(items=items, next=page.next)

    async def decide(
        self,
        run_id: str,
        tool_call_id: str,
        verdict: Verdict,
        reason: str,
        *,
        caller: Caller,
        decision_id: str | None = None,
    ) -> Decision:
        """Decide about a call; of two decisions at once exactly one counts.

        A repeated message has the same `decision_id`: its decision is returned, and the
        conversation is woken again. Raises Refused `run_not_found`, `tool_call_not_found` or
        `already_decided`, and TransientError when storage is away.
        """
        request = await self._runs.find_request(run_id, owner=caller.deciding_owner)
        asked = await self._find_asked(request, tool_call_id)
        if asked is None:
            await self._wake_if_deleted(request, tool_call_id)
            raise Refused(
                "tool_call_not_found",
                f"no tool call {tool_call_id[:80]!r} of run {run_id!r} waits for a decision; see"
                " GET /api/approvals",
            )
        stands = asked.decision
        if _is_same_decision(stands, decision_id, verdict):
            await self._waker.wake(request, tool_call_id)
            return stands
        if stands is not None:
            raise _already_decided(tool_call_id, stands)
        if await self._runs.has_ended(request.conversation_id, run_id):
            await self._waker.wake(request, tool_call_id)  # realm cleans what came after a deletion
            raise _already_decided(tool_call_id, stands)
        decision = Decision(
            decision=verdict,
            reason=reason,
            decided_by=caller.owner,
            decided_at=self._clock.now(),
            decision_id=decision_id or self._ids.new_id(),
        )
        await self._insert(run_id, tool_call_id, decision)
        if not await self._waker.wake(request, tool_call_id):
            await self._wake_if_deleted(request, tool_call_id)
        return decision

    async def _find_asked(
        self, request: AdmittedRequest, tool_call_id: str
    ) -> AskedApproval | None:
        """What was asked about a call, and its decision; None if nothing was asked.

        The run's row and events say that it waits some milliseconds before realm writes what it
        asks, and their reader may decide at once. Then the row is written here, of the same state.
        """
        asked = await self._decisions.find(request.run_id, tool_call_id)
        if asked is not None:
            return asked
        head = await self._runs.find_head(request.conversation_id)
        approval = find_approval(head, request.run_id, tool_call_id)
        if approval is not None:
            await self._decisions.ask(approval)
        return await self._decisions.find(request.run_id, tool_call_id)

    async def _wake_if_deleted(self, request: AdmittedRequest, tool_call_id: str) -> None:
        """Let realm remove the row of an earlier try that was written after the deletion."""
        if await self._runs.was_deleted(request):
            await self._waker.wake_to_clean(request, tool_call_id)

    async def find_decision(self, run_id: str, tool_call_id: str) -> Decision | None:
        """The decision about a call, or None."""
        asked = await self._decisions.find(run_id, tool_call_id)
        return None if asked is None else asked.decision

    async def _insert(self, run_id: str, tool_call_id: str, decision: Decision) -> None:
        try:
            await self._decisions.decide(run_id, tool_call_id, decision)
        except (StaleWrite, OutcomeUnknown) as error:
            asked = await self._decisions.find(run_id, tool_call_id)
            stands = None if asked is None else asked.decision
            if stands is None:
                raise TransientError(
                    "storage did not say whether the decision was stored; send it again"
                ) from error
            if not _is_same_decision(stands, decision.decision_id, decision.decision):
                raise _already_decided(tool_call_id, stands) from error

    async def _still_waits(self, item: ApprovalRequest) -> bool:
        asked = await self._decisions.find(item.run_id, item.tool_call_id)
        undecided = asked is not None and asked.decision is None
        if undecided and not await self._runs.has_ended(item.conversation_id, item.run_id):
            return True
        await self._decisions.close(item)
        return False


def _is_same_decision(
    stands: Decision | None, decision_id: str | None, verdict: Verdict
) -> TypeGuard[Decision]:
    """True when the stored decision is this one."""
    return stands is not None and (stands.decision_id, stands.decision) == (decision_id, verdict)


def _already_decided(tool_call_id: str, stands: Decision | None) -> Refused:
    if stands is None:
        return Refused(
            "already_decided", f"the run of tool call {tool_call_id!r} has ended; nothing waits"
        )
    return Refused(
        "already_decided",
        f"tool call {tool_call_id!r} was decided: {stands.decision}, by {stands.decided_by!r}",
        decision=stands.decision,
    )
