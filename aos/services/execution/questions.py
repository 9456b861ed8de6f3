"""Asks people the questions of tools and applies their answers. Entry point: `RealmQuestions`.

The stored row is what counts. A time-out is an answer too, `cancel`, which realm inserts. If two
answers come at once, the first row counts for both.
"""

from __future__ import annotations

from datetime import datetime

from aos.domain.codec import encode
from aos.domain.envelope import AGENT_EVENTS, Event, to_main
from aos.domain.runs import tool_questions, tool_turns
from aos.domain.runs.active_run import ActiveRun, OpenCall
from aos.domain.runs.events import make_notification, name_source
from aos.domain.tools.questions import QuestionAnswer, QuestionRequest
from aos.errors import OutcomeUnknown, StaleWrite, TransientError
from aos.ports.bus import Bus
from aos.ports.tools import Questions
from aos.services.execution.unit_of_work import UnitOfWork

ANSWERED_BY_TIME = "aos"
NOT_OF_THE_EVENT = ("owner", "message", "requested_schema", "url")
"""What only those may read who may answer."""


class RealmQuestions:
    """Asks people the questions of tools, and applies answers to a unit of work."""

    def __init__(self, *, questions: Questions, bus: Bus) -> None:
        self._questions = questions
        self._bus = bus

    async def ask(self, unit: UnitOfWork) -> None:
        """Add the saved questions to the list, and publish an event for each.

        The receiver of the run's `notify` gets it too.
        """
        active = unit.conversation.active
        calls = () if active is None else active.calls
        wanted = tuple(c for c in calls if c.state == "to_ask" and c.question is not None)
        if active is None or not wanted:
            return
        for call in wanted:
            request = _make_question(active, call)
            await self._questions.ask(request)
            event = _input_requested(active, request)
            await self._bus.publish(event)
            await self._notify(active, event)
        unit.add(tool_turns.mark_asked(unit.conversation, tuple(c.tool_call_id for c in wanted)))

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

    async def apply_answers(self, unit: UnitOfWork, *, now: datetime) -> None:
        """Apply the answers to questions that wait for one, and the time-outs."""
        active = unit.conversation.active
        for call in () if active is None else active.calls:
            if call.state != "asked" or call.question is None or active is None:
                continue
            request = _make_question(active, call)
            answer = await self._find_answer(request, now=now)
            if answer is None:
                continue
            await self._questions.close(request)
            unit.add(
                tool_questions.take_answer(
                    unit.conversation,
                    tool_call_id=call.tool_call_id,
                    question_id=request.question_id,
                    answer=answer,
                    now=now,
                )
            )

    async def _find_answer(
        self, request: QuestionRequest, *, now: datetime
    ) -> QuestionAnswer | None:
        asked = await self._questions.find(request.run_id, request.question_id)
        if asked is not None and asked.answer is not None:
            return asked.answer
        if now < request.expires_at:
            return None
        timed_out = QuestionAnswer(action="cancel", answered_by=ANSWERED_BY_TIME, answered_at=now)
        try:
            await self._questions.answer(request, timed_out)
        except (StaleWrite, OutcomeUnknown) as error:
            stands = await self._questions.find(request.run_id, request.question_id)
            if stands is None or stands.answer is None:
                raise TransientError("storage did not say what was answered; try again") from error
            return stands.answer
        return timed_out


def _make_question(active: ActiveRun, call: OpenCall) -> QuestionRequest:
    """The request for a person's answer to the question of a call."""
    assert call.question is not None
    assert call.asked_at is not None
    assert call.expires_at is not None
    request = active.request
    return QuestionRequest(
        run_id=request.run_id,
        question_id=call.question_id,
        tool_call_id=call.tool_call_id,
        agent_id=request.agent_id,
        conversation_id=request.conversation_id,
        owner=request.owner,
        tool=f"{call.server_id}/{call.tool}",
        message=call.question.message,
        requested_schema=call.question.requested_schema,
        url=call.question.url,
        requested_at=call.asked_at,
        expires_at=call.expires_at,
    )


def _input_requested(active: ActiveRun, request: QuestionRequest) -> Event:
    """The event, without the question: only those who may answer see it."""
    return Event(
        topic=AGENT_EVENTS,
        id=f"{request.run_id}:{request.question_id}:question",
        type="input.requested",
        source=name_source(request.agent_id),
        time=request.requested_at,
        data=encode(request, without=NOT_OF_THE_EVENT),
        traceparent=active.request.traceparent,
    )
