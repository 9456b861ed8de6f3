"""How do people decide about tool calls that wait for them?

A decision is a row inserted once, by whoever comes first; the command that follows it only wakes
the conversation, and realm obeys the row.
"""

from __future__ import annotations

from typing import TypeGuard

from aos.domain.caller import Caller
from aos.domain.envelope import Approve, to_realm
from aos.domain.runs.run import AdmittedRequest
from aos.domain.tools.tool import ApprovalRequest, Decision, Verdict
from aos.errors import OutcomeUnknown, Refused, StaleWrite, TransientError
from aos.ports.bus import Bus
from aos.ports.conversations import ConversationStore
from aos.ports.paging import Page
from aos.ports.requests import PendingRun, PendingStore, RequestStore
from aos.ports.system import Clock, Ids
from aos.ports.tools import Decisions


class Approvals:
    """Main's use case: list what waits for a person, and take decisions."""

    def __init__(
        self,
        *,
        decisions: Decisions,
        requests: RequestStore,
        conversations: ConversationStore,
        pending: PendingStore,
        bus: Bus,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._decisions = decisions
        self._requests = requests
        self._conversations = conversations
        self._pending = pending
        self._bus = bus
        self._clock = clock
        self._ids = ids

    async def waiting(
        self, caller: Caller, *, after: str | None, limit: int
    ) -> Page[ApprovalRequest]:
        """What the caller may decide, oldest first. A page may be shorter than `limit`.

        A call that was decided, or whose run has ended, is taken off the list where it was left.
        """
        owner = None if _decides_all(caller) else caller.owner
        page = await self._decisions.waiting(owner=owner, after=after, limit=limit)
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
        """Decide about a call; of two at once exactly one is heard.

        `decision_id` tells a decision that comes again (a message delivered twice) from another
        one: it was heard, and the conversation is woken once more.
        Raises Refused `run_not_found`, `tool_call_not_found` or `already_decided`, and
        TransientError when storage is away.
        """
        request = await self._request(run_id, caller)
        asked = await self._decisions.find(run_id, tool_call_id)
        if asked is None:
            raise Refused(
                "tool_call_not_found",
                f"no tool call {tool_call_id[:80]!r} of run {run_id!r} waits for a decision; see"
                " GET /api/approvals",
            )
        stands = asked.decision
        if _is_heard(stands, decision_id, verdict):
            await self._wake(request, tool_call_id)
            return stands
        run = await self._conversations.find_run(request.conversation_id, run_id)
        if stands is not None or (run is not None and run.status.ended):
            raise _decided(tool_call_id, stands)
        decision = Decision(
            decision=verdict,
            reason=reason,
            decided_by=caller.owner,
            decided_at=self._clock.now(),
            decision_id=decision_id or self._ids.new_id(),
        )
        await self._insert(run_id, tool_call_id, decision)
        await self._wake(request, tool_call_id)
        return decision

    async def _request(self, run_id: str, caller: Caller) -> AdmittedRequest:
        stored = await self._requests.find(run_id)
        if stored is None or not (_decides_all(caller) or stored.request.owner == caller.owner):
            raise Refused(
                "run_not_found", f"there is no run {run_id!r} of yours; see GET /api/runs"
            )
        return stored.request

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
            if not _is_heard(stands, decision.decision_id, decision.decision):
                raise _decided(tool_call_id, stands) from error

    async def _wake(self, request: AdmittedRequest, tool_call_id: str) -> None:
        """Tell realm; where the bus is away the mender tells it, whose look is due at once."""
        command = Approve(
            run_id=request.run_id,
            conversation_id=request.conversation_id,
            tool_call_id=tool_call_id,
        )
        try:
            await self._bus.send(to_realm(command))
        except TransientError:
            await self._pending.put(
                PendingRun(
                    run_id=request.run_id,
                    conversation_id=request.conversation_id,
                    created_at=request.admitted_at,
                    next_check=self._clock.now(),
                )
            )

    async def _still_waits(self, item: ApprovalRequest) -> bool:
        asked = await self._decisions.find(item.run_id, item.tool_call_id)
        if asked is not None and asked.decision is None:
            run = await self._conversations.find_run(item.conversation_id, item.run_id)
            if run is None or not run.status.ended:
                return True
        await self._decisions.close(item)
        return False


def _is_heard(
    stands: Decision | None, decision_id: str | None, verdict: Verdict
) -> TypeGuard[Decision]:
    """Is what stands this very decision?"""
    return stands is not None and (stands.decision_id, stands.decision) == (decision_id, verdict)


def _decides_all(caller: Caller) -> bool:
    return caller.is_admin or caller.is_approver


def _decided(tool_call_id: str, stands: Decision | None) -> Refused:
    if stands is None:
        return Refused(
            "already_decided", f"the run of tool call {tool_call_id!r} has ended; nothing waits"
        )
    return Refused(
        "already_decided",
        f"tool call {tool_call_id!r} was decided: {stands.decision}, by {stands.decided_by!r}",
        decision=stands.decision,
    )
