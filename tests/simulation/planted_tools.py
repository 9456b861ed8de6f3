"""Would the simulation notice? Bugs about tools, approvals and delegated runs."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import datetime
from typing import Any
from unittest.mock import patch

from aos.adapters.memory import MemoryDecisions, MemoryQuestions, MemoryToolLedger
from aos.domain.envelope import Approve, CallTool, RealmCommand, RunEnded
from aos.domain.runs import tool_questions, tool_turns
from aos.domain.runs.conversation import Conversation
from aos.domain.tools.tool import ApprovalRequest, Decision, ToolCallRow, ToolOutcome
from aos.errors import StaleWrite
from aos.services.approvals import Approvals
from aos.services.execution.handler import Execution
from aos.services.execution.unit_of_work import UnitOfWork
from aos.services.replies import Replies
from aos.services.tool_calls import ToolCalls
from aos.services.tool_calls.calls import Tell
from aos.services.tool_calls.deliveries import ScheduledLooks


def result_sent_before_it_is_saved() -> contextlib.AbstractContextManager[Any]:
    """mcp sends whatever a call came to, and enters it afterwards."""
    real = ToolCalls._end

    async def end(
        self: ToolCalls, command: CallTool, row: ToolCallRow | None, outcome: ToolOutcome
    ) -> ToolOutcome:
        await self._send(command, outcome, traceparent=None)
        return await real(self, command, row, outcome)

    return patch.object(ToolCalls, "_end", end)


def answer_sent_and_not_saved() -> contextlib.AbstractContextManager[Any]:
    """mcp sends what a tool has answered, and does not enter it."""

    async def end_and_tell(
        self: ToolCalls, command: CallTool, row: object, outcome: ToolOutcome, tell: Tell
    ) -> None:
        await tell(outcome)

    return patch.object(ToolCalls, "_end_and_tell", end_and_tell)


def look_taken_for_a_copy() -> contextlib.AbstractContextManager[Any]:
    """A look at a held call that comes ends, as if another one came later."""

    def has_one_after(self: ScheduledLooks, command: CallTool, now: datetime) -> bool:
        return (command.run_id, command.row_id) in self._looks

    return patch.object(ScheduledLooks, "has_one_after", has_one_after)


def called_again_before_until() -> contextlib.AbstractContextManager[Any]:
    """A CallTool that comes again is handled at once, though another instance may be at it."""
    real = MemoryToolLedger.find

    async def find(self: MemoryToolLedger, run_id: str, tool_call_id: str) -> ToolCallRow | None:
        row = await real(self, run_id, tool_call_id)
        return None if row is None else replace(row, until=row.started_at)

    return patch.object(MemoryToolLedger, "find", find)


def called_again_without_a_look() -> contextlib.AbstractContextManager[Any]:
    """What may not be repeated is repeated when nobody knows how it ended."""

    async def may_repeat(self: ToolCalls, live: object, tool: str) -> bool:
        return True

    return patch.object(ToolCalls, "_may_repeat", may_repeat)


def approval_only_in_the_message() -> contextlib.AbstractContextManager[Any]:
    """Main tells realm of the decision, and no row holds it."""
    real = Execution._apply

    async def insert(self: Approvals, request: ApprovalRequest, answer: Decision) -> None:
        return None

    def apply(self: Execution, unit: UnitOfWork, command: RealmCommand) -> None:
        real(self, unit, command)
        if isinstance(command, Approve) and unit.conversation.active is not None:
            now = self._clock.now()
            said = Decision(decision="approve", reason="", decided_by="?", decided_at=now)
            unit.add(
                tool_turns.take_decision(
                    unit.conversation,
                    tool_call_id=command.tool_call_id,
                    decision=said,
                    now=now,
                )
            )

    stack = contextlib.ExitStack()
    stack.enter_context(patch.object(Approvals, "_insert", insert))
    stack.enter_context(patch.object(Execution, "_apply", apply))
    return stack


def two_decisions() -> contextlib.AbstractContextManager[Any]:
    """Whoever decides last is heard as well."""
    return _hear_the_last(MemoryDecisions)


def two_answers() -> contextlib.AbstractContextManager[Any]:
    """Whoever answers a tool's question last is heard as well."""
    return _hear_the_last(MemoryQuestions)


def _hear_the_last(
    store: type[MemoryDecisions] | type[MemoryQuestions],
) -> contextlib.AbstractContextManager[Any]:
    real: Any = store.answer

    async def answer(self: Any, request: object, answer: object) -> None:
        with contextlib.suppress(StaleWrite):
            await real(self, request, answer)

    return patch.object(store, "answer", answer)


def earlier_round_heard_again() -> contextlib.AbstractContextManager[Any]:
    """A result that comes again counts, though its call has gone on since."""
    real = tool_turns.find_awaited

    def find_awaited(conversation: Conversation, *, round_number: int, **named: str) -> Any:
        active = conversation.active
        rounds = () if active is None else {c.round_number for c in active.calls}
        found = (real(conversation, round_number=number, **named) for number in rounds)
        return next((call for call in found if call is not None), None)

    stack = contextlib.ExitStack()
    for module in (tool_turns, tool_questions):
        stack.enter_context(patch.object(module, "find_awaited", find_awaited))
    return stack


def childs_end_is_not_the_result() -> contextlib.AbstractContextManager[Any]:
    """Main delivers the end of a delegated run and does not tell its parent."""
    real = Replies.deliver

    async def deliver(self: Replies, ended: RunEnded) -> None:
        await real(self, replace(ended, parent=None))

    return patch.object(Replies, "deliver", deliver)


def nothing_left_for_the_deadline() -> contextlib.AbstractContextManager[Any]:
    """A run that waits for its tools leaves nothing that wakes it."""

    def schedule_deadline(conversation: Any) -> Any:
        return tool_turns.Step(conversation=conversation)

    return patch.object(tool_turns, "schedule_deadline", schedule_deadline)


def results_in_the_order_of_their_coming() -> contextlib.AbstractContextManager[Any]:
    """Results enter the history as they come, not as they were asked for."""
    real = tool_turns.update_call

    def moved(conversation: Any, call: Any, **more: Any) -> Any:
        active = conversation.active
        rest = tuple(c for c in active.calls if c.tool_call_id != call.tool_call_id)
        state = replace(conversation, active=replace(active, calls=(*rest, call)))
        return real(state, call, **more)

    return patch.object(tool_turns, "update_call", moved)


PLANTED_IN_TOOLS = {
    "result_sent_before_it_is_saved": result_sent_before_it_is_saved,
    "answer_sent_and_not_saved": answer_sent_and_not_saved,
    "called_again_before_until": called_again_before_until,
    "look_taken_for_a_copy": look_taken_for_a_copy,
    "called_again_without_a_look": called_again_without_a_look,
    "approval_only_in_the_message": approval_only_in_the_message,
    "two_decisions": two_decisions,
    "two_answers": two_answers,
    "earlier_round_heard_again": earlier_round_heard_again,
    "childs_end_is_not_the_result": childs_end_is_not_the_result,
    "nothing_left_for_the_deadline": nothing_left_for_the_deadline,
    "results_in_the_order_of_their_coming": results_in_the_order_of_their_coming,
}
"""These bugs by their names on the command line."""
