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
from aos.domain.runs.active_run import ActiveRun
from aos.domain.runs.asks import AskRequest, make_ask
from aos.domain.runs.events import make_notification, name_source
from aos.domain.tools.questions import QuestionAnswer, QuestionRequest
from aos.domain.tools.tool import ApprovalRequest, Decision
from aos.errors import OutcomeUnknown, StaleWrite, TransientError
from aos.ports.asks import A, Asks, Decisions, Questions, R
from aos.ports.bus import Bus
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

        The receiver of the run's `notify` gets it too, unless the application that asked answers.
        """
        active = unit.conversation.active
        wanted = [] if active is None else [c for c in active.calls if c.state == "to_ask"]
        if active is None or not wanted:
            return
        for call in wanted:
            asked = make_ask(active, call)
            await self._list(asked)
            event = _make_event(active, asked)
            await self._bus.publish(event)
            if not call.is_of_client:
                await self._notify(active, event)
        unit.add(tool_turns.mark_asked(unit.conversation, tuple(c.tool_call_id for c in wanted)))

    async def apply(self, unit: UnitOfWork, *, now: datetime) -> None:
        """Apply the decisions and answers that calls wait for, and the time-outs."""
        active = unit.conversation.active
        for call in () if active is None else active.calls:
            if call.state != "asked" or active is None:
                continue
            asked = make_ask(active, call)
            if isinstance(asked, QuestionRequest):
                await self._apply_answer(unit, asked, now=now)
            else:
                await self._apply_decision(unit, asked, now=now)

    async def _list(self, asked: AskRequest) -> None:
        if isinstance(asked, QuestionRequest):
            await self._questions.ask(asked)
        else:
            await self._decisions.ask(asked)

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
        timed_out = Decision(
            decision="deny",
            reason="nobody decided about this call in time",
            decided_by=BY_TIME,
            decided_at=now,
        )
        decision = await _take_answer(self._decisions, asked, timed_out=timed_out, now=now)
        if decision is None:
            return
        unit.add(
            tool_turns.take_decision(
                unit.conversation, tool_call_id=asked.tool_call_id, decision=decision, now=now
            )
        )

    async def _apply_answer(
        self, unit: UnitOfWork, asked: QuestionRequest, *, now: datetime
    ) -> None:
        timed_out = QuestionAnswer(action="cancel", answered_by=BY_TIME, answered_at=now)
        answer = await _take_answer(self._questions, asked, timed_out=timed_out, now=now)
        if answer is None:
            return
        unit.add(
            tool_questions.take_answer(
                unit.conversation,
                tool_call_id=asked.tool_call_id,
                question_id=asked.question_id,
                answer=answer,
                now=now,
            )
        )


async def _take_answer(asks: Asks[R, A], asked: R, *, timed_out: A, now: datetime) -> A | None:
    """Return what counts as the answer, and take the request off its list; None while a person may
    still answer."""
    answer = await _find_answer(asks, asked)
    if answer is None:
        if now < asked.expires_at:
            return None
        answer = await _insert(asks, asked, timed_out)
    await asks.close(asked)
    return answer


async def _insert(asks: Asks[R, A], asked: R, answer: A) -> A:
    """Insert an answer; return the one that counts."""
    try:
        await asks.answer(asked, answer)
    except (StaleWrite, OutcomeUnknown) as error:
        stands = await _find_answer(asks, asked)
        if stands is None:
            raise TransientError("storage did not say what a person said; try again") from error
        return stands
    return answer


async def _find_answer(asks: Asks[R, A], asked: R) -> A | None:
    found = await asks.find(asked.run_id, asked.ask_id)
    return None if found is None else found.answer


def _make_event(active: ActiveRun, asked: AskRequest) -> Event:
    """The event, without what only those may see who may decide or answer."""
    if isinstance(asked, QuestionRequest):
        kind, name = "input.requested", "question"
        hidden: tuple[str, ...] = ("owner", "message", "requested_schema", "url")
    else:
        kind, name, hidden = "approval.requested", "approval", ("owner", "arguments")
    return Event(
        topic=AGENT_EVENTS,
        id=f"{asked.run_id}:{asked.ask_id}:{name}",
        type=kind,
        source=name_source(asked.agent_id),
        time=asked.requested_at,
        data=encode(asked, without=hidden),
        traceparent=active.request.traceparent,
    )
