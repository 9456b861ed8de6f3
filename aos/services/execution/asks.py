"""Asks people about tool calls, and applies what they say. Entry points: `RealmAsks.ask`,
`RealmAsks.apply`.

People decide about calls that need an approval, and answer the questions of tools. The stored row
is what counts. A time-out is a decision (`deny`) or an answer (`cancel`) too, which realm inserts.
If two come at once, the first row counts for both.
"""

from __future__ import annotations

from datetime import datetime

from aos.domain.codec import encode
from aos.domain.envelope import AGENT_EVENTS, Event, to_main
from aos.domain.runs import tool_questions, tool_turns
from aos.domain.runs.active_run import ActiveRun, OpenCall
from aos.domain.runs.asks import make_approval, make_question
from aos.domain.runs.events import make_notification, name_source
from aos.domain.tools.questions import QuestionAnswer, QuestionRequest
from aos.domain.tools.tool import ApprovalRequest, Decision
from aos.errors import OutcomeUnknown, StaleWrite, TransientError
from aos.ports.bus import Bus
from aos.ports.tools import Decisions, Questions
from aos.services.execution.unit_of_work import UnitOfWork

BY_TIME = "aos"


class RealmAsks:
    """Asks people about the calls of a unit of work."""

    def __init__(self, *, decisions: Decisions, questions: Questions, bus: Bus) -> None:
        self._decisions = decisions
        self._questions = questions
        self._bus = bus

    async def ask(self, unit: UnitOfWork) -> None:
        """Add the saved calls that wait for a person to the lists, and publish an event for each.

        The receiver of the run's `notify` gets it too.
        """
        active = unit.conversation.active
        wanted = [] if active is None else [c for c in active.calls if c.state == "to_ask"]
        if active is None or not wanted:
            return
        for call in wanted:
            event = await self._list(active, call)
            await self._bus.publish(event)
            await self._notify(active, event)
        unit.add(tool_turns.mark_asked(unit.conversation, tuple(c.tool_call_id for c in wanted)))

    async def apply(self, unit: UnitOfWork, *, now: datetime) -> None:
        """Apply the decisions and answers that calls wait for, and the time-outs."""
        active = unit.conversation.active
        for call in () if active is None else active.calls:
            if call.state != "asked" or active is None:
                continue
            if call.question is None:
                await self._apply_decision(unit, make_approval(active, call), now=now)
            else:
                await self._apply_answer(unit, make_question(active, call), now=now)

    async def _list(self, active: ActiveRun, call: OpenCall) -> Event:
        """Add the call to its list; return the event that tells of it."""
        if call.question is not None:
            question = make_question(active, call)
            await self._questions.ask(question)
            return _input_requested(active, question)
        approval = make_approval(active, call)
        await self._decisions.ask(approval)
        return _approval_requested(active, approval)

    async def _notify(self, active: ActiveRun, event: Event) -> None:
        request = active.request
        command = make_notification(
            event,
            request.notify,
            run_id=request.run_id,
            conversation_id=request.conversation_id,
            agent_id=request.agent_id,
            data=event.data,
        )
        if command is not None:
            await self._bus.send(to_main(command))

    async def _apply_decision(
        self, unit: UnitOfWork, asked: ApprovalRequest, *, now: datetime
    ) -> None:
        decision = await self._find_decision(asked, now=now)
        if decision is None:
            return
        await self._decisions.close(asked)
        unit.add(
            tool_turns.take_decision(
                unit.conversation, tool_call_id=asked.tool_call_id, decision=decision, now=now
            )
        )

    async def _apply_answer(
        self, unit: UnitOfWork, asked: QuestionRequest, *, now: datetime
    ) -> None:
        answer = await self._find_answer(asked, now=now)
        if answer is None:
            return
        await self._questions.close(asked)
        unit.add(
            tool_questions.take_answer(
                unit.conversation,
                tool_call_id=asked.tool_call_id,
                question_id=asked.question_id,
                answer=answer,
                now=now,
            )
        )

    async def _find_decision(self, asked: ApprovalRequest, *, now: datetime) -> Decision | None:
        run_id, call_id = asked.run_id, asked.tool_call_id
        stands = await self._decisions.find(run_id, call_id)
        if stands is not None and stands.decision is not None:
            return stands.decision
        if now < asked.expires_at:
            return None
        timed_out = Decision(
            decision="deny",
            reason="nobody decided about this call in time",
            decided_by=BY_TIME,
            decided_at=now,
        )
        try:
            await self._decisions.decide(run_id, call_id, timed_out)
        except (StaleWrite, OutcomeUnknown) as error:
            stands = await self._decisions.find(run_id, call_id)
            if stands is None or stands.decision is None:
                raise TransientError("storage did not say what was decided; try again") from error
            return stands.decision
        return timed_out

    async def _find_answer(self, asked: QuestionRequest, *, now: datetime) -> QuestionAnswer | None:
        run_id, question_id = asked.run_id, asked.question_id
        stands = await self._questions.find(run_id, question_id)
        if stands is not None and stands.answer is not None:
            return stands.answer
        if now < asked.expires_at:
            return None
        timed_out = QuestionAnswer(action="cancel", answered_by=BY_TIME, answered_at=now)
        try:
            await self._questions.answer(asked, timed_out)
        except (StaleWrite, OutcomeUnknown) as error:
            stands = await self._questions.find(run_id, question_id)
            if stands is None or stands.answer is None:
                raise TransientError("storage did not say what was answered; try again") from error
            return stands.answer
        return timed_out


def _approval_requested(active: ActiveRun, asked: ApprovalRequest) -> Event:
    """The event, without the arguments: only those who may decide see them."""
    return Event(
        topic=AGENT_EVENTS,
        id=f"{asked.run_id}:{asked.tool_call_id}:approval",
        type="approval.requested",
        source=name_source(asked.agent_id),
        time=asked.requested_at,
        data=encode(asked, without=("owner", "arguments")),
        traceparent=active.request.traceparent,
    )


def _input_requested(active: ActiveRun, asked: QuestionRequest) -> Event:
    """The event, without the question: only those who may answer see it."""
    return Event(
        topic=AGENT_EVENTS,
        id=f"{asked.run_id}:{asked.question_id}:question",
        type="input.requested",
        source=name_source(asked.agent_id),
        time=asked.requested_at,
        data=encode(asked, without=("owner", "message", "requested_schema", "url")),
        traceparent=active.request.traceparent,
    )
