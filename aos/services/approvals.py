"""Lists tool calls that need a decision, and takes decisions. Entry point: `Approvals`."""

from __future__ import annotations

from aos.domain.caller import Caller
from aos.domain.runs.asks import find_ask
from aos.domain.runs.conversation import Conversation
from aos.domain.tools.tool import ApprovalRequest, Decision, Verdict
from aos.services.asks import AskWords, PeopleAsks


class Approvals(PeopleAsks[ApprovalRequest, Decision]):
    """Main's use case: list waiting tool calls and take decisions."""

    words = AskWords(
        request="tool call",
        answer="decision",
        waits_for="a decision",
        answered="decided",
        field="decision",
        path="/api/approvals",
        not_found="tool_call_not_found",
        already="already_decided",
    )

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

        def make(asked: ApprovalRequest) -> Decision:
            return Decision(
                decision=verdict,
                reason=reason,
                decided_by=caller.signature,
                decided_at=self._clock.now(),
                decision_id=decision_id or self._ids.new_id(),
            )

        return await self._take(
            run_id, tool_call_id, said=verdict, said_id=decision_id, make=make, caller=caller
        )

    def _find_waiting(
        self, head: Conversation | None, run_id: str, ask_id: str
    ) -> ApprovalRequest | None:
        return find_ask(head, run_id, ask_id, kind=ApprovalRequest)
